"""Client for programs that call the API; imports nothing else of this package."""
