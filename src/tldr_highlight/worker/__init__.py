"""DOOR for tasks: what runs the rows of `core/work.py`."""
