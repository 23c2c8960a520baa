"""Examples for the OpenAPI document: what a field says of itself, else what its name means.

A field whose example is not obvious says it: `Field(examples=["…"])`.
"""

from __future__ import annotations

from typing import Any

TOKEN = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJ1c3JfMSJ9.c2lnbmF0dXJl"  # noqa: S105 - opens nothing

KNOWN: dict[str, Any] = {
    "access_token": TOKEN,
    "action": "key.created",
    "actor": "usr_01kb8mz3s5e6v7w8x9y0a1b2c3",
    "address": "203.0.113.7",
    "agent": "curl/8.5.0",
    "allow": ["GET"],
    "api_key": "tldr_live_4fT9zQ2mW7xR1kL8vB3nC6yD5hJ0gS0a1B2c",
    "checks": {"database": "ok", "disk": "ok", "worker": "ok"},
    "company_name": "Analytical Engines Ltd",
    "content_type": "video/mp4",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "cursor": "key_01kb8mz3s5e6v7w8x9y0a1b2c3",
    "current_password": "a long sentence is easy to remember",
    "details": {"name": "production"},
    "email": "ada@example.com",
    "filename": "dQw4w9WgXcQ-10-20.5.mp4",
    "events": ["stream.completed", "highlight.ready"],
    "expires_at": "2027-01-01T00:00:00Z",
    "expires_in": 1800,
    "key": "tldr_live_4fT9zQ2mW7xR1kL8vB3nC6yD5hJ0gS0a1B2c",
    "kind": "token",
    "last4": "1B2c",
    "limit": 50,
    "message": "Look into your mail: a link confirms the address.",
    "name": "production",
    "networks": ["203.0.113.0/24"],
    "new_email": "ada@example.org",
    "new_password": "another sentence that nobody guesses",
    "next_cursor": None,
    "next_step": "Look into your mail: a link confirms the address.",
    "organization_name": "Analytical Engines Ltd",
    "password": "a long sentence is easy to remember",
    "plan": "PROFESSIONAL",
    "reason": "unpaid",
    "refresh_token": "5b3xkQnq0vYc1r8mJtZpLw7dHfGsUaEi2oB4yN6uKx9",
    "requests_per_minute": 60,
    "revoked_at": None,
    "role": "member",
    "scopes": ["streams:read", "streams:write"],
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "status": "ok",
    "token": "5b3xkQnq0vYc1r8mJtZpLw7dHfGsUaEi2oB4yN6uKx9",
    "token_type": "bearer",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "type": "stream.completed",
    "url": "https://hooks.example.com/tldr",
}
"""Field -> what it looks like."""

PREFIXES = {
    "account": "usr",
    "audit": "aud",
    "batch": "bat",
    "clip": "clip",
    "clip_job": "job",
    "clipjob": "job",
    "created_by": "usr",
    "delivery": "dlv",
    "event": "evt",
    "highlight": "hl",
    "invitation": "inv",
    "invited_by": "usr",
    "job": "job",
    "key": "key",
    "me": "usr",
    "member": "mem",
    "object": "key",
    "organization": "org",
    "person": "usr",
    "place": "org",
    "reel": "reel",
    "replaced_by": "key",
    "session": "ses",
    "set": "dset",
    "stream": "str",
    "type": "typ",
    "upload": "upl",
    "user": "usr",
    "webhook": "whk",
}
"""What is named -> the prefix of its id."""

UNKNOWN = "…"
"""Where nothing was obvious; a test refuses it."""

MOMENT = "2026-11-25T12:00:00Z"


def example_of(schema: dict[str, Any], schemas: dict[str, Any], name: str = "", owner: str = "") -> Any:
    """A value that a schema allows.

    Args:
        schema: Of the value.
        schemas: What `$ref`s refer to.
        name: Of the field that holds it.
        owner: Name of the schema that the field belongs to.
    """
    if "$ref" in schema:
        target = schema["$ref"].rpartition("/")[2]
        return example_of(schemas[target], schemas, name, target)
    if schema.get("examples"):
        return schema["examples"][0]
    if "const" in schema or "enum" in schema:
        known = KNOWN.get(name)
        values = schema.get("enum") or [schema["const"]]
        return known if known in values else values[0]
    if name in KNOWN and _fits(KNOWN[name], schema):
        return KNOWN[name]
    if "anyOf" in schema:
        return example_of({"title": schema.get("title"), **schema["anyOf"][0]}, schemas, name, owner)
    return _by_type(schema, schemas, name, owner)


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    kinds = {each.get("type") for each in schema.get("anyOf", [schema])}
    names = {str: "string", int: "integer", list: "array", dict: "object", type(None): "null"}
    return names[type(value)] in kinds


def _by_type(schema: dict[str, Any], schemas: dict[str, Any], name: str, owner: str) -> Any:
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {key: example_of(each, schemas, key, owner) for key, each in properties.items()}
        case "array":
            return [example_of(schema.get("items", {}), schemas, name.removesuffix("s"), owner)]
        case "integer" | "number" as kind:
            number = schema.get("default") or schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
            return int(number) if kind == "integer" else number  # bounds are floats, whatever they bound
        case "boolean":
            return schema.get("default", True)
        case "null":
            return None
        case _:
            return _text(schema, name, owner)


def _text(schema: dict[str, Any], name: str, owner: str) -> str:
    if schema.get("format") == "date-time":
        return MOMENT
    what = name.removesuffix("_id") if name != "id" else owner
    for word, prefix in PREFIXES.items():
        if what.lower().startswith(word):
            return f"{prefix}_01kb8mz3s5e6v7w8x9y0a1b2c3"
    return UNKNOWN
