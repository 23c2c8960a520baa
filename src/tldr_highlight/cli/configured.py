"""The settings of a command; what cannot be is a mistake in using it, not a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tldr_highlight.errors import UsageError

if TYPE_CHECKING:
    from tldr_highlight.settings import Settings


def read_settings(**given: Any) -> Settings:
    """The settings of the environment, but for those that are given.

    Raises:
        UsageError: one cannot be. It is named as in the environment, without its value, which may be secret.
            Or `.env` cannot be read.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - `--help` does without

    from tldr_highlight.settings import Settings  # noqa: PLC0415

    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise UsageError(f"TLDR_{name}: {first['msg'].removeprefix('Value error, ')}") from error
    except UnicodeDecodeError as error:
        raise UsageError("the file .env in this folder is not UTF-8: save it as such, or move it") from error
    except OSError as error:
        raise UsageError(f"the file .env in this folder cannot be read: {error.strerror}") from error
