"""A server that speaks S3, strictly: moto, behind a gate that checks what moto does not.

    python tests/s3_server.py        prints its address; ends with its terminal

Signatures (headers and links) are computed again, by the rules Amazon published; every body must come with
its SHA-256 and have it. Bodies that a signature covers must be those that were signed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

ACCESS, SECRET = "AKIDOFTESTS", "secret/of+tests"
EMPTY = hashlib.sha256(b"").hexdigest()


def signature(
    method: str, path: str, query: Iterable[tuple[str, str]], headers: Mapping[str, str], signed: str,
    payload: str, at: str, scope: str, secret: str,
) -> str:  # fmt: skip
    """AWS Signature Version 4, for S3; `headers` in lower case, `signed` their names with `;` between."""
    canonical = "\n".join([
        method,
        quote(path, safe="/-_.~"),
        "&".join(sorted(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in query)),
        *(f"{name}:{' '.join(headers[name].split())}" for name in signed.split(";")),
        "",
        signed,
        payload,
    ])  # fmt: skip
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    return hmac.new(key, text.encode(), "sha256").hexdigest()


class RefusedError(Exception):
    """A request that Amazon would not take."""


def check(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """See that a request is signed, and that its body is what it says."""
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    if "X-Amz-Signature" in given:
        sent = given["X-Amz-Signature"]
        access, _, scope = given["X-Amz-Credential"].partition("/")
        at, signed, payload = given["X-Amz-Date"], given["X-Amz-SignedHeaders"], "UNSIGNED-PAYLOAD"
        pairs = [(n, v) for n, v in pairs if n != "X-Amz-Signature"]
        holds = timedelta(seconds=int(given["X-Amz-Expires"]))
    else:
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^,]+), SignedHeaders=([^,]+), Signature=(\w+)",
            headers.get("authorization", ""),
        )
        if not found:
            raise RefusedError("AccessDenied")
        access, scope, signed, sent = found.groups()
        at, payload, holds = headers["x-amz-date"], headers["x-amz-content-sha256"], timedelta(minutes=15)
        if payload not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            raise RefusedError("XAmzContentSHA256Mismatch")
    if access != ACCESS:
        raise RefusedError("InvalidAccessKeyId")
    if "host" not in signed.split(";"):
        raise RefusedError("AccessDenied")
    if sent != signature(method, path, pairs, headers, signed, payload, at, scope, SECRET):
        raise RefusedError("SignatureDoesNotMatch")
    age = now - datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if age > holds:
        raise RefusedError("AccessDenied")
    if method == "PUT" and body:
        told = headers.get("x-amz-checksum-sha256")
        if told != base64.b64encode(hashlib.sha256(body).digest()).decode():
            raise RefusedError("BadDigest" if told else "MissingChecksumOfTests")


def gate(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The WSGI application behind `check`."""

    def checked(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        headers = {n[5:].replace("_", "-").lower(): v for n, v in environ.items() if n.startswith("HTTP_")}
        headers |= {"content-type": environ.get("CONTENT_TYPE", "")}
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        method, query = environ["REQUEST_METHOD"], environ["QUERY_STRING"]
        try:
            check(method, environ["PATH_INFO"], query, headers, body, datetime.now(UTC))
        except RefusedError as error:
            text = f"<Error><Code>{error}</Code><Message>by the gate</Message></Error>".encode()
            kind = [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))]
            start("400 Bad Request" if "Digest" in str(error) else "403 Forbidden", kind)
            return [text]
        return app(environ, start)

    return checked


_buckets = itertools.count()


def bucket(address: str) -> dict[str, str]:
    """Settings of an installation that keeps its files in a new bucket of such a server."""
    import boto3

    name = f"highlights-{next(_buckets)}"
    names = {"aws_access_key_id": ACCESS, "aws_secret_access_key": SECRET}
    boto3.client("s3", endpoint_url=address, region_name="us-east-1", **names).create_bucket(Bucket=name)
    return {
        "TLDR_STORAGE_URL": f"s3://{name}/here?endpoint={address}&style=path",
        **{name.upper(): value for name, value in names.items()},
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def main() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, gate(app), threaded=True)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
