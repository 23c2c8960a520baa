"""Plumbing that knows no feature and no web framework."""
