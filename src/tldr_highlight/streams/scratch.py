"""A folder for what a job makes on its way: gone when the job's run is over, whatever comes.

Each run has its own, named by job and fence: whoever lost a job, and notices late, must not take away what
the next run has there. Whoever is killed leaves one behind, which the next job here removes.
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
    """An empty folder of this run's own.

    Raises:
        OutputError: it cannot be made.
    """
    tidy(job.runtime)
    folder = home(job.runtime) / name_of(job.id, job.fence)
    _remove(folder)
    with output_errors(folder):
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        _remove(folder)


def name_of(job_id: str, fence: int) -> str:
    """Of the folder of one run of a job."""
    return f"{job_id}-{fence}"


def tidy(runtime: Runtime) -> list[str]:
    """Remove the folders of runs that are over: their names."""
    folders = {path.name: path for path in home(runtime).glob("*")}
    if not folders:
        return []
    with runtime.db.read() as session:
        jobs = {name.rpartition("-")[0] for name in folders}
        query = select(Work.id, Work.fence).where(Work.id.in_(jobs), Work.state == "running")
        running = {name_of(id, fence) for id, fence in session.execute(query)}
    for name, path in folders.items():
        if name not in running:
            _remove(path)
    return sorted(folders.keys() - running)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
