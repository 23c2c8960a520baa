"""What a benchmark video is asked to be, what happens in it, and what a method says about it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Split: TypeAlias = Literal["tune", "report"]
Strength: TypeAlias = Literal["weak", "medium", "strong"]

STRENGTHS: tuple[Strength, ...] = ("weak", "medium", "strong")
GENRES = ("sports", "gaming", "talk", "lecture", "walking")
"""Genres with events, picture and sound."""

NO_SOUND, NO_PICTURE, CONTROL = "no-sound", "no-picture", "control"
"""Rows of the report that are not genres: one half is missing, or nothing ever happens."""

PRESETS = {"sports": "sports", "gaming": "gaming", "talk": "podcast", "lecture": "education"}
"""Genre -> preset of ours; everything else is judged with `general`."""


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """One video to make; equal specs give equal videos."""

    genre: str  # one of GENRES, NO_SOUND, NO_PICTURE, CONTROL
    split: Split
    seed: int
    minutes: float = 10.0
    variant: str = ""  # which control, or the genre behind a file without sound or picture

    @property
    def scene(self) -> str:
        """What is shown and heard, whatever the row of the report."""
        return self.variant or self.genre

    @property
    def preset(self) -> str:
        """Preset of ours that suits it."""
        return PRESETS.get(self.genre, "general")

    @property
    def name(self) -> str:
        """File name without suffix."""
        parts = [self.split, self.genre, self.variant, str(self.seed), f"{self.minutes:g}m"]
        return "-".join(p for p in parts if p)


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth watching. All times are seconds; start <= core_start <= peak <= core_end <= end."""

    kind: str
    strength: Strength
    start: float  # the action begins
    core_start: float  # action or reaction in full swing from here ...
    peak: float
    core_end: float  # ... to here
    end: float  # the reaction has died down


@dataclass(frozen=True, slots=True)
class Distractor:
    """Something loud, bright or sudden that nobody would keep."""

    kind: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class LabelledVideo:
    """A file and the truth about it."""

    path: Path
    spec: VideoSpec
    duration: float
    events: tuple[Event, ...]
    distractors: tuple[Distractor, ...]
    rendering: dict[str, str]  # how it was made: mix, room, codec details; for error analysis

    @property
    def genre(self) -> str:
        """Row of the report."""
        return self.spec.genre

    def dumps(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self) | {"path": self.path.name}, indent=1)

    @staticmethod
    def loads(text: str, folder: Path) -> LabelledVideo:
        """Back from JSON; the file is looked for in `folder`."""
        raw = json.loads(text)
        return LabelledVideo(
            path=folder / raw["path"],
            spec=VideoSpec(**raw["spec"]),
            duration=raw["duration"],
            events=tuple(Event(**e) for e in raw["events"]),
            distractors=tuple(Distractor(**d) for d in raw["distractors"]),
            rendering=raw["rendering"],
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """One moment a method proposes."""

    start: float
    peak: float
    end: float
    score: float
