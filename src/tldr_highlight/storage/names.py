"""Names that files are saved under, out of text that anybody may have written."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

LONGEST = 150
"""Characters: at 4 bytes each this is over the 255 bytes that file systems take, so bytes count, too."""

LONGEST_BYTES = 240

_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}$")

_SHOWN = re.compile(
    r"(?:video|audio)/[^;]+|image/(?:jpeg|png|webp|gif|avif)|text/(?:vtt|plain)(?:;.*)?|application/json"
)


def harmless(text: str) -> str:
    """A file name that every system takes, on one line, that hides nothing: never empty, never a path.

    Control characters and marks that turn a text's direction (`gpj.exe` for `exe.jpg`) go.
    """
    kept = "".join(
        "_" if c in '/\\<>:"|?*' else " " if c.isspace() else c
        for c in text[:4000]  # more is no name, and would take time
        if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    )
    name = _shortened(" ".join(kept.split()).strip(". "))
    return f"_{name}" if _DEVICES.match(name) else name or "file"


def disposition(name: str | None, *, inline: bool) -> str:
    """The header Content-Disposition (RFC 6266): the name once in ASCII, once as it is (RFC 8187)."""
    kind = "inline" if inline else "attachment"
    if name is None:
        return kind
    name = harmless(name)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    plain = re.sub(r'[%"\\;]', "_", plain)  # some browsers decode %, and end names at what looks like an end
    both = f'{kind}; filename="{harmless(plain)}"'
    return both if plain == name else f"{both}; filename*=UTF-8''{quote(name, safe='')}"


def is_shown(content_type: str) -> bool:
    """Whether browsers may show it at our own address; the rest is saved. HTML and SVG run scripts."""
    return _SHOWN.fullmatch(content_type) is not None


def _shortened(name: str) -> str:
    """The name with its suffix, less of what is between where it is too long."""
    found = _SUFFIX.search(name)
    suffix = found[0] if found else ""
    room = LONGEST_BYTES - len(suffix)
    stem = name.removesuffix(suffix)[: LONGEST - len(suffix)].encode("utf-8")[:room].decode("utf-8", "ignore")
    return stem.rstrip(". ") + suffix
