"""Each store in turn, behind the same door."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.s3_server import ACCESS, SECRET
from tldr_highlight.core.security import Links, new_key
from tldr_highlight.storage.base import ObjectStore
from tldr_highlight.storage.local import LocalStore

Fresh = Callable[[], ObjectStore]
"""Makes another store over the same files, as another process would have it."""

_buckets = itertools.count()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """For stores of one's own."""
    set_credentials(monkeypatch)


def set_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of tests, and nobody else's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def s3_client(s3_server: str) -> Iterator[Any]:
    """What all stores of a run ask with."""
    from tldr_highlight.storage.s3 import S3Store

    with pytest.MonkeyPatch.context() as patch:
        set_credentials(patch)
        store = S3Store("any", endpoint=s3_server, style="path")
        yield store._client
        store.close()


@pytest.fixture
def bucket(s3_server: str, s3_client: Any) -> Callable[..., ObjectStore]:
    """Makes stores over one new bucket; takes what `S3Store` takes."""
    from tldr_highlight.storage.s3 import S3Store

    name = f"tests-{next(_buckets)}"

    def new(prefix: str = "some/where", **how: str) -> S3Store:
        store = S3Store(name, prefix, endpoint=s3_server, style="path", **how)
        store.__dict__["_client"] = s3_client  # half a second each
        return store

    new().call("bucket", "create_bucket")
    return new


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("LEFT OUT: a full disk (mounting a small one takes root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def links() -> Links:
    return Links([new_key()])


@pytest.fixture(params=["local", "s3"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path, links: Links) -> Fresh:
    if request.param == "s3":
        return request.getfixturevalue("bucket")
    return lambda: LocalStore(tmp_path / "files", links, cold=tmp_path / "cold")


@pytest.fixture
def store(fresh: Fresh) -> ObjectStore:
    return fresh()


def damage(store: ObjectStore, key: str) -> None:
    """Turn one bit of an object's bytes, as a failing disk does; what is known of it stays."""
    if isinstance(store, LocalStore):
        blob = store._blob(store._record(key))
        blob.write_bytes(_one_off(blob.read_bytes()))
        return
    from tldr_highlight.storage.s3 import S3Store, _base64

    assert isinstance(store, S3Store)
    was = store.call(key, "get_object", Key=store.name(key))
    data = _one_off(was["Body"].read())
    store.call(
        key, "put_object", Key=store.name(key), Body=data, Metadata=was["Metadata"],
        ChecksumSHA256=_base64(hashlib.sha256(data).digest()), ContentType=was["ContentType"],
    )  # fmt: skip


def _one_off(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
