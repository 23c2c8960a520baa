"""`find` as a whole: `python -m benchmarks.cut.find SOURCE OUT` finds ten highlights and cuts clips of 30 s.

The made sources hold little that is worth watching, and what there is is short. So the strictness is 0,
the best ten are kept, and each clip gets so much context that it lasts half a minute. Prints what it did.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tldr_highlight.analysis.dimensions import preset
from tldr_highlight.analysis.moments import MomentOptions
from tldr_highlight.pipeline.find import FindOptions, find
