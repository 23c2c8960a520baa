"""A folder for what a job makes on its way: gone when the job's run is over, whatever comes.

Whoever is killed leaves one behind. It is removed by the next run of that job here, or by a neighbour.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator
from pathlib import Path

from sqlalchemy import select

from tldr_highlight.core.files import output_errors
from tldr_highlight.core.work import Job, Work
from tldr_highlight.runtime import Runtime


def home(runtime: Runtime) -> Path:
    """Where all of them are, on this host."""
    return runtime.data_dir / "scratch"


@contextlib.contextmanager
def scratch_of(job: Job[Runtime]) -> Generator[Path]:
    """An empty folder of this job's own.

    Raises:
        OutputError: it cannot be made.
    """
    tidy(job.runtime)
    folder = home(job.runtime) / job.id
    _remove(folder)
    with output_errors(folder):
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        _remove(folder)


def tidy(runtime: Runtime) -> list[str]:
    """Remove the folders of jobs that do not run: the jobs."""
    folders = {path.name: path for path in home(runtime).glob("*")}
    if not folders:
        return []
    with runtime.db.read() as session:
        query = select(Work.id).where(Work.id.in_(folders), Work.state == "running")
        running = set(session.scalars(query))
    for id, path in folders.items():
        if id not in running:
            _remove(path)
    return sorted(folders.keys() - running)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
