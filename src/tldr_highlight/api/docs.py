"""The documentation that the server serves: the OpenAPI document, and pages made of it.

No script, nothing from elsewhere: Swagger's page loads itself from a CDN, which an installation without
internet does not have, and a strict Content-Security-Policy does not allow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from tldr_highlight.api.openapi import codes

router = APIRouter(include_in_schema=False)

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
    "cache-control": "no-cache",
}


@router.get("/api/v1/openapi.json")
async def openapi(request: Request) -> Response:
    """The document."""
    return _once(request, "openapi", "application/json", lambda: encoded(request.app.openapi()))


@router.get("/docs")
async def reference(request: Request) -> Response:
    """Every operation, on one page."""
    return _once(request, "docs", "text/html; charset=utf-8", lambda: reference_page(request.app.openapi()))


@router.get("/docs/errors")
async def errors(request: Request) -> Response:
    """Every error code; what `type` of a problem leads to."""
    return _once(request, "docs_errors", "text/html; charset=utf-8", errors_page)


@router.get("/docs/style.css")
async def style(request: Request) -> Response:
    """How they look."""
    return _once(
        request, "docs_style", "text/css; charset=utf-8", lambda: _pages().get_template("docs.css").render()
    )


def _once(request: Request, name: str, media_type: str, make: Callable[[], str]) -> Response:
    """What `make` makes, made once for each application."""
    request.state.operation = name
    made: dict[str, bytes] = request.app.state.pages
    if name not in made:
        made[name] = make().encode()
    return Response(made[name], headers=HEADERS, media_type=media_type)


def encoded(document: dict[str, Any]) -> str:
    """As it is served and checked in."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


# --- pages ---------------------------------------------------------------------------------------------


def reference_page(document: dict[str, Any]) -> str:
    """The page of all operations."""
    schemas = document["components"]["schemas"]
    groups: dict[str, tuple[str, list[dict[str, Any]]]] = {
        tag["name"]: (tag.get("description", ""), []) for tag in document["tags"]
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            groups[operation["tags"][0]][1].append(_shown(method, path, operation, schemas))
    events = [_event(type, item["post"], schemas) for type, item in document["webhooks"].items()]
    return _pages().get_template("docs.html").render(info=document["info"], groups=groups, events=events)


def errors_page() -> str:
    """The page of all codes."""
    classes = sorted(codes().values(), key=lambda error: (error.status, error.code))
    return _pages().get_template("docs_errors.html").render(errors=classes)


def _pages() -> Environment:
    pages = Environment(
        loader=PackageLoader("tldr_highlight.api", "pages"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"prose": prose, "words": words}  # pyright: ignore[reportUnknownMemberType]
    return pages


def words(text: str) -> Markup:
    """A sentence of a docstring: `code`, **strong**. Everything else is escaped."""
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", html))  # noqa: S704 - escaped above


def prose(text: str) -> Markup:
    """Paragraphs of such sentences."""
    paragraphs = [" ".join(p.split()) for p in re.split(r"\n\s*\n", text.strip()) if p.strip()]
    return Markup("").join(Markup("<p>{}</p>").format(words(p)) for p in paragraphs)


def _shown(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """What the page says of an operation."""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": Markup(re.sub(r"(\{\w+\})", r"<em>\1</em>", str(escape(path)))),  # noqa: S704 - escaped
        "summary": operation["summary"],
        "text": operation.get("description", ""),
        "who": _who(operation),
        "parameters": [_parameter(p) for p in operation.get("parameters", [])],
        "fields": _fields(body["schema"], schemas) if body else [],
        "body": _json(body["example"]) if body else None,
        "answers": [_answer(s, r) for s, r in operation["responses"].items() if s < "400"],
        "problems": [_codes(s, r) for s, r in operation["responses"].items() if s >= "400"],
    }


def _event(type: str, operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """What the page says of a type of event."""
    body = operation["requestBody"]["content"]["application/json"]
    return {
        "id": operation["operationId"],
        "type": type,
        "text": operation["description"],
        "fields": _fields(body["schema"]["properties"]["data"], schemas),
        "example": _json(body["example"]),
    }


def _who(operation: dict[str, Any]) -> str:
    if not operation["security"]:
        return "anybody"
    if operation.get("x-operator"):
        return "an operator's login"
    if role := operation.get("x-role"):
        return f"a login with role `{role}` or higher"
    if scope := operation.get("x-scope"):
        return f"a key or login with scope `{scope}`"
    return "a login" if {"key": []} not in operation["security"] else "any key or login"


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in parameter:
        return {
            "name": "Idempotency-Key", "where": "header", "kind": "text", "needed": False,
            "text": "Made up by you, for example a UUID: the call can be sent again with it.",
        }  # fmt: skip
    schema = parameter["schema"]
    return {
        "name": parameter["name"], "where": parameter["in"], "kind": _kind(schema),
        "needed": parameter.get("required", False),
        "text": parameter.get("description", schema.get("description", "")),
    }  # fmt: skip


def _fields(schema: dict[str, Any], schemas: dict[str, Any], before: str = "") -> list[dict[str, Any]]:
    """Fields of an object, those of objects in it below theirs."""
    schema = _resolved(schema, schemas)
    needed = schema.get("required", [])
    found: list[dict[str, Any]] = []
    for name, field in schema.get("properties", {}).items():
        text = field.get("description", "") if "$ref" not in field else ""
        found.append({"name": before + name, "kind": _kind(field), "needed": name in needed, "text": text})
        inner = next((each for each in field.get("anyOf", [field]) if "$ref" in each), None)
        if inner is not None:
            found += _fields(inner, schemas, f"{before}{name}.")
    return found


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _kind(schema: dict[str, Any]) -> str:
    """A type in a few words."""
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"] if each != {"type": "null"})
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "enum" in schema or "const" in schema:
        return " | ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    said = str(schema.get("format") or schema.get("type", "any"))
    kind = {"string": "text", "date-time": "time"}.get(said, said)
    if kind == "array":
        kind = f"list of {_kind(schema.get('items', {}))}"
    limits = _limits(schema)
    return f"{kind}, {limits}" if limits else kind


def _limits(schema: dict[str, Any]) -> str:
    for low, high in (("minLength", "maxLength"), ("minItems", "maxItems"), ("minimum", "maximum")):
        if high in schema:
            return f"{schema[low]}–{schema[high]}" if low in schema else f"at most {schema[high]}"
    return ""


def _answer(status: str, response: dict[str, Any]) -> dict[str, Any]:
    content = response.get("content", {}).get("application/json")
    return {
        "status": status,
        "text": response["description"],
        "example": _json(content["example"]) if content else None,
    }


def _codes(status: str, response: dict[str, Any]) -> dict[str, Any]:
    problem = response.get("content", {}).get("application/problem+json", {})
    return {"status": status, "codes": list(problem.get("examples", {})), "text": response["description"]}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
