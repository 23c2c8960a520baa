"""Streams through the whole service, on an idle machine: `python -m benchmarks.streams`."""
