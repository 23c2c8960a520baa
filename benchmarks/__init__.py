"""Numbers about the product, each re-runnable with `python -m benchmarks.<name>`."""
