"""What every routes.py shares."""
