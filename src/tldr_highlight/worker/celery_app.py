"""Celery, reduced to a bell: messages that say "look", acknowledged early, lost without harm.

Everything Celery offers to make messages survive is off: eta, retries, results, late acknowledgement. Rows
do that (`core/work.py`), and both would disagree: on Redis a task of 12 s with a visibility timeout of 5 s
ran twice at once, one with a countdown three times.
"""

from __future__ import annotations

import importlib.util
from typing import Any, cast

from tldr_highlight.core.work import BONUS
from tldr_highlight.errors import MissingExtraError

PRIORITIES = tuple(BONUS)
"""Of work; each has a queue of its name."""

RING = "ring"
"""Name of the only task; its one argument is the id of the row somebody rang for."""

SILENCE_SECONDS = 5.0
"""How long a broker may take to connect, and to answer those who ring."""


def celery_app(broker_url: str, *, consumes: bool = False) -> Any:
    """A Celery that knows our queues; it connects when it is first used.

    Args:
        broker_url: `redis://…`
        consumes: It waits for messages rather than sends them.

    Raises:
        MissingExtraError: Celery is not installed.
    """
    need_celery()
    import celery  # noqa: PLC0415 - takes 0.4 s  # pyright: ignore[reportMissingTypeStubs]
    import kombu  # noqa: PLC0415

    waits = {"socket_connect_timeout": SILENCE_SECONDS, "socket_keepalive": True}
    rings = {"socket_timeout": SILENCE_SECONDS, "max_retries": 0}
    app = cast(Any, celery).Celery("tldr_highlight", broker=broker_url, set_as_current=consumes)
    # Not acknowledged at all. An acknowledgement that failed, as Redis died, stayed on
    # the list of open ones for ever; with as many as there are processes Celery never asked for a message
    # again (5.7.0: most runs in which Redis died three times).
    app.conf.update(
        task_queues=[
            cast(Any, kombu).Queue(name, routing_key=name, no_ack=True) for name in map(queue_of, PRIORITIES)
        ],
        worker_disable_prefetch=True,  # a bell is for who is free to hear it
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        task_send_sent_event=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,  # its queues and beats: nothing of ours uses them
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_proc_alive_timeout=60.0,  # a busy machine is no reason to start a process again
        worker_cancel_long_running_tasks_on_connection_loss=False,  # what runs has its row
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for ever
        # Waiting for a message takes as long as it takes; ringing does not.
        broker_transport_options=waits if consumes else waits | rings,
    )
    return app


def queue_of(priority: str) -> str:
    """The queue whose bells wake those who do work of a priority."""
    return f"tldr-{priority}"


def need_celery() -> None:
    """See that it is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if importlib.util.find_spec("celery") is None:
        raise MissingExtraError("workers beside the server need: pip install 'tldr-highlight[scale]'")
