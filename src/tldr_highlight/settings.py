"""Every setting: name, default, one-line reason. All defaults work offline.

Read from the environment (prefix `TLDR_`) or from a file named `.env` in the working directory.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DATABASES = ("sqlite", "postgresql", "postgres", "postgresql+psycopg")
"""What the address of a database may begin with."""

BROKERS = ("redis", "rediss")
"""What the address of a broker may begin with: what both those who count and those who ring can use."""

LONGEST_PAUSE, MOST_PAUSES = 86_400, 20
"""Of a schedule of tries: seconds of each pause, and how many there are."""


class Settings(BaseSettings):
    """The settings that exist so far; each feature adds its own here."""

    model_config = SettingsConfigDict(
        env_prefix="TLDR_", env_file=".env", extra="ignore", hide_input_in_errors=True
    )

    analyzer: Literal["auto", "signals"] = "auto"
    """`auto` or `signals`: who judges when the command does not say; auto takes the best there is."""

    gemini_api_key: str | None = None
    """Key for the `gemini` analyzer, which is still to come; `doctor` says whether one is set."""

    allow_networks: str | None = None
    """Networks outside the public internet that sources may be in: `127.0.0.0/8,10.1.0.0/16`."""

    allow_local_paths: str | None = None
    """Folders on this machine that sources may be in: `/srv/media:/mnt/archive`; without it none."""
    resolvers: str = "vidfly,ytdlp"
    """Who turns web pages into media, in this order: `vidfly`, `ytdlp`."""

    vidfly_url: str | None = None
    """A service that speaks as Vidfly does: `https://resolver.example.com`; without it that is left out."""

    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust beside the system's."""

    data_dir: Path = Path("tldr-data")
    """Folder of the server: database, secrets, mail, clips. Made when missing."""

    database_url: SecretStr | None = None
    """`postgresql://user:password@host/name`; without it SQLite in the data folder."""

    broker_url: SecretStr | None = None
    """`redis://…`: limits are counted there, and workers are rung through it; without it in this process."""

    storage_url: str | None = None
    """Where files are kept: `file:///folder`, `s3://bucket/prefix`; without it `files/` in the data dir."""

    disk_reserve_mb: NonNegativeInt = 1000
    """Free space that uploads leave where files are kept in a folder; below it they are refused (507)."""

    cdn_url: str | None = None
    """Base of links to files: a CDN in front of us, or of the bucket."""

    public_url: str | None = None
    """Address people reach the server at, for links in mail: `https://highlights.example.com`."""

    registration: Literal["open", "closed"] = "open"
    """`closed`: accounts are made by the operator and by invitations alone."""

    registrations_per_hour: PositiveInt = 20
    """Accounts that are made from one client address."""

    upgrades: Literal["free", "operator"] = "free"
    """Who takes a dearer plan while no payment provider can be set: owners for free, or `org plan` alone."""

    cors_origins: str | None = None
    """Origins whose pages may call the API, comma-separated; without it none."""

    metrics_networks: str | None = None
    """Networks whose callers may read `/metrics`, comma-separated; without it this machine alone."""

    trusted_proxies: str | None = None
    """Networks of reverse proxies whose `X-Forwarded-For` is believed, comma-separated."""

    public_requests_per_minute: PositiveInt = 60
    """Calls that need no key or login (logging in, registering, …), per client address; as many that show one
    that is not valid, counted apart."""

    clip_seconds: PositiveFloat = 300.0
    """How long one clip of a clip job may take; then it has failed, and the next one begins."""

    clip_job_ttl: PositiveFloat = 600.0
    """Seconds after its end that a clip job and its files are deleted."""

    compat_requires_key: bool | None = None
    """Whether the compatible clip calls take a key; unless said, only where other machines can reach us."""

    compat_video_url: str = "https://www.youtube.com/watch?v={id}"
    """What a `video_id` of the compatible clip calls stands for."""

    worker_threads: int = 2
    """Units of work that `serve` does at once in its worker process, or `worker` in as many processes."""

    smtp_url: SecretStr | None = None
    """Mail server: `smtp+starttls://user:password@host:587`; without it mails become files."""

    mail_from: str = "TL;DR Highlight <noreply@localhost>"
    """Sender of mails; replies go there."""

    webhook_schedule: str = "short"
    """When a delivery is tried again, for endpoints that do not say: `short`, `standard`, or `5,60,600`."""

    webhook_timeout_seconds: float = Field(default=15.0, ge=0.5, le=15.0)
    """For a webhook's answer, connecting included; connecting alone may take a third of it."""

    events_kept_days: int = Field(default=30, ge=7, le=365)
    """How long events and their deliveries can be looked at, and sent again."""

    worker_lease_seconds: float = 30.0
    """How long work stays a silent worker's; the same for all workers of one database."""

    worker_memory_mb: int = 2048
    """Memory that ends a worker process; another is started. Media is opened in processes of their own."""

    fault: str | None = None
    """For tests alone: points at which a process dies, see `core/faults.py`."""

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and _split(url.get_secret_value())[0] not in DATABASES:
            raise ValueError("write postgresql://user:password@host/name, or leave it out for SQLite")
        return url

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and _split(url.get_secret_value())[0] not in BROKERS:
            raise ValueError("write redis://:password@host/0 or rediss://…, or leave it out for one server")
        return url

    @field_validator("webhook_schedule")
    @classmethod
    def _schedule(cls, schedule: str) -> str:
        if schedule in {"short", "standard"}:
            return schedule
        if not re.fullmatch(r"[0-9]{1,5}(,[0-9]{1,5})*", schedule):
            raise ValueError("write `short`, `standard`, or seconds with commas: 5,60,600")
        pauses = [int(number) for number in schedule.split(",")]
        if len(pauses) > MOST_PAUSES or not all(1 <= seconds <= LONGEST_PAUSE for seconds in pauses):
            raise ValueError(f"at most {MOST_PAUSES} pauses of 1 to {LONGEST_PAUSE} seconds")
        return schedule

    @field_validator("public_url", "vidfly_url")
    @classmethod
    def _web_address(cls, url: str | None) -> str | None:
        if url is not None:
            scheme, host, _, more = _split(url)
            if scheme not in {"http", "https"} or not host or more:
                raise ValueError("write an address as https://highlights.example.com")
        return url

    @field_validator("compat_video_url")
    @classmethod
    def _template(cls, url: str) -> str:
        if _split(url)[0] not in {"http", "https"} or url.count("{id}") != 1:
            raise ValueError("write an address with {id} in it, as https://www.youtube.com/watch?v={id}")
        return url

    @field_validator("resolvers")
    @classmethod
    def _known_resolvers(cls, listed: str) -> str:
        if not {name.strip() for name in listed.split(",") if name.strip()} <= {"vidfly", "ytdlp"}:
            raise ValueError("write names out of vidfly,ytdlp, in the order they are to be asked")
        return listed

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, listed: str | None) -> str | None:
        for origin in filter(None, map(str.strip, (listed or "").split(","))):
            scheme, host, path, more = _split(origin)
            if scheme not in {"http", "https"} or not host or "*" in host or path or more:
                raise ValueError(
                    "write https://app.example.com,http://localhost:3000, each without a path or `*`"
                )
        return listed


def _split(url: str) -> tuple[str, str, str, str]:
    """Scheme, host, path, and what comes after it.

    Raises:
        ValueError: it is no address; a port that is none, for example.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at only now
    except ValueError:  # its words repeat a part of it: of a password, where that has a slash
        raise ValueError("this is no address: write / and @ in a password as %2F and %40") from None
    return parts.scheme, parts.hostname or "", parts.path, parts.query + parts.fragment
