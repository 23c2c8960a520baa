"""Health and metrics, for those who run the installation."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from pydantic import Field

from tldr_highlight.core import clients
from tldr_highlight.core.clients import Network, parsed, within
from tldr_highlight.core.migrate import HEAD, revision
from tldr_highlight.core.shapes import Schema
from tldr_highlight.errors import DatabaseError, ForbiddenError, UsageError
from tldr_highlight.runtime import Runtime
from tldr_highlight.tenancy.cookies import is_this_machine
from tldr_highlight.tenancy.local import is_forwarded
from tldr_highlight.web import in_thread

router = APIRouter(tags=["operations"])

RESERVE_BYTES = 200_000_000
"""Free space below which the data folder counts as full: a clip of two minutes, and room to delete."""

REDIS_SECONDS = 0.5
"""For Redis to answer a ping; on a network of one's own it takes a millisecond."""


DEGRADED = "degraded"
"""What is said of a part, and of the whole, that answers are given without. Were Redis' end a 503, a balancer
would take every server away at once, for what none of their callers notices."""


class Health(Schema):
    """How the server is."""

    status: str = Field(description="`ok`, `degraded` or `down`.", examples=["ok"])


class Readiness(Health):
    """Whether it can serve, and what of it is up."""

    checks: dict[str, str]


@router.get("/health/live", operation_id="health_live", summary="Say that the process runs")
async def live(request: Request) -> Health:
    """Answers 200 as long as the process can answer. Restart it when it does not."""
    request.state.operation = "health_live"
    return Health(status="ok")


@router.get(
    "/health/ready",
    operation_id="health_ready",
    summary="Say whether requests can be served",
    responses={503: {"model": Readiness, "description": "Something is down; `checks` says what."}},
)
async def ready(request: Request, response: Response) -> Readiness:
    """Answers 200 while requests are served, else 503. `checks` names each part: `ok`, or what is wrong.

    `degraded` is what requests do without: take no server away from its callers for that.
    """
    request.state.operation = "health_ready"
    checks = await in_thread(request, readiness, request.app.state.runtime, request.app.state.worker_runs)
    status = _overall(checks)
    response.status_code = 503 if status == "down" else 200
    return Readiness(status=status, checks=checks)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Prometheus' text, for callers on this machine and in the networks of `TLDR_METRICS_NETWORKS`."""
    request.state.operation = "metrics"
    if not _may_measure(request):
        raise ForbiddenError("metrics are for callers on this machine; TLDR_METRICS_NETWORKS adds networks")
    text = await in_thread(request, request.app.state.metrics.text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _may_measure(request: Request) -> bool:
    """Whether the caller is near. One that a proxy forwards is not: its own address would look like ours.

    A proxy on this machine that says nothing of itself calls us by the name that its callers use.
    """
    address = parsed(request.client.host if request.client else None)  # None: a Unix socket
    if address is None or is_forwarded(request):
        return False
    named = within(address, request.app.state.metrics_networks)
    return named or (address.is_loopback and is_this_machine(request.url.hostname))


def networks(listed: str) -> tuple[Network, ...]:
    """What `TLDR_METRICS_NETWORKS` says.

    Raises:
        UsageError: it cannot be understood.
    """
    try:
        return clients.networks(listed.split(","))
    except ValueError as error:
        raise UsageError(f"TLDR_METRICS_NETWORKS: {error}; write it as 10.1.0.0/16,192.0.2.7/32") from None


def readiness(runtime: Runtime, worker_runs: Callable[[], bool] | None) -> dict[str, str]:
    """Part -> `ok`, or what is wrong with it; `degraded: …` where requests go on without it.

    Parts that this installation does not have are left out.
    """
    checks = {"database": _database(runtime), "disk": _disk(runtime)}
    if worker_runs is not None:
        checks["worker"] = "ok" if worker_runs() else "not running"
    if runtime.settings.broker_url is not None:
        checks["redis"] = _redis(runtime.settings.broker_url.get_secret_value())
    return checks


def _overall(checks: dict[str, str]) -> str:
    """`down` where a part is that requests need; `degraded` where another is; else `ok`."""
    wrong = [said for said in checks.values() if said != "ok"]
    if not wrong:
        return "ok"
    return "degraded" if all(said.startswith(DEGRADED) for said in wrong) else "down"


def _database(runtime: Runtime) -> str:
    try:
        found = revision(runtime.db)
    except DatabaseError:
        return "does not answer"
    return "ok" if found == HEAD else f"at revision {found}, this release needs {HEAD}"


def _disk(runtime: Runtime) -> str:
    try:
        free = shutil.disk_usage(runtime.data_dir).free
    except OSError:
        return "the data folder is gone"
    return (
        "ok" if free > RESERVE_BYTES else f"{free // 1_000_000} MB free, {RESERVE_BYTES // 1_000_000} needed"
    )


def _redis(url: str) -> str:
    import redis  # noqa: PLC0415 - of the extra `scale`

    patience = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
    try:
        with contextlib.closing(redis.Redis.from_url(url, **patience)) as client:  # pyright: ignore[reportUnknownMemberType]
            client.ping()  # pyright: ignore[reportUnknownMemberType]
    except (redis.RedisError, OSError, ValueError):
        return f"{DEGRADED}: does not answer; limits are counted in each process, workers are not rung"
    return "ok"
