"""A list of ranges of one source becomes files."""
