"""Our own contestant: `python -m benchmarks.analyse.us FILE keys|all` analyses FILE and prints what it saw.

The same steps as `detect` in `pipeline/find.py`, with the sampling of pictures given.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tldr_highlight.analysis.dimensions import preset
from tldr_highlight.analysis.local import analyse
from tldr_highlight.analysis.moments import choose
from tldr_highlight.analysis.signals import Extractor
from tldr_highlight.media.probe import probe
from tldr_highlight.media.read import Reader, Sampling


def main(path: Path, sampling: Sampling) -> None:
    reader = Reader(probe(path), sampling)
    extractor = Extractor()
    for segment in reader:
        extractor.feed(segment)
    signals = extractor.finish()
    moments = choose(analyse(signals), preset("general"), reader.end)
    print(json.dumps({"seconds": reader.end, "steps": signals.steps, "moments": len(moments)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Sampling(sys.argv[2]))
