"""A server without an API, for tests that kill it: holds a data folder, has workers, says what it does.

python -m tests.worker.server SETTINGS_AS_JSON
"""

from __future__ import annotations

import json
import signal
import sys
import threading

from tests.worker.chores import CHORES, chores
from tldr_highlight.errors import DataBusyError
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings
from tldr_highlight.worker.embedded import EmbeddedWorker, hold_data_dir


def main() -> None:
    settings = Settings(**json.loads(sys.argv[1]))
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    with hold_data_dir(settings.data_dir), opened(settings, chores()) as runtime:
        worker = EmbeddedWorker(runtime, kinds=CHORES)
        worker.start()
        sys.stdout.write("serving\n")
        sys.stdout.flush()
        while not asked.wait(0.1):
            pass
        worker.stop()


if __name__ == "__main__":
    try:
        main()
    except DataBusyError as error:
        sys.exit(str(error))
