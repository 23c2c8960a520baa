"""How commands fail: with `--json` in a document, too, even for a mistake in their options or one of ours."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from tldr_highlight.errors import InternalError, TldrError, UsageError


class JsonCommand(TyperCommand):
    """A command that answers `{"source", "error": {"code", "message"}}` under `--json`, and on stderr.

    Commands without a source leave that out.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        words = tuple(args)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            if "--json" not in words:
                raise
            raise _told(
                self._source(words), UsageError.code, error.format_message(), error.exit_code
            ) from error

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
            raise
        except Exception as raised:
            error = ours(raised)
            if ctx.params["as_json"]:
                raise _told(self._named(ctx.params), error.code, str(error), error.exit_code) from raised
            if error is raised:
                raise
            raise error from raised

    @property
    def _takes_source(self) -> bool:
        return any(p.name in {"source", "sources"} for p in self.params)

    def _named(self, params: dict[str, Any]) -> Sequence[str] | None:
        """The sources as they were named."""
        if not self._takes_source:
            return None
        return params["sources"] if "sources" in params else [params["source"]]

    def _source(self, words: Sequence[str]) -> Sequence[str] | None:
        """The first word that is no option and no option's value."""
        if not self._takes_source:
            return None
        valued = {name for p in self.params if not getattr(p, "is_flag", False) for name in p.opts}
        rest = iter(words)
        for word in rest:
            if word == "--":
                return [next(rest, "")]
            if word in valued:
                next(rest, None)
            elif not word.startswith("-"):
                return [word]
        return [""]


def ours(raised: Exception) -> TldrError:
    """An error as ours. Of what nobody foresaw the traceback goes into a file, which the message names."""
    if isinstance(raised, TldrError):
        return raised
    more = ""
    with contextlib.suppress(OSError):
        handle, name = tempfile.mkstemp(prefix="tldr-highlight-", suffix=".log")  # its owner's alone
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
            traceback.print_exception(raised, file=log)
        more = f"; please report it, {name} has the details"
    return InternalError(f"a mistake of ours ({type(raised).__name__}: {raised}){more}")


def _told(sources: Sequence[str] | None, code: str, message: str, exit_code: int) -> typer.Exit:
    document: dict[str, Any] = {"error": {"code": code, "message": message}}
    if sources is not None:
        from tldr_highlight.clips.origins import label  # noqa: PLC0415 - loads what media needs

        document = {"source": " ".join(map(label, sources)), **document}
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    sys.stderr.write(f"tldr-highlight: {message}\n")
    return typer.Exit(exit_code)
