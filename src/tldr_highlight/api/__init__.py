"""DOOR for programs: HTTP."""
