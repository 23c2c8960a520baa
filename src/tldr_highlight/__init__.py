"""TL;DR Highlight: find the moments worth watching, cut them into exact clips, deliver them."""

__version__ = "0.1.0"
