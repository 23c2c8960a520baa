"""`TLDR_STORAGE_URL` and what comes of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.peers import need
from tldr_highlight.core.security import Links
from tldr_highlight.errors import MissingExtraError, UsageError
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings
from tldr_highlight.storage import store_of
from tldr_highlight.storage.local import LocalStore


def settings(url: str | None, **more: str) -> Settings:
    return Settings(storage_url=url, data_dir=Path("/srv/data"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "hot", "cold"),
    [
        (None, "/srv/data/files", None),
        ("file:///srv/highlights", "/srv/highlights", None),
        ("file:///srv/high%20lights", "/srv/high lights", None),
        ("file://localhost/srv/a?cold=/mnt/b", "/srv/a", "/mnt/b"),
    ],
)
def test_a_folder(url: str | None, hot: str, cold: str | None, links: Links) -> None:
    store = store_of(settings(url), links)
    assert isinstance(store, LocalStore)
    assert (store._hot, store._cold) == (Path(hot), cold and Path(cold))


def test_a_bucket(links: Links) -> None:
    need("moto")
    from tldr_highlight.storage.s3 import S3Store

    store = store_of(
        settings("s3://Bucket/a/b?endpoint=http://127.0.0.1:9000&style=path&region=eu-west-1"), links
    )
    assert isinstance(store, S3Store)
    assert (store._bucket, store._prefix, store._region) == ("Bucket", "a/b/", "eu-west-1")
    assert "_client" not in store.__dict__  # nothing is asked, or loaded, before it is used


@pytest.mark.parametrize(
    "url",
    [
        "nonsense", "/srv/highlights", "https://bucket", "file://srv/highlights", "file:///", "file:///a?colt=/b",
        "file:///a?cold=b", "file:///a?cold=/a/b", "file:///a/b?cold=/a", "file:///a?cold=/b&cold=/c", "file:///a?x",
    ],
)  # fmt: skip
def test_what_is_no_storage(url: str, links: Links) -> None:
    with pytest.raises(UsageError, match="TLDR_STORAGE_URL"):
        store_of(settings(url), links)


@pytest.mark.parametrize(
    "url",
    [
        "s3://", "s3:///prefix", "s3://b/../a", "s3://b/.a", "s3://b?style=other", "s3://b?acl=public-read",
        "s3://b?endpoint=minio:9000", "s3://b?secret=x", "s3://key:secret@b/prefix",
    ],
)  # fmt: skip
def test_what_is_no_bucket(url: str, links: Links) -> None:
    need("moto")
    with pytest.raises(UsageError, match="TLDR_STORAGE_URL") as caught:
        store_of(settings(url), links)
    assert "secret@" not in str(caught.value)


def test_without_the_extra(links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "tldr_highlight.storage.s3", raising=False)
    with pytest.raises(MissingExtraError, match=r"tldr-highlight\[s3\]"):
        store_of(settings("s3://bucket"), links)


@pytest.mark.parametrize(
    ("more", "base"),
    [({}, ""), ({"public_url": "https://a.example/"}, "https://a.example"),
     ({"public_url": "https://a.example", "cdn_url": "https://cdn.example"}, "https://cdn.example")],
)  # fmt: skip
def test_where_links_lead(more: dict[str, str], base: str, links: Links) -> None:
    store = store_of(settings(None, **more), links)
    assert isinstance(store, LocalStore)
    assert store._base == base


def test_the_runtime_has_it(tmp_path: Path) -> None:
    with opened(Settings(data_dir=tmp_path)) as runtime:
        assert isinstance(runtime.storage, LocalStore)
        assert not (tmp_path / "files").exists()  # not before something is stored
