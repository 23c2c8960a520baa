"""DASH recordings for tests: by libav's own muxer, and files with an index that a manifest is written for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av


def recorded(source: Path, folder: Path, kinds: str = "va", **options: str) -> dict[str, bytes]:
    """A recording of the pictures ("v"), the sound ("a") or both of a file, by path: `/list.mpd` first."""
    folder.mkdir(parents=True)
    _copied(source, folder / "list.mpd", kinds, "dash", {"seg_duration": "2", **options})
    return {f"/{p.name}": p.read_bytes() for p in folder.iterdir()}


def fragmented(source: Path, path: Path, kinds: str, *, edits: bool) -> bytes:
    """Pictures, sound or both of a file as MP4 in fragments with an index (`sidx`) in front.

    Where `edits` says so, edit lists bring both to where they were: B-frames and priming make them late.
    """
    flags = "dash+frag_keyframe+global_sidx" + ("+delay_moov" if edits else "")
    _copied(source, path, kinds, "mp4", {"movflags": flags})
    return path.read_bytes()


def _copied(source: Path, path: Path, kinds: str, kind: str, options: dict[str, str]) -> None:
    with av.open(str(source)) as given, av.open(str(path), "w", format=kind, options=options) as made:
        streams = {
            s.index: made.add_stream_from_template(s, opaque=True)
            for s in given.streams
            if s.type[0] in kinds
        }
        for packet in given.demux([given.streams[i] for i in streams]):
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                made.mux(packet)


def manifest(periods: Sequence[str] | str, seconds: float | None = 30.0, attributes: str = "") -> bytes:
    """A manifest of `<Period>`s, or of the sets of one."""
    total = "" if seconds is None else f'mediaPresentationDuration="PT{seconds}S"'
    inner = f"<Period>{periods}</Period>" if isinstance(periods, str) else "".join(periods)
    return (
        f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" {total} {attributes}>{inner}</MPD>'
    ).encode()


def group(kind: str, inner: str, attributes: str = "") -> str:
    """An adaptation set of one representation of the pictures (`video`) or the sound (`audio`)."""
    return (
        f'<AdaptationSet mimeType="{kind}/mp4" {attributes}>'
        f'<Representation id="{kind}" bandwidth="1000">{inner}</Representation></AdaptationSet>'
    )
