"""Workflow: a source becomes highlights. Read `find.py` first."""
