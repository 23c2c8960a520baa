"""`python -m tldr_highlight` is the same as the command `tldr-highlight`."""

from tldr_highlight.cli.main import run

if __name__ == "__main__":
    run()
