"""What a worker looks for each second: the dead, and work that is due and nobody rang for.

Any number of workers may look at once: voiding twice changes nothing, and a bell too many finds nothing.
Not Celery's own beat, which would ask through the broker that may be away, and keeps its clock in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tldr_highlight.core.telemetry import logger
from tldr_highlight.core.work import due, start_periodic, void_leases
from tldr_highlight.errors import DatabaseError
from tldr_highlight.runtime import Runtime
from tldr_highlight.worker.roll import departed

log = logger(__name__)


@dataclass
class Rounds:
    """The looks of one worker.

    Args:
        runtime: Of the process that looks; its `ring` is used.
        lanes: Priorities of the work that this worker does -> how many rows of those it could begin at once:
            more bells would wake nobody.
        rings: Whether it rings; if not, it looks for the dead alone.
    """

    runtime: Runtime
    lanes: Mapping[tuple[str, ...], int]
    rings: bool
    _begun: bool = False

    def look(self) -> None:
        """Once."""
        try:
            self._bury()
            if self.rings:
                self._begin()
                for priorities, places in self.lanes.items():
                    for id, priority in due(self.runtime, limit=places, priorities=priorities):
                        self.runtime.ring(id, priority)
        except DatabaseError as error:
            self.runtime.leases.missed()
            log.warning("nobody looks for work", reason=str(error))

    def _bury(self) -> None:
        """Take back what processes of this host held when they died."""
        with departed(self.runtime.data_dir) as names:
            for name in names:
                with self.runtime.db.begin() as session:
                    if void_leases(session, f"{name}/"):
                        log.error("a process died amid work", worker=name)

    def _begin(self) -> None:
        if not self._begun:
            start_periodic(self.runtime)
            self._begun = True
