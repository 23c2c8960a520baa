"""Objects in a bucket: Amazon S3, or anything that speaks its protocol. The only file that knows boto3.

    s3://bucket/prefix?endpoint=https://…&region=…&style=path|virtual&cold_class=GLACIER_IR&acl=private

Bytes are sent with their SHA-256, which the server checks; the hash of the whole is kept in the object's
metadata. What comes as a stream has no hash yet when its first bytes leave: it is put together under
`prefix/.incoming/`, a name that no key can have, and copied to its place by the server, with all attributes.
So an object appears in one step here, too.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import boto3.session  # pyright: ignore[reportMissingTypeStubs]
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import (  # pyright: ignore[reportMissingTypeStubs]
    BotoCoreError,
    ClientError,
    ConfigParseError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    SSLError,
)
from pydantic import TypeAdapter

from tldr_highlight.errors import (
    ObjectDamagedError,
    ObjectMismatchError,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    StorageRefusedError,
    StorageSetupError,
    UsageError,
)
from tldr_highlight.storage.base import (
    CHUNK,
    About,
    Body,
    Listed,
    ObjectStore,
    Readable,
    Stored,
    Swept,
    Writer,
    bounds,
    checked_key,
    is_key,
    link_seconds,
    same_hash,
)
from tldr_highlight.storage.names import disposition, is_shown

OPTIONS = {"endpoint", "region", "style", "cold_class", "acl"}

SINGLE = 16 << 20
"""Bytes that go in one request; they are held in memory. More goes in parts."""

PART = 8 << 20
"""Bytes of a part; S3 wants 5 MiB at least."""

MOST_PARTS = 10_000

CONNECT_SECONDS = 5.0

READ_SECONDS = 60.0
"""Of silence. Servers that put parts together or copy send blanks meanwhile."""

TRIES = 4
"""Of each request, with growing pauses (botocore's `standard` mode); then the work is tried again."""

_CODES: dict[str, type[StorageError]] = {
    **dict.fromkeys(["NoSuchKey", "NoSuchUpload", "NotFound"], ObjectNotFoundError),
    **dict.fromkeys(
        [
            "NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException", "InvalidStorageClass", "AccessControlListNotSupported",
            "ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch",
        ],
        StorageSetupError,
    ),
    **dict.fromkeys(
        [
            "QuotaExceeded", "ServiceQuotaExceeded", "InsufficientStorage", "InsufficientCapacity",
            "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded",
        ],
        StorageFullError,
    ),
    **dict.fromkeys(  # 4xx, and yet worth another try: damaged on the way, cut off, overtaken
        [
            "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody",
            "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "TokenRefreshRequired",
            "RequestLimitExceeded", "Throttling", "SlowDown",
        ],
        StorageError,
    ),
    "InvalidObjectState": StorageRefusedError,  # in an archive, hours away
}  # fmt: skip

_STATUSES: dict[int, type[StorageError]] = {
    301: StorageSetupError,
    307: StorageSetupError,
    401: StorageSetupError,
    403: StorageSetupError,
    404: ObjectNotFoundError,
    408: StorageError,
    429: StorageError,
    507: StorageFullError,
}

_SETUP = (
    NoCredentialsError, PartialCredentialsError, ProfileNotFound, ConfigParseError, SSLError,
    ProxyConnectionError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a writer's token holds."""

    about: About
    staging: str  # where it is put together
    upload: str  # the server's name for that


_BEGUN = TypeAdapter(_Begun)


class S3Store(ObjectStore):
    """A bucket, or what is below a prefix in one. Credentials are found as AWS's own programs find them."""

    tries = TRIES
    largest_copy = 5 << 30
    """Bytes that S3 copies in one request; more are copied in parts of `copy_part`."""
    copy_part = 1 << 30

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        region: str | None = None,
        style: str | None = None,
        cold_class: str = "STANDARD_IA",
        acl: str | None = None,
        cdn: str | None = None,
    ) -> None:
        """`cold_class` is a storage class that can be read at once, or empty where there is none.

        `acl` is sent with each object where it is set. Buckets are private without, and those that have no
        access lists (the default since 2023) refuse them.
        """
        if not bucket or (prefix and not is_key(prefix)):
            raise UsageError("TLDR_STORAGE_URL: it is written s3://bucket or s3://bucket/prefix")
        if style not in (None, "path", "virtual"):
            raise UsageError("TLDR_STORAGE_URL: style is path or virtual")
        if acl not in (None, "private", "bucket-owner-full-control"):
            raise UsageError(
                "TLDR_STORAGE_URL: acl is private or bucket-owner-full-control; links are signed"
            )
        if endpoint is not None and urlsplit(endpoint).scheme not in ("http", "https"):
            raise UsageError("TLDR_STORAGE_URL: endpoint is https://host or http://host:port")
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._endpoint, self._region = endpoint, region
        # Links that botocore makes lead to the bucket's region in this style alone; in others they lead to
        # us-east-1, which answers other regions' with a redirect that breaks the signature. No certificate of
        # Amazon's is for a bucket with a dot.
        self._style = style or ("auto" if endpoint or "." in bucket else "virtual")
        self._cold_class, self._cdn = cold_class, cdn
        self._rights = {"ACL": acl} if acl else {}

    @cached_property
    def _client(self) -> Any:
        """Made when first used: it takes half a second."""
        with _errors("the bucket"):
            session: Any = boto3.session.Session(region_name=self._region)
            return session.client(
                "s3",
                endpoint_url=self._endpoint,
                region_name=session.region_name or "us-east-1",
                config=Config(
                    signature_version="s3v4",
                    s3={"addressing_style": self._style},
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": self.tries},
                    max_pool_connections=32,
                    tcp_keepalive=True,
                    request_checksum_calculation="when_required",  # we send SHA-256 ourselves
                    response_checksum_validation="when_required",
                ),
            )

    def put(
        self,
        key: str,
        source: Path | Readable,
        *,
        content_type: str,
        cache_control: str | None = None,
        download_name: str | None = None,
        sha256: str | None = None,
    ) -> Stored:
        """See `ObjectStore`."""
        about = About(key, content_type, cache_control, download_name)
        if isinstance(source, Path):
            if source.stat().st_size > SINGLE:
                return self._put_large(about, source, sha256)
            return self.put_bytes(about, source.read_bytes(), sha256)
        return self._put_stream(about, source, sha256)

    def put_bytes(self, about: About, data: bytes, sha256: str | None) -> Stored:
        """Store some bytes, in one request."""
        digest = hashlib.sha256(data)
        got = same_hash(about, digest.hexdigest(), sha256)
        self.call(
            about.key, "put_object", Key=self.name(about.key), Body=data,
            ChecksumSHA256=_base64(digest.digest()), **self._attributes(about, got),
        )  # fmt: skip
        return Stored(about, len(data), got, datetime.now(UTC))

    def _put_stream(self, about: About, stream: Readable, sha256: str | None) -> Stored:
        """Small ones in one request."""
        start = _read(stream, SINGLE + 1)
        if len(start) <= SINGLE:
            return self.put_bytes(about, start, sha256)
        with contextlib.ExitStack() as stack:
            writer = self._begin(about)
            stack.callback(writer.abort)  # does nothing once it is finished
            writer.write(start)
            for data in iter(lambda: stream.read(CHUNK), b""):
                writer.write(data)
            return writer.finish(sha256=sha256)

    def _put_large(self, about: About, path: Path, sha256: str | None) -> Stored:
        """Read twice: once for the hash, which goes first."""
        with path.open("rb") as file, contextlib.ExitStack() as stack:
            got = same_hash(about, hashlib.file_digest(file, "sha256").hexdigest(), sha256)
            size = file.tell()
            file.seek(0)
            parts = _Parts(self, about.key, self.name(about.key))
            parts.create(**self._attributes(about, got))
            stack.callback(parts.abort)
            again = hashlib.sha256()
            for data in iter(lambda: file.read(max(PART, -(-size // MOST_PARTS))), b""):
                again.update(data)
                parts.add(data)
            if again.hexdigest() != got:
                raise ObjectMismatchError(f"{about.key}: the file changed while it was stored")
            parts.complete()
        return Stored(about, size, got, datetime.now(UTC))

    def writer(
        self,
        key: str,
        *,
        content_type: str,
        cache_control: str | None = None,
        download_name: str | None = None,
    ) -> Writer:
        """See `ObjectStore`."""
        return self._begin(About(key, content_type, cache_control, download_name))

    def _begin(self, about: About) -> _S3Writer:
        parts = _Parts(self, about.key, f"{self._incoming}{secrets.token_hex(16)}")
        parts.create(ContentType="application/octet-stream", **self._rights)
        return _S3Writer(self, about, parts)

    def resume(self, token: str) -> Writer:
        """See `ObjectStore`."""
        begun = _BEGUN.validate_json(token)
        writer = _S3Writer(self, begun.about, _Parts(self, begun.about.key, begun.staging, begun.upload))
        writer.find()
        return writer

    def open(self, key: str, start: int = 0, end: int | None = None) -> Body:
        """See `ObjectStore`."""
        if start < 0 or (end is not None and end <= start):
            return self._nothing(key, start, end)
        wanted = (
            {} if (start, end) == (0, None) else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        )
        try:
            answer = self.call(key, "get_object", Key=self.name(checked_key(key)), **wanted)
        except _RangeError:
            return self._nothing(key, start, end)
        stored = self._stored(key, answer)
        return Body(stored, Stream(answer["Body"], key), *bounds(stored.bytes, start, end))

    def _nothing(self, key: str, start: int, end: int | None) -> Body:
        """No bytes of an object: S3 has no way to ask for them."""
        stored = self.stat(key)
        first, last = bounds(stored.bytes, start, end)
        if first != last:
            raise StorageError(f"{key} changed while it was opened")
        return Body(stored, Stream(None, key), first, last)

    def stat(self, key: str) -> Stored:
        """See `ObjectStore`."""
        return self._stored(key, self.call(key, "head_object", Key=self.name(checked_key(key))))

    def delete(self, key: str) -> None:
        """See `ObjectStore`. A bucket that keeps versions keeps the bytes, too."""
        self.call(key, "delete_object", Key=self.name(checked_key(key)))

    def move_to_cold(self, key: str) -> Stored:
        """See `ObjectStore`: copied onto itself in another storage class, by the server."""
        stored = self.stat(key)
        if stored.cold or not self._cold_class:
            return stored
        self.copy(self.name(key), stored, StorageClass=self._cold_class)
        return self.stat(key)

    def list(self, folder: str = "") -> Iterator[Listed]:
        """See `ObjectStore`."""
        below = self.name(f"{checked_key(folder)}/" if folder else "")
        for entry in self.pages(below, "list_objects_v2", "Contents", Prefix=below):
            key = entry["Key"].removeprefix(self._prefix)
            if is_key(key):  # not what is incoming, nor other people's
                yield Listed(key, entry["Size"], entry["LastModified"])

    def url(self, key: str, *, expires: timedelta, download_name: str | None = None) -> str:
        """See `ObjectStore`. A CDN must ask the bucket under the name that was signed."""
        wanted = {"Bucket": self._bucket, "Key": self.name(checked_key(key))}
        if download_name is not None:
            wanted["ResponseContentDisposition"] = disposition(download_name, inline=False)
        with _errors(key):
            url: str = self._client.generate_presigned_url(
                "get_object", Params=wanted, ExpiresIn=link_seconds(expires)
            )
        if self._cdn is None:
            return url
        signed = urlsplit(url)
        return f"{self._cdn.rstrip('/')}{signed.path}?{signed.query}"

    def sweep(self, older_than: timedelta) -> Swept:
        """See `ObjectStore`."""
        before = datetime.now(UTC) - older_than
        staged = {
            e["Key"]: e for e in self.pages("sweep", "list_objects_v2", "Contents", Prefix=self._incoming)
        }
        found = Swept()
        for upload in self.pages("sweep", "list_multipart_uploads", "Uploads", Prefix=self._prefix):
            parts = _Parts(self, "sweep", upload["Key"], upload["UploadId"])
            tail = staged.get(_tail(upload["Key"]))
            if parts.touched(upload["Initiated"], tail and tail["LastModified"]) < before:
                found += Swept(1, parts.size)
                parts.abort()
        for name, entry in staged.items():
            if entry["LastModified"] < before:
                self.call("sweep", "delete_object", Key=name)
                found += Swept(1, entry["Size"])
        return found

    def close(self) -> None:
        """See `ObjectStore`."""
        if "_client" in self.__dict__:
            self._client.close()

    # --- what the bucket is asked ----------------------------------------------------------------------

    def call(self, about: str, operation: str, **parameters: Any) -> Any:
        """One operation of the bucket; `about` is the key that errors name."""
        with _errors(about):
            return getattr(self._client, operation)(Bucket=self._bucket, **parameters)

    def pages(self, about: str, operation: str, member: str, **parameters: Any) -> Iterator[Any]:
        """All entries of a list that comes in pages."""
        with _errors(about):
            for page in self._client.get_paginator(operation).paginate(Bucket=self._bucket, **parameters):
                yield from page.get(member, ())

    def copy(self, source: str, stored: Stored, **how: Any) -> None:
        """Have the server copy the bytes called `source` to where `stored` is, with its attributes."""
        key, place = stored.key, self.name(stored.key)
        wanted = self._attributes(stored.about, stored.sha256) | how
        origin = {"Bucket": self._bucket, "Key": source}
        if stored.bytes <= self.largest_copy:
            answer = self.call(
                key, "copy_object", Key=place, CopySource=origin, MetadataDirective="REPLACE",
                ChecksumAlgorithm="SHA256", **wanted,
            )  # fmt: skip
            _same_checksum(key, answer.get("CopyObjectResult", {}), bytes.fromhex(stored.sha256))
            return
        with contextlib.ExitStack() as stack:
            parts = _Parts(self, key, place)
            parts.create(**wanted)
            stack.callback(parts.abort)
            for start in range(0, stored.bytes, self.copy_part):
                parts.add_copy(origin, start, min(start + self.copy_part, stored.bytes))
            parts.complete()

    def name(self, key: str) -> str:
        """What the bucket calls it."""
        return self._prefix + key

    @property
    def _incoming(self) -> str:
        return f"{self._prefix}.incoming/"

    def _attributes(self, about: About, sha256: str) -> dict[str, Any]:
        """Parameters that give an object its attributes."""
        wanted: dict[str, Any] = {
            "ContentType": about.content_type,
            "ContentDisposition": disposition(about.download_name, inline=is_shown(about.content_type)),
            "Metadata": {"sha256": sha256},
            **self._rights,
        }
        if about.cache_control is not None:
            wanted["CacheControl"] = about.cache_control
        if about.download_name is not None:
            wanted["Metadata"]["download-name"] = quote(about.download_name, safe="")  # ASCII alone
        return wanted

    def _stored(self, key: str, answer: Any) -> Stored:
        metadata: dict[str, str] = answer.get("Metadata", {})
        total = answer.get("ContentRange", "").rpartition("/")[2]
        name = metadata.get("download-name")
        try:
            about = About(key, answer["ContentType"], answer.get("CacheControl"), name and unquote(name))
            return Stored(
                about, int(total or answer["ContentLength"]), metadata["sha256"], answer["LastModified"],
                answer.get("StorageClass", "STANDARD") != "STANDARD",
            )  # fmt: skip
        except (KeyError, ValueError) as error:
            raise ObjectDamagedError(f"{key}: its attributes are not ours") from error


class _Parts:
    """An object that the bucket puts together."""

    def __init__(self, store: S3Store, key: str, name: str, upload: str = "") -> None:
        self.name, self.upload = name, upload
        self._store, self._key = store, key
        self._parts: list[dict[str, Any]] = []
        self.size = 0
        self._over = False

    def create(self, **attributes: Any) -> None:
        """Begin."""
        answer = self._store.call(
            self._key, "create_multipart_upload", Key=self.name, ChecksumAlgorithm="SHA256", **attributes
        )
        self.upload = answer["UploadId"]

    def find(self) -> list[datetime]:
        """Learn what the bucket has already; when each part came."""
        found = list(self._store.pages(self._key, "list_parts", "Parts", Key=self.name, UploadId=self.upload))
        self._parts = [_part(entry["PartNumber"], entry) for entry in found]
        self.size = sum(entry["Size"] for entry in found)
        return [entry["LastModified"] for entry in found]

    def add(self, data: bytes) -> None:
        """Send the next part."""
        digest = hashlib.sha256(data).digest()
        number = len(self._parts) + 1
        answer = self._store.call(
            self._key, "upload_part", Key=self.name, UploadId=self.upload, PartNumber=number, Body=data,
            ChecksumSHA256=_base64(digest),
        )  # fmt: skip
        _same_checksum(self._key, answer, digest)
        self._parts.append(_part(number, answer))
        self.size += len(data)

    def add_copy(self, origin: dict[str, str], start: int, end: int) -> None:
        """Have the server take the next part from another object."""
        number = len(self._parts) + 1
        answer = self._store.call(
            self._key, "upload_part_copy", Key=self.name, UploadId=self.upload, PartNumber=number,
            CopySource=origin, CopySourceRange=f"bytes={start}-{end - 1}",
        )  # fmt: skip
        self._parts.append(_part(number, answer["CopyPartResult"]))
        self.size += end - start

    def complete(self) -> None:
        """Make it an object."""
        self._store.call(
            self._key, "complete_multipart_upload", Key=self.name, UploadId=self.upload,
            MultipartUpload={"Parts": self._parts},
        )  # fmt: skip
        self._over = True

    def abort(self) -> None:
        """Forget the parts, unless they have become an object."""
        if not self._over:
            with contextlib.suppress(ObjectNotFoundError):
                self._store.call(self._key, "abort_multipart_upload", Key=self.name, UploadId=self.upload)
            self._over = True

    def touched(self, begun: datetime, tail: datetime | None) -> datetime:
        """When something last came."""
        try:
            return max([begun, *self.find(), *([tail] if tail else [])])
        except ObjectNotFoundError:  # completed since
            self._over = True
            return datetime.now(UTC)


class _S3Writer(Writer):
    """Whole parts in the bucket, and the rest of what came: in memory, or between processes in an object."""

    def __init__(self, store: S3Store, about: About, parts: _Parts) -> None:
        self._store, self._about, self._parts = store, about, parts
        self.token = json.dumps(asdict(_Begun(about, parts.name, parts.upload)))
        self._rest = bytearray()
        self._hash: Any = hashlib.sha256()  # None where others wrote, too
        self._staged = False  # put together already
        self._over = False

    @property
    def offset(self) -> int:
        """See `Writer`."""
        return self._parts.size + len(self._rest)

    def find(self) -> None:
        """Go on where another writer stopped, whatever stopped it."""
        self._hash = None
        try:
            self._parts.find()
        except ObjectNotFoundError:
            answer = self._call("head_object", self._parts.name)
            self._parts.size, self._staged = answer["ContentLength"], True
            return
        with contextlib.suppress(ObjectNotFoundError):
            answer = self._call("get_object", _tail(self._parts.name))
            if answer["Metadata"].get("offset") == str(self._parts.size):  # else it is in a part by now
                self._rest += b"".join(Stream(answer["Body"], self._about.key))
                if hashlib.sha256(self._rest).hexdigest() != answer["Metadata"].get("sha256"):
                    raise ObjectDamagedError(f"{self._about.key}: what came of it is not what was kept")
        if not self._parts.size:
            self._hash = hashlib.sha256(self._rest)

    def write(self, data: bytes) -> None:
        """See `Writer`."""
        assert not self._over, "it is finished, suspended or aborted"
        assert not self._staged, "all of it came"
        self._rest += data
        if self._hash:
            self._hash.update(data)
        while len(self._rest) >= PART:
            self._parts.add(bytes(self._rest[:PART]))
            del self._rest[:PART]

    def suspend(self) -> None:
        """See `Writer`."""
        if self._rest:
            digest = hashlib.sha256(self._rest)
            self._call(
                "put_object", _tail(self._parts.name), Body=bytes(self._rest),
                Metadata={"offset": str(self._parts.size), "sha256": digest.hexdigest()},
                ChecksumSHA256=_base64(digest.digest()),
            )  # fmt: skip
        self._over = True

    def finish(self, *, sha256: str | None = None) -> Stored:
        """See `Writer`."""
        assert not self._over, "it is finished, suspended or aborted"
        try:
            stored = self._stored(sha256)
        except ObjectMismatchError:
            self.abort()
            raise
        self.abort()  # what is staged has been copied
        return stored

    def _stored(self, sha256: str | None) -> Stored:
        if not self._parts.size:
            return self._store.put_bytes(self._about, bytes(self._rest), sha256)
        self._stage()
        got = same_hash(self._about, self._digest(), sha256)
        stored = Stored(self._about, self._parts.size, got, datetime.now(UTC))
        self._store.copy(self._parts.name, stored)
        return stored

    def _stage(self) -> None:
        if not self._staged:
            if self._rest:
                self._parts.add(bytes(self._rest))
                self._rest.clear()
            self._parts.complete()
            self._staged = True

    def _digest(self) -> str:
        """Of the whole; read again where others wrote."""
        if self._hash is None:
            self._hash = hashlib.sha256()
            for data in Stream(self._call("get_object", self._parts.name)["Body"], self._about.key):
                self._hash.update(data)
        return self._hash.hexdigest()

    def abort(self) -> None:
        """See `Writer`."""
        if not self._over:
            self._over = True
            self._parts.abort()
            for name in (self._parts.name, _tail(self._parts.name)):
                self._call("delete_object", name)

    def close(self) -> None:
        """See `Writer`."""
        self._over = True

    def _call(self, operation: str, name: str, **parameters: Any) -> Any:
        return self._store.call(self._about.key, operation, Key=name, **parameters)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer's body whose errors are ours; None is an empty one."""

    body: Any
    key: str

    def __iter__(self) -> Iterator[bytes]:
        with contextlib.closing(self):
            yield from iter(lambda: self.read(CHUNK), b"")

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""
        with _errors(self.key):
            return self.body.read(size)

    def close(self) -> None:
        """Let go of the connection."""
        if self.body is not None:
            self.body.close()


class _RangeError(StorageRefusedError):
    """No such bytes in this object. Never leaves this file."""


def _part(number: int, answer: Any) -> dict[str, Any]:
    """A part as the bucket wants to hear of it again."""
    return {"PartNumber": number} | {n: answer[n] for n in ("ETag", "ChecksumSHA256") if answer.get(n)}


def _same_checksum(key: str, answer: Any, digest: bytes) -> None:
    """See that the server has what we sent, where it says what it has; `-` is a hash of parts' hashes."""
    told = answer.get("ChecksumSHA256")
    if told and "-" not in told and told != _base64(digest):
        raise StorageError(f"{key}: the storage has other bytes than were sent")


def _tail(name: str) -> str:
    return f"{name}.tail"


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")


def _read(stream: Readable, size: int) -> bytes:
    """Up to `size` bytes, fewer at the end alone."""
    found = bytearray()
    while len(found) < size and (data := stream.read(min(CHUNK, size - len(found)))):
        found += data
    return bytes(found)


@contextlib.contextmanager
def _errors(key: str) -> Generator[None]:
    """Turn what boto3 and the server say into errors of ours."""
    try:
        yield
    except ClientError as error:
        raise _ours(error, key) from error
    except _SETUP as error:
        raise StorageSetupError(f"cannot store or read {key}: {error}") from error
    except BotoCoreError as error:
        raise StorageError(f"cannot store or read {key}: {error}") from error


def _ours(error: ClientError, key: str) -> StorageError:
    answer: Any = error.response
    code, status = answer.get("Error", {}).get("Code", ""), answer["ResponseMetadata"]["HTTPStatusCode"]
    words = f"{key}: the storage says {code} ({status}): {answer.get('Error', {}).get('Message', '')}"
    if code == "InvalidRange" or status == 416:
        return _RangeError(words)
    otherwise = StorageError if status >= 500 else StorageRefusedError
    return _CODES.get(code, _STATUSES.get(status, otherwise))(words)
