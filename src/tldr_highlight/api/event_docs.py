"""The `webhooks` section of the OpenAPI document: every type of event, made of `webhooks/catalogue.py`."""

from __future__ import annotations

import inspect
from typing import Any

from tldr_highlight.api.examples import example_of
from tldr_highlight.webhooks.catalogue import PAYLOADS, EventType, Payload

Document = dict[str, Any]

REFERENCE = "#/components/schemas/{model}"

HEADERS: tuple[tuple[str, str, str], ...] = (
    ("webhook-id", "The event's id: the same however often it is sent.", "evt_01kb8mz3s5e6v7w8x9y0a1b2c3"),
    ("webhook-timestamp", "When this was sent, in Unix seconds.", "1795608000"),
    ("webhook-signature", "Standard Webhooks.", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ("X-TLDR-Signature", "The same in plainer words.", f"t=1795608000,sha256={'0f' * 32}"),
    ("traceparent", "Of the trace in which it happened.", f"00-{'4b' * 16}-{'00f067aa' * 2}-01"),
)
"""Name, meaning, example."""

SAYS: Document = {
    "title": "Cup final",
    "source": "https://www.twitch.tv/videos/2301",
    "platform": "twitch",
    "percent": 40.0,
    "analysed_seconds": 2160.0,
    "highlights": 12,
    "times_realtime": 31.5,
    "seconds_left": 103.0,
    "duration": 5400.0,
    "degraded": False,
    "warnings": [],
    "error_code": "source_incomplete",
    "error_message": "the server sent fewer bytes than it promised",
    "start": 1271.5,
    "end": 1283.0,
    "peak": 1276.5,
    "score": 0.87,
    "confidence": 0.74,
    "types": ["score", "reaction"],
    "clip_start": 1266.5,
    "clip_end": 1288.0,
    "clip_bytes": 7340032,
    "clip_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "has_thumbnail": True,
    "target_seconds": 60.0,
    "seconds": 48.5,
    "note": "48.5 s, not 60: there is no more worth showing",
    "total": 20,
    "succeeded": 13,
    "failed": 7,
    "states": {"completed": 9, "failed": 1},
    "limit": "processing_minutes",
    "used": 800.0,
    "allowed": 1000.0,
    "period": "2026-11",
    "old_plan": "STARTER",
    "new_plan": "PROFESSIONAL",
    "limits": {"processing_minutes": 10000},
    "message": "This is a test.",
    "url": "https://hooks.example.com/tldr",
    "reason": "10 deliveries in a row were given up",
}
"""Field of an event -> what it looks like; ids and times show themselves."""


def section(schemas: Document) -> Document:
    """Type -> what is sent to endpoints; the shapes of `data` are added to `schemas`."""
    return {type.value: {"post": _sent(type, payload, schemas)} for type, payload in PAYLOADS.items()}


def _sent(type: EventType, payload: type[Payload], schemas: Document) -> Document:
    name = f"{payload.__name__}Event"
    schemas[name] = _shape(payload) | {"title": name}
    text = inspect.cleandoc(payload.__doc__ or "")
    return {
        "operationId": f"on_{type.value.replace('.', '_')}",
        "summary": text.partition(".")[0].partition(":")[0],
        "description": text,
        "tags": ["webhooks"],
        "parameters": [_header(*header) for header in HEADERS],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _envelope(type, name),
                    "example": example(type, schemas),
                }
            },
        },
        "responses": {"2XX": {"description": "You have it; anything else is tried again."}},
    }


def _shape(payload: type[Payload]) -> Document:
    return payload.model_json_schema(ref_template=REFERENCE, mode="serialization")


def _header(name: str, text: str, example: str) -> Document:
    return {
        "name": name, "in": "header", "required": True, "description": text,
        "schema": {"type": "string"}, "example": example,
    }  # fmt: skip


def _envelope(type: EventType, name: str) -> Document:
    properties: Document = {
        "id": {"type": "string", "description": "Remember it: an event may be sent twice."},
        "type": {"const": type.value},
        "sequence": {
            "type": ["integer", "null"],
            "description": "Within its stream, without gaps: sort by it. None where there is no stream.",
        },
        "created_at": {"type": "string", "format": "date-time"},
        "organization_id": {"type": "string"},
        "trace_id": {"type": ["string", "null"]},
        "data": {"$ref": REFERENCE.format(model=name)},
    }
    return {"type": "object", "required": list(properties), "properties": properties}


def example(type: EventType, schemas: Document) -> Document:
    """An event of a type, as it is sent."""
    fields: Document = schemas[f"{PAYLOADS[type].__name__}Event"]["properties"]
    return {
        "id": "evt_01kb8mz3s5e6v7w8x9y0a1b2c3",
        "type": type.value,
        "sequence": 7 if "stream_id" in fields else None,
        "created_at": "2026-11-25T12:00:00Z",
        "organization_id": "org_01kb8mz3s5e6v7w8x9y0a1b2c3",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "data": {name: SAYS.get(name, example_of(shape, schemas, name)) for name, shape in fields.items()},
    }
