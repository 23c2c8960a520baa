"""A bucket: signatures against what Amazon published, checksums on the wire, every error of the server."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests import s3_server
from tests.core.servers import Peer, Request, Server
from tests.peers import need
from tests.storage.conftest import set_credentials
from tldr_highlight.errors import (
    Fate,
    ObjectDamagedError,
    ObjectMismatchError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    StorageRefusedError,
    StorageSetupError,
)
from tldr_highlight.storage.base import ObjectStore

KEY = "org_1/clip.mp4"
HOUR = timedelta(hours=1)
MIB = 1 << 20
Bucket = Callable[..., Any]


@pytest.fixture(autouse=True)
def _boto3() -> None:
    need("moto")


def put(store: ObjectStore, data: bytes = b"some bytes", **how: Any) -> None:
    store.put(KEY, io.BytesIO(data), **{"content_type": "video/mp4"} | how)


def asked(url: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """What a browser gets."""
    parts = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.request(method, f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read()


# --- signatures ----------------------------------------------------------------------------------------

# Amazon S3 API Reference, "Authenticating Requests", by query parameters and by the Authorization header
PUBLISHED = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
AT = "20130524T000000Z"
MOMENT = datetime(2013, 5, 24, tzinfo=UTC)
LINK = (
    "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)


def test_our_links_are_the_published_ones(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.auth

    from tldr_highlight.storage.s3 import S3Store

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", PUBLISHED[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PUBLISHED[1])
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: MOMENT.replace(tzinfo=None))
    store = S3Store("examplebucket")
    assert store.url("test.txt", expires=timedelta(days=1)) == LINK
    store.close()


def test_the_gate_computes_the_published_signatures() -> None:
    """What our requests are checked with: a link, and a request with headers."""
    query = dict(parse_qsl(urlsplit(LINK).query))
    sent = query.pop("X-Amz-Signature")
    scope = "20130524/us-east-1/s3/aws4_request"
    host = {"host": "examplebucket.s3.amazonaws.com"}
    made = s3_server.signature(
        "GET",
        "/test.txt",
        query.items(),
        host,
        "host",
        "UNSIGNED-PAYLOAD",
        "20130524T000000Z",
        scope,
        PUBLISHED[1],
    )
    assert made == sent
    headers = host | {
        "range": "bytes=0-9",
        "x-amz-content-sha256": s3_server.EMPTY,
        "x-amz-date": "20130524T000000Z",
    }
    signed = "host;range;x-amz-content-sha256;x-amz-date"
    made = s3_server.signature(
        "GET", "/test.txt", [], headers, signed, s3_server.EMPTY, AT, scope, PUBLISHED[1]
    )
    assert made == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


def test_a_link_opens_its_file(bucket: Bucket) -> None:
    store = bucket()
    put(store, download_name="mine.mp4", cache_control="private, max-age=60")
    status, headers, body = asked(store.url(KEY, expires=HOUR))
    assert (status, body) == (200, b"some bytes")
    assert headers["content-type"] == "video/mp4"
    assert headers["content-disposition"] == 'inline; filename="mine.mp4"'
    assert headers["cache-control"] == "private, max-age=60"
    status, headers, _ = asked(store.url(KEY, expires=HOUR, download_name="Tor für 1.mp4"))
    assert status == 200
    assert headers["content-disposition"].startswith('attachment; filename="Tor fur 1.mp4"')


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("clip.mp4", "other.mp4"),
        ("Expires=3600", "Expires=86400"),
        ("a.mp4", "a.exe"),
        ("Signature=", "Signature=0"),
    ],
)
def test_a_link_that_was_changed(old: str, new: str, bucket: Bucket) -> None:
    store = bucket()
    put(store)
    url = store.url(KEY, expires=HOUR, download_name="a.mp4")
    assert old in url
    assert asked(url.replace(old, new))[0] == 403
    assert asked(url, "DELETE")[0] == 403


def test_nothing_is_public(bucket: Bucket) -> None:
    store = bucket()
    put(store)
    assert asked(store.url(KEY, expires=HOUR).partition("?")[0])[0] == 403


def test_a_cdn_before_the_bucket(bucket: Bucket) -> None:
    own, through = bucket(), bucket(cdn="https://cdn.example.com/")
    before, after = own.url(KEY, expires=HOUR), through.url(KEY, expires=HOUR)
    assert after.startswith("https://cdn.example.com/")
    assert urlsplit(after).path == urlsplit(before).path


@pytest.mark.parametrize(
    ("how", "host", "path"),
    [
        ({}, "bucket.s3.amazonaws.com", "/a/clip.mp4"),
        ({"region": "eu-west-1"}, "bucket.s3.eu-west-1.amazonaws.com", "/a/clip.mp4"),
        ({"style": "path"}, "s3.amazonaws.com", "/bucket/a/clip.mp4"),
        ({"endpoint": "https://m.example:9000", "style": "path"}, "m.example:9000", "/bucket/a/clip.mp4"),
        ({"endpoint": "https://r2.example.com", "style": "virtual"}, "bucket.r2.example.com", "/a/clip.mp4"),
    ],
)  # fmt: skip
def test_where_links_lead(how: dict[str, str], host: str, path: str, aws: None) -> None:
    from tldr_highlight.storage.s3 import S3Store

    with contextlib.closing(S3Store("bucket", "a", **how)) as store:
        url = urlsplit(store.url("clip.mp4", expires=HOUR))
    assert (url.netloc, url.path) == (host, path)


# --- on the wire ---------------------------------------------------------------------------------------


def test_the_server_refuses_other_bytes(bucket: Bucket) -> None:
    """The gate checks what we rely on: a checksum that does not fit is refused, and is worth another try."""
    store = bucket()
    with pytest.raises(StorageError, match="BadDigest") as caught:
        store.call(KEY, "put_object", Key="x", Body=b"some bytes", ChecksumSHA256="0" * 43 + "=")
    assert caught.value.fate is Fate.RESOURCE
    with pytest.raises(StorageError, match="MissingChecksumOfTests"):
        store.call(KEY, "put_object", Key="x", Body=b"some bytes")


def test_a_server_that_has_other_bytes(aws: None) -> None:
    """Where it says what it has, that is compared."""

    def answer(request: Request, peer: Peer) -> None:
        other = f"x-amz-checksum-sha256: {'0' * 43}="
        body = b"<R><UploadId>1</UploadId></R>" if request.method == "POST" else b""
        peer.reply("200 OK", body, other, 'ETag: "1"')

    with Server(answer) as server, one(server) as store, pytest.raises(StorageError, match="other bytes"):
        put(store, bytes(17 * MIB))


@pytest.mark.parametrize("why", ["refused", "changed"])
def test_parts_that_become_nothing(why: str, aws: None, tmp_path: Path) -> None:
    """A part is refused, or the file is another one by now: the bucket forgets what it has."""
    path = tmp_path / "file"
    path.write_bytes(bytes(17 * MIB))

    def answer(request: Request, peer: Peer) -> None:
        if request.method == "POST":
            path.write_bytes(b"1" * 17 * MIB if why == "changed" else bytes(17 * MIB))
        refused = request.method == "PUT" and why == "refused"
        peer.reply("400 X" if refused else "200 OK", b"<R><UploadId>1</UploadId></R>", 'ETag: "1"')

    wanted = ObjectMismatchError if why == "changed" else StorageRefusedError
    with Server(answer) as server, one(server) as store:
        with pytest.raises(wanted):
            store.put(KEY, path, content_type="video/mp4")
        assert [r.method for r in server.requests].count("POST") == 1  # never completed
        assert server.requests[-1].method == "DELETE"


def test_large_copies_go_in_parts(bucket: Bucket) -> None:
    store = bucket()
    store.largest_copy, store.copy_part = MIB, 6 * MIB
    data = b"0123456789abcdef" * (MIB + 1)
    put(store, data, download_name="mine.mp4")
    found = store.stat(KEY)
    assert (found.bytes, found.about.download_name) == (len(data), "mine.mp4")
    with store.open(KEY) as body:
        assert body.read() == data
    assert store.sweep(timedelta(seconds=-5)).things == 0


def test_a_process_that_died_before_copying(bucket: Bucket) -> None:
    """All parts are one by then, and not yet in their place."""
    store = bucket()
    writer = store.writer(KEY, content_type="video/mp4")
    writer.write(bytes(9 * MIB))
    writer._stage()
    again = bucket().resume(writer.token)
    assert again.offset == 9 * MIB
    assert not store.exists(KEY)
    assert again.finish().bytes == 9 * MIB
    with store.open(KEY) as body:
        assert len(body.read()) == 9 * MIB
    assert store.sweep(timedelta(seconds=-5)).things == 0


def test_the_rest_of_an_upload_is_what_was_kept(bucket: Bucket) -> None:
    """Between two processes it is an object of its own, which nobody's hash is known of yet."""
    store = bucket()
    writer = store.writer(KEY, content_type="video/mp4")
    writer.write(b"some bytes")
    writer.suspend()
    [tail] = store.call(KEY, "list_objects_v2", Prefix=store.name(""))["Contents"]
    was = store.call(KEY, "get_object", Key=tail["Key"])
    store.call(
        KEY, "put_object", Key=tail["Key"], Body=b"same bytes", Metadata=was["Metadata"],
        ChecksumSHA256=base64.b64encode(hashlib.sha256(b"same bytes").digest()).decode(),
    )  # fmt: skip
    with pytest.raises(ObjectDamagedError, match="not what was kept"):
        bucket().resume(writer.token)


def test_objects_of_others(bucket: Bucket) -> None:
    store = bucket()
    store.call(KEY, "put_object", Key=store.name(KEY))
    with pytest.raises(ObjectDamagedError, match="not ours"):
        store.stat(KEY)


def test_prefixes_are_apart(bucket: Bucket) -> None:
    one, two, all_of_it = bucket("one"), bucket("two"), bucket("")
    put(one)
    two.writer(KEY, content_type="video/mp4").suspend()
    assert [each.key for each in two.list()] == []
    assert not two.exists(KEY)
    assert [each.key for each in all_of_it.list()] == [f"one/{KEY}"]
    one.sweep(timedelta(seconds=-5))
    assert two.sweep(timedelta(seconds=-5)).things == 1


# --- errors --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def one(server: Server, **how: str) -> Iterator[Any]:
    """A store whose server is that; it asks once."""
    from tldr_highlight.storage.s3 import S3Store

    store = S3Store("bucket", endpoint=server.url.rstrip("/"), style="path", **how)
    store.tries = 1
    with contextlib.closing(store):
        yield store


@dataclass
class Refusing:
    """A store whose server says what a test wants."""

    store: Any
    answer: tuple[str, str] = ("", "")


@pytest.fixture(scope="module")
def refusing() -> Iterator[Refusing]:
    need("moto")

    def answer(request: Request, peer: Peer) -> None:
        status, body = made.answer
        peer.reply(status, body.encode(), "Content-Type: application/xml")

    with pytest.MonkeyPatch.context() as patch, Server(answer) as server, one(server) as store:
        set_credentials(patch)
        made = Refusing(store)
        yield made


@pytest.mark.parametrize(
    ("status", "code", "cls"),
    [
        (400, "BadDigest", StorageError),
        (400, "RequestTimeout", StorageError),
        (400, "IncompleteBody", StorageError),
        (400, "ExpiredToken", StorageSetupError),
        (400, "AuthorizationHeaderMalformed", StorageSetupError),
        (400, "InvalidStorageClass", StorageSetupError),
        (400, "EntityTooLarge", StorageRefusedError),
        (400, "InvalidPart", StorageRefusedError),
        (400, "AccessControlListNotSupported", StorageSetupError),
        (400, "", StorageRefusedError),
        (401, "Unauthorized", StorageSetupError),
        (403, "AccessDenied", StorageSetupError),
        (403, "SignatureDoesNotMatch", StorageSetupError),
        (403, "RequestTimeTooSkewed", StorageSetupError),
        (403, "InvalidObjectState", StorageRefusedError),
        (403, "QuotaExceeded", StorageFullError),
        (404, "NoSuchKey", ObjectNotFoundError),
        (404, "NoSuchBucket", StorageSetupError),
        (404, "", ObjectNotFoundError),
        (409, "OperationAborted", StorageError),
        (412, "PreconditionFailed", StorageRefusedError),
        (429, "TooManyRequests", StorageError),
        (500, "InternalError", StorageError),
        (501, "NotImplemented", StorageError),
        (502, "", StorageError),
        (503, "SlowDown", StorageError),
        (503, "XMinioStorageFull", StorageFullError),
        (507, "InsufficientStorage", StorageFullError),
        (507, "", StorageFullError),
    ],
)
def test_what_the_server_says(status: int, code: str, cls: type[StorageError], refusing: Refusing) -> None:
    words = f"<Message>of {status}</Message>"
    refusing.answer = (f"{status} X", f"<Error><Code>{code}</Code>{words}</Error>" if code else "")
    with pytest.raises(cls) as caught:
        put(refusing.store)
    assert type(caught.value) is cls
    if code:
        assert f"{code} ({status}): of {status}" in str(caught.value)


def test_nobody_answers(aws: None) -> None:
    with Server(lambda request, peer: False) as server:
        pass
    with one(server) as store, pytest.raises(StorageError) as caught:
        put(store)
    assert type(caught.value) is StorageError
    assert caught.value.fate is Fate.RESOURCE


def test_a_server_that_hangs_up(aws: None) -> None:
    def answer(request: Request, peer: Peer) -> bool:
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: video/mp4\r\n")
        peer.send(
            f"Last-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\nx-amz-meta-sha256: {'0' * 64}\r\n\r\nsome"
        )
        return False

    with Server(answer) as server, one(server) as store:
        with pytest.raises(StorageError) as caught, store.open(KEY) as body:
            body.read()
        assert caught.value.fate is Fate.RESOURCE  # the object is well


def test_a_transient_error_is_tried_again(aws: None) -> None:
    def answer(request: Request, peer: Peer) -> None:
        peer.reply("200 OK" if len(server.requests) > 1 else "503 Slow Down", b"", 'ETag: "1"')

    with Server(answer) as server, one(server) as store:
        store.tries = 2
        put(store)
        assert [r.method for r in server.requests] == ["PUT", "PUT"]
        assert server.requests[1].body == b"some bytes"


def test_no_certificate_we_trust(aws: None) -> None:
    setup = pytest.raises(StorageSetupError, match=r"(?i)certificate")
    with Server(lambda request, peer: None, tls=True) as server, one(server) as store, setup:
        put(store)


def test_no_credentials(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with Server(lambda request, peer: None) as server, one(server) as store:
        for ask in (lambda: put(store), lambda: store.url(KEY, expires=HOUR)):
            with pytest.raises(StorageSetupError, match="credentials"):
                ask()
        assert server.connections == 0


def test_a_profile_that_is_not_there(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    setup = pytest.raises(StorageSetupError, match="nobody")
    with Server(lambda request, peer: None) as server, one(server) as store, setup:
        put(store)


def test_the_right_asked_for_is_sent(aws: None) -> None:
    def answer(request: Request, peer: Peer) -> None:
        peer.reply("200 OK", b"", 'ETag: "1"')

    with Server(answer) as server:
        for how in ({}, {"acl": "private"}):
            with one(server, **how) as store:
                put(store)
        assert [r.headers.get("x-amz-acl") for r in server.requests] == [None, "private"]


def test_a_bucket_that_has_no_cold(bucket: Bucket) -> None:
    store = bucket(cold_class="")
    put(store)
    assert not store.move_to_cold(KEY).cold


def test_a_class_of_ones_own(bucket: Bucket, tmp_path: Path) -> None:
    store = bucket(cold_class="GLACIER_IR")
    put(store)
    store.move_to_cold(KEY)
    assert store.call(KEY, "head_object", Key=store.name(KEY))["StorageClass"] == "GLACIER_IR"
