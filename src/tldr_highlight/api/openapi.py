"""The OpenAPI document: what FastAPI knows, and what it does not: who may call, what goes wrong, examples.

`docs/openapi.json` is this document; `tldr-highlight openapi` prints it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tldr_highlight.api import event_docs
from tldr_highlight.api.examples import example_of
from tldr_highlight.api.problems import MEDIA_TYPE, TYPES, phrase, plain_status
from tldr_highlight.errors import (
    AuthError,
    BodyLimitError,
    BodySlowError,
    BodyTypeError,
    CrossSiteError,
    DatabaseError,
    InProgressError,
    InternalError,
    InvalidError,
    KeyAddressError,
    NotFoundError,
    RateError,
    RequestError,
    ReusedKeyError,
    RoleError,
    ScopeError,
    SlowError,
    SuspendedError,
    TldrError,
    TokenError,
    TokenExpiredError,
)
from tldr_highlight.tenancy.cookies import PLAIN, SAFE, SECURE
from tldr_highlight.tenancy.roles import Role

Document = dict[str, Any]

DESCRIPTION = """\
Finds the moments worth watching in livestreams and videos, cuts them into exact clips, and delivers them.

**Who you are.** Send a key in `X-API-Key` or `Authorization: Bearer`. People log in and send the access
token in `Authorization: Bearer`; pages of this server have a cookie. Each operation names the scope that a
key needs, or the role of a person.

**Errors** are problem documents (RFC 9457) with a stable `code`, and the `trace_id` that our log has, too.

**Lists** come in pages: `next_cursor` of one is `cursor` of the next, null at the end.

**Sending twice.** Creating calls take an `Idempotency-Key`: sent again within 24 hours, they answer as the
first time and create nothing.

**Objects of other organizations** do not exist for you: 404.
"""

TAGS = {
    "compatible clip calls": "As clients of the clip service know them; errors are `{success, error}`.",
    "streams": "Sources, and how far each is.",
    "clip jobs": "Ranges of one source, cut exactly.",
    "keys": "Programs' way in.",
    "highlights": "What was found, or asked for: clips, what somebody thought of them, links.",
    "dimension sets": "What highlights are judged by, and what kinds of them there are.",
    "uploads": "Files, for streams to be made of.",
    "events": "What happened, page by page or as it happens.",
    "operations": "For those who run the installation.",
    "auth": "Accounts, logins and their tokens.",
    "organization": "The organization, its people and its plan.",
    "me": "Who is calling.",
    "admin": "For operators.",
    "webhooks": "Addresses of yours that are told what happens, and how that went.",
}

RATE_HEADERS: Document = {
    "RateLimit-Limit": {"description": "Requests per minute.", "schema": {"type": "integer"}},
    "RateLimit-Remaining": {"description": "Of them, what is left.", "schema": {"type": "integer"}},
    "RateLimit-Reset": {"description": "Seconds until they are whole again.", "schema": {"type": "integer"}},
}
STREAMED = {"application/octet-stream", "application/offset+octet-stream"}
"""What files come as."""

EVENT = """id: evt_01kb8mz3s5e6v7w8x9y0a1b2c3
event: stream.completed
data: {"id": "evt_01kb8mz3s5e6v7w8x9y0a1b2c3", "type": "stream.completed", "data": {}}
"""
"""As an answer of events has them, each with an empty line after it."""

TRACE_HEADER: Document = {"X-Trace-Id": {"$ref": "#/components/headers/X-Trace-Id"}}
AGAIN: Document = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
REPLAYED: Document = {"Idempotency-Replayed": {"$ref": "#/components/headers/Idempotency-Replayed"}}

COMPONENTS: Document = {
    "securitySchemes": {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key."},
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key, or the access token of a login.",
        },
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": SECURE,
            "description": f"Of `auth/session`, for this server's own pages; over plain http `{PLAIN}`.",
        },
    },
    "headers": {
        "X-Trace-Id": {"description": "What our log knows this call by.", "schema": {"type": "string"}},
        "Idempotency-Replayed": {
            "description": "`true` where this is the answer to an earlier call with the same key.",
            "schema": {"type": "string", "enum": ["true"]},
        },
        "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
        **RATE_HEADERS,
    },
    "parameters": {
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "Made up by you, for example a UUID: the call can be sent again with it.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
            "example": "5f0c2c1e-8f5e-4f0b-9a39-6f1f3c1f6b7d",
        }
    },
}

LOCATION: Document = {
    "description": "Where it is, for an hour.",
    "required": True,
    "schema": {"type": "string"},
}

PROBLEM: Document = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "trace_id"],
    "properties": {
        "type": {"type": "string", "description": "Where the code is explained, on this server."},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; for programs."},
        "detail": {"type": "string", "description": "For people."},
        "trace_id": {"type": ["string", "null"], "description": "What our log knows it by."},
        "errors": {
            "type": "array",
            "description": "With `validation_failed`: each mistake and its place.",
            "items": {
                "type": "object",
                "required": ["loc", "code", "message"],
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


REFUSED: Document = {
    "title": "Refused",
    "description": "What went wrong with a compatible call.",
    "type": "object",
    "required": ["success", "error"],
    "properties": {"success": {"type": "boolean", "const": False}, "error": {"type": "string"}},
    "examples": [{"success": False, "error": "there is no such job"}],
}


def finished(document: Document) -> Document:
    """FastAPI's document, completed."""
    components = document.setdefault("components", {})
    schemas: Document = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= {"Problem": PROBLEM, "Refused": REFUSED}
    components.update(COMPONENTS)
    document["info"]["description"] = DESCRIPTION
    document["servers"] = [{"url": "/"}]
    document["webhooks"] = event_docs.section(schemas)
    used: set[str] = set()
    for method, operation in operations(document):
        used.update(operation["tags"])
        _complete(operation, schemas, changes=method.upper() not in SAFE)
    document["tags"] = [{"name": tag, "description": TAGS.get(tag, "")} for tag in TAGS if tag in used]
    document["tags"] += [{"name": tag} for tag in sorted(used - TAGS.keys())]
    return document


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    """Each operation of a document, with its method."""
    for item in document["paths"].values():
        yield from item.items()


def codes() -> dict[str, type[TldrError]]:
    """Code -> class, of every error."""
    found: dict[str, type[TldrError]] = {}
    left = [TldrError]
    while left:
        left.extend(children := left.pop().__subclasses__())
        found.update((child.code, child) for child in children)
    return found


def _complete(operation: Document, schemas: Document, *, changes: bool) -> None:
    described: Document | None = operation.pop("x-operation", None)
    responses: Document = operation["responses"]
    _drop_own_validation(responses)
    for status, response in responses.items():
        response["headers"] = dict(TRACE_HEADER)
        if status.startswith("3"):
            response.pop("content", None)
            response["headers"]["Location"] = LOCATION
        if response["description"] == "Successful Response":
            response["description"] = phrase(int(status))
    if described is not None:
        _say_who(operation, described)
        for response in responses.values():
            response["headers"] |= {name: {"$ref": f"#/components/headers/{name}"} for name in RATE_HEADERS}
        if described["creates"]:
            operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/IdempotencyKey"})
            for response in responses.values():
                response["headers"] |= REPLAYED
        raised = _raised(operation, described, changes=changes)
        responses |= _plain(raised) if described["compatible"] else _problems(raised)
    else:
        operation["security"] = []
        responses |= _problems([InternalError, SlowError, DatabaseError], leaving=responses.keys())
    _add_examples(operation, schemas)
    operation["responses"] = dict(sorted(responses.items()))


def _drop_own_validation(responses: Document) -> None:
    schema = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if schema.get("$ref", "").endswith("/HTTPValidationError"):
        del responses["422"]


def _say_who(operation: Document, described: Document) -> None:
    if described["public"]:
        operation["security"] = []
        return
    keys: list[Document] = [] if _takes_person(described) else [{"key": []}]
    nothing: list[Document] = [{}] if described["keyless"] else []
    operation["security"] = [*nothing, *keys, {"bearer": []}, {"cookie": []}]
    if described["scope"]:
        operation["x-scope"] = described["scope"]
    if described["rank"]:
        operation["x-role"] = Role(described["rank"]).word
    if described["operator"]:
        operation["x-operator"] = True


def _takes_person(described: Document) -> bool:
    return described["login"] or described["operator"]


def _raised(operation: Document, described: Document, *, changes: bool) -> list[type[TldrError]]:
    """Everything that an operation may answer instead of what was asked for."""
    found: list[type[TldrError]] = [InternalError, DatabaseError, SlowError, RateError, RequestError]
    if not described["public"]:
        found += [AuthError, TokenError, TokenExpiredError, SuspendedError]
        found += [ScopeError] if described["scope"] else []
        found += [RoleError] if _takes_person(described) else [KeyAddressError]
        found += [CrossSiteError] if changes else []
    parameters = [p for p in operation.get("parameters", []) if "in" in p]
    if any(p["in"] == "path" for p in parameters):
        found.append(NotFoundError)
    if parameters or "requestBody" in operation:
        found.append(InvalidError)
    if "requestBody" in operation:
        found += [BodyLimitError, BodyTypeError, BodySlowError]
    if described["creates"]:
        found += [InProgressError, ReusedKeyError]
    known = codes()
    return found + [known[code] for code in described["errors"]]


def _problems(errors: list[type[TldrError]], leaving: Any = ()) -> Document:
    """Status -> response, with an example for each code."""
    by_status: dict[int, dict[str, type[TldrError]]] = defaultdict(dict)
    for error in errors:
        by_status[error.status][error.code] = error
    return {
        str(status): _problem(status, classes)
        for status, classes in by_status.items()
        if str(status) not in leaving
    }


def _plain(errors: list[type[TldrError]]) -> Document:
    """Status -> response, of a compatible call."""
    return {
        str(status): {
            "description": phrase(status),
            "headers": TRACE_HEADER | (AGAIN if status in {409, 429, 503} else {}),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refused"}}},
        }
        for status in sorted({plain_status(error.status) for error in errors})
    }


def _problem(status: int, classes: dict[str, type[TldrError]]) -> Document:
    return {
        "description": f"{phrase(status)}: " + ", ".join(f"`{code}`" for code in classes),
        "headers": TRACE_HEADER | (AGAIN if status in {409, 429, 503} else {}),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {code: {"value": _example(error)} for code, error in classes.items()},
            }
        },
    }


def _example(error: type[TldrError]) -> Document:
    example: Document = {
        "type": TYPES + error.code,
        "title": phrase(error.status),
        "status": error.status,
        "code": error.code,
        "detail": (error.__doc__ or "").partition("\n")[0].replace("`", "").rstrip("."),
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }
    if error is InvalidError:
        mistake = {"loc": ["body", "name"], "code": "missing", "message": "Field required"}
        example |= {"detail": "body.name: Field required", "errors": [mistake]}
    return example


def _add_examples(operation: Document, schemas: Document) -> None:
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    for body in bodies:
        for kind, content in body.get("content", {}).items():
            if kind == "application/json" and not content.keys() & {"example", "examples"}:
                content["example"] = example_of(content["schema"], schemas)
            elif kind == "text/event-stream":
                # Before 3.2 OpenAPI leaves open what a schema describes: the whole, or each event.
                content |= {"schema": {}, "example": EVENT}
            elif kind in STREAMED:
                content["example"] = "the file's bytes"
    for parameter in operation.get("parameters", []):
        if "schema" in parameter and not parameter.keys() & {"example", "examples"}:
            parameter["example"] = example_of(parameter["schema"], schemas, parameter["name"])
