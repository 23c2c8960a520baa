"""Progress on stderr: bars on a terminal, nothing in a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator

LABELS = {
    "upload": "Uploading",
    "analyse": "Watching and listening",
    "clips": "Cutting clips",
    "thumbnails": "Thumbnails",
    "reel": "Joining the reel",
    "make": "Making a match",
}


@contextlib.contextmanager
def bars(*, shown: bool = True) -> Generator[Callable[[str, float, float], None]]:
    """A function that shows how far each stage is, for as long as the block lasts.

    The bar of a stage without a label of its own, such as one clip of many, goes when the stage is done.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    with Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: float, total: float) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(LABELS.get(stage, stage), total=total or None)
            progress.update(tasks[stage], completed=done, total=total or None)
            if done >= total and stage not in LABELS:
                progress.remove_task(tasks.pop(stage))

        yield tell
