"""`python -m tldr_highlight` is the same as the command `tldr-highlight`."""


def run() -> None:
    """Run the command line. Ctrl-C ends it tidily from the first moment on, also while it loads itself."""
    try:
        from tldr_highlight.cli import main  # noqa: PLC0415

        main.run()
    except KeyboardInterrupt:
        from tldr_highlight.cli.ends import interrupted  # noqa: PLC0415

        interrupted()


if __name__ == "__main__":
    run()
