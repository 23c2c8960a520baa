"""Every setting: name, default, one-line reason. All defaults work offline.

Read from the environment (prefix `TLDR_`) or from a file named `.env` in the working directory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The settings that exist so far; each feature adds its own here."""

    model_config = SettingsConfigDict(env_prefix="TLDR_", env_file=".env", extra="ignore")

    analyzer: str = "auto"
    """`auto` or `signals`: who judges when the command does not say; auto takes the best there is."""

    gemini_api_key: str | None = None
    """Key for the `gemini` analyzer, which is still to come; `doctor` says whether one is set."""

    allow_networks: str | None = None
    """Networks outside the public internet that sources may be in: `127.0.0.0/8,10.1.0.0/16`."""

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

    worker_threads: int = 2
    """Units of work that `serve` does at once in its worker process, or `worker` in as many processes."""

    smtp_url: SecretStr | None = None
    """Mail server: `smtp+starttls://user:password@host:587`; without it mails become files."""

    mail_from: str = "TL;DR Highlight <noreply@localhost>"
    """Sender of mails; replies go there."""

    worker_lease_seconds: float = 30.0
    """How long work stays a silent worker's; the same for all workers of one database."""

    worker_memory_mb: int = 2048
    """Memory that ends a worker process; another is started. Media is opened in processes of their own."""
