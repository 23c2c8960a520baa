"""FEATURE: what was submitted: sources, and how far each has come."""
