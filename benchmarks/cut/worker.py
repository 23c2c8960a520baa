"""Our own contestant, warm: a process that stays and cuts one range for each line on stdin.

    {"source": "file or http address", "start": 17.37, "end": 27.37, "out": "clip.mp4", "apart": false}

gives one line of JSON on stdout: CPU seconds, peak memory, and what the clip says of itself. Each order is
served as if nothing had been known before; only the modules are loaded. `apart` cuts a file in a process of
its own, as a service does.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.media.cut import cut
from tldr_highlight.media.job import cut_apart
from tldr_highlight.media.probe import probe
from tldr_highlight.media.remote import opened
from tldr_highlight.media.types import ClipResult, ClipSpec, Origin, Remote

LOOPBACK = Policy(allow_networks=(ip_network("127.0.0.0/8"),))
"""Where the benchmark's server is."""


@dataclass(frozen=True, slots=True)
class Order:
    """One range to cut."""

    source: str
    start: float
    end: float
    out: str
    apart: bool = False


def serve() -> None:
    for line in sys.stdin:
        order = Order(**json.loads(line))
        _forget_peak()
        before = _cpu_seconds()
        result = _cut(order)
        answer = {
            "cpu_seconds": _cpu_seconds() - before,  # without what is done apart
            "peak_mb": _peak_mb(),
            "method": result.method,
            "frames": result.frames,
            "sync_ms": result.sync_ms,
        }
        print(json.dumps(answer), flush=True)


def _cut(order: Order) -> ClipResult:
    spec = ClipSpec(order.start, order.end, Path(order.out))
    if order.apart:
        (outcome,) = cut_apart(Path(order.source), [spec])
    else:
        with Egress(LOOPBACK) as egress, opened(_origin(order.source), egress) as origin:
            (outcome,) = cut(probe(origin), [spec])
    if not isinstance(outcome, ClipResult):
        raise outcome
    return outcome


def _origin(source: str) -> Origin:
    return Remote(source) if source.startswith("http") else Path(source)


def _cpu_seconds() -> float:
    """Of this process and its children that have ended."""
    return sum(os.times()[:4])


def _forget_peak() -> None:
    """Have the peak count from here, where the system can: on Linux."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb() -> float:
    """The largest of this process since `_forget_peak` and of any child ever."""
    scale = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, KiB elsewhere
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return max(own, children) * 1.024 / scale


if __name__ == "__main__":
    serve()
