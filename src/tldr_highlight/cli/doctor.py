"""`tldr-highlight doctor`: what is there, what is missing, and what each missing thing would give."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from tldr_highlight.cli.configured import read_settings

State = Literal["ok", "missing", "problem"]


class Check(NamedTuple):
    """One thing looked at."""

    name: str
    state: State  # missing: optional, the message says what it would add; problem: must be mended
    message: str


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Say what is there and what is missing: libraries, codecs, programs, keys, cores, memory, disk."""
    checks = [*_machine(), *_media(), *_optional()]
    if as_json:
        document = {"ok": all(c.state != "problem" for c in checks), "checks": [c._asdict() for c in checks]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _show(checks)
    if any(c.state == "problem" for c in checks):
        raise typer.Exit(1)


def _machine() -> list[Check]:
    cores = os.cpu_count() or 1
    checks = [
        Check("python", "ok", platform.python_version()),
        Check("cores", "ok", str(cores) if cores > 1 else "1 (pictures decode half as fast)"),
    ]
    if (memory := _memory()) is not None:
        enough = memory > 1.0
        checks.append(
            Check(
                "memory",
                "ok" if enough else "problem",
                f"{memory:.1f} GB" + ("" if enough else "; 1 is needed"),
            )
        )
    return [*checks, *_here()]


def _here() -> list[Check]:
    """The working folder."""
    try:
        folder = Path.cwd()
    except FileNotFoundError:
        return [Check("here", "problem", "this folder is there no more: go to another one")]
    free = shutil.disk_usage(folder).free / 1e9
    room = f"{free:.0f} GB free here" + ("" if free > 1 else "; free some")
    disk = Check("disk", "ok" if free > 1 else "problem", room)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return [disk, Check("here", "ok", "results can be written into this folder")]
    except OSError as error:
        problem = f"cannot write here ({error.strerror}); give --out another folder"
        return [disk, Check("here", "missing", problem)]


def _memory() -> float | None:
    """GB of memory, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return None


NEEDED = {"decoders": ("h264", "hevc", "vp9", "av1", "aac", "opus", "mp3"), "encoders": ("libx264", "aac")}


def _media() -> list[Check]:
    import av  # noqa: PLC0415
    from av.codec.codec import Codec, UnknownCodecError  # noqa: PLC0415

    version = ".".join(map(str, av.library_versions["libavcodec"]))
    checks = [Check("media engine", "ok", f"PyAV {av.__version__}, libavcodec {version}")]
    for kind, names in NEEDED.items():
        lacking: list[str] = []
        for name in names:
            try:
                Codec(name, "r" if kind == "decoders" else "w")
            except UnknownCodecError:
                lacking.append(name)
        message = (
            f"without {', '.join(lacking)}: install PyAV from its own wheel" if lacking else ", ".join(names)
        )
        checks.append(Check(kind, "problem" if lacking else "ok", message))
    return checks


EXTRAS: dict[str, tuple[tuple[str, ...], str]] = {
    "otio": (("opentimelineio", "otio_fcp_adapter"), "OTIO and FCP7 XML exports"),
    "ytdlp": (("yt_dlp",), "web pages as sources"),
    "client": (("httpx2",), "the client for Python"),
    "server": (("fastapi", "sqlalchemy", "uvicorn"), "serve, the API on this machine"),
    "scale": (("celery", "psycopg", "redis"), "PostgreSQL, Redis and workers elsewhere"),
    "s3": (("boto3",), "files kept in a bucket"),
}
"""Libraries by which an extra is known to be there, and what it adds."""


def _optional() -> list[Check]:
    program = shutil.which("ffmpeg")
    key = read_settings().gemini_api_key is not None
    judge = "TLDR_GEMINI_API_KEY is set" if key else "not set; signals judge, offline and free"
    checks = [_wanted("ffmpeg program", program or "", "only SRT sources need it; files do not")]
    for name, (libraries, adds) in EXTRAS.items():
        there = all(importlib.util.find_spec(library) for library in libraries)
        otherwise = f"pip install 'tldr-highlight[{name}]' adds {adds}"
        checks.append(_wanted(f"{name} extra", adds if there else "", otherwise))
    return [*checks, Check("Gemini key", "ok" if key else "missing", judge)]


def _wanted(name: str, found: str, otherwise: str) -> Check:
    return Check(name, "ok" if found else "missing", found or otherwise)


SIGNS = {"ok": "[green]ok[/]     ", "missing": "[yellow]-[/]      ", "problem": "[red]problem[/]"}


def _show(checks: list[Check]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    console = Console(highlight=False)
    for check in checks:
        console.print(f"{SIGNS[check.state]} {check.name:<15} {escape(check.message)}")
    if all(c.state != "problem" for c in checks):
        console.print(
            "Ready: [bold]tldr-highlight find FILE[/], or [bold]tldr-highlight demo[/] without one."
        )
