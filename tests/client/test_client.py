"""What the client calls is what the API has: address, method, fields, shapes. docs/client.md runs."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from tests.media.server import Server
from tests.program import Program
from tests.walks.films import film
from tldr_highlight.api.app import create_app
from tldr_highlight.client import Client
from tldr_highlight.client.calls import Calls
from tldr_highlight.client.pages import Page, Pages
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings

NOT_COVERED = {
    # pages log in with a cookie; programs have tokens
    "begin_cookie_session": "for pages",
    "end_cookie_session": "for pages",
    # another service's clients call these
    "create_clips": "compatible",
    "check_job": "compatible",
    "list_compatible_jobs": "compatible",
    "delete_compatible_job": "compatible",
    "get_clip_file": "compatible",
    "list_clips": "compatible",
    "clear_clips": "compatible",
    "delete_clip": "compatible",
    # their bodies are files: test_uploads.py
    "create_upload": "apart",
    "continue_upload": "apart",
    "describe_uploads": "apart",
    "list_uploads": "apart",
    "get_upload": "apart",
    "delete_upload": "apart",
    "follow_stream": "`wait` asks, which goes on where a server was away",
    "health_live": "for whoever runs the server",
    "health_ready": "for whoever runs the server",
    "suspend_organization": "for whoever runs the server",
    "activate_organization": "for whoever runs the server",
    "disable_user": "for whoever runs the server",
    "enable_user": "for whoever runs the server",
}
"""Operations that the client has no call for, and why. A new operation is covered or listed."""

GROUPS = (
    "auth",
    "batches",
    "clip_jobs",
    "dimension_sets",
    "events",
    "highlight_types",
    "highlights",
    "keys",
    "organization",
    "reels",
    "streams",
    "webhooks",
)

OTHER_NAMES = {"source_url": "url"}
"""Member of a body -> another that means the same, which the client does not use."""

KINDS: dict[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", datetime: "string", dict: "object",
}  # fmt: skip


@dataclass
class Sent:
    """A call that was made: what of, and what it expects."""

    method: str
    path: str
    body: Any
    query: dict[str, Any]
    creates: bool
    shape: type[Any] | None


class Recorder(Calls):
    """Writes calls down."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def do(self, method: str, path: str, body: object = None, **how: Any) -> Any:
        self._note(method, path, body, None, **how)

    def one(self, shape: type[Any], method: str, path: str, body: object = None, **how: Any) -> Any:
        self._note(method, path, body, shape, **how)
        return object.__new__(shape)

    def link(self, path: str, **query: Any) -> str:
        self._note("GET", path, None, None, query=query)
        return ""

    def save(self, path: str, file: Any, **query: Any) -> None:
        self._note("GET", path, None, None, query=query)

    def pages(self, shape: type[Any], path: str, limit: int | None, **filters: Any) -> Pages[Any]:
        self._note("GET", path, None, Page[shape], query={**filters, "limit": 1, "cursor": "x"})
        return Pages(lambda limit, cursor: Page([], None))

    def follow(self, shape: type[Any], path: str, **query: Any) -> Iterator[Any]:
        self._note("GET", path, None, None, query=query)
        return iter(())

    def _note(
        self,
        method: str,
        path: str,
        body: Any,
        shape: type[Any] | None,
        *,
        query: Any = None,
        creates: bool = False,
        raw: bool = False,
    ) -> None:
        self.sent.append(Sent(method, path, body, query or {}, creates, shape))


def argument(name: str, annotation: str) -> Any:
    if name == "clips":
        return [(1.0, 2.0), {"start": 3, "end": 4, "name": "x"}]
    if "datetime" in annotation:
        return datetime(2027, 1, 1, tzinfo=UTC)
    if "Sequence" in annotation:
        return ["x"]
    if "Mapping" in annotation:
        return {"x": "x"}
    return 1 if annotation.startswith("int") else f"{{{name}}}"


def calls() -> Iterator[tuple[str, Sent]]:
    """Every call of the client, made with every argument."""
    client = Client("http://127.0.0.1:1")
    recorder = Recorder()
    client._calls = recorder
    for name in GROUPS:
        getattr(client, name)._calls = recorder
    methods: list[tuple[str, Callable[..., Any]]] = [("me", client.me)]
    for group in GROUPS:
        found = inspect.getmembers(getattr(client, group), inspect.ismethod)
        methods += [(f"{group}.{name}", method) for name, method in found if not name.startswith("_")]
    for name, method in methods:
        parameters = inspect.signature(method).parameters.values()
        method(**{p.name: argument(p.name, str(p.annotation)) for p in parameters})
        yield name, recorder.sent.pop()
    client.close()


CALLS = dict(calls())


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The API's own description."""
    with opened(Settings(data_dir=tmp_path_factory.mktemp("data"))) as runtime:
        return create_app(runtime).openapi()


def operation(document: dict[str, Any], sent: Sent) -> dict[str, Any]:
    """The operation that answers a call."""
    wanted = re.sub(r"%7B.*?%7D", "{}", f"/api/v1{sent.path}")
    for path, item in document["paths"].items():
        if re.sub(r"{.*?}", "{}", path) == wanted and sent.method.lower() in item:
            return item[sent.method.lower()]
    raise AssertionError(f"the API has no {sent.method} {wanted}")


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema or parameter, references followed; of alternatives the one that is not null."""
    while True:
        if reference := schema.get("$ref"):
            _, _, section, name = reference.split("/")
            schema = document["components"][section][name]
        elif options := schema.get("anyOf"):
            schema = next(o for o in options if o.get("type") != "null")
        else:
            return schema


@pytest.mark.parametrize("name", CALLS)
def test_each_call_is_an_operation_and_sends_what_it_takes(document: dict[str, Any], name: str) -> None:
    sent = CALLS[name]
    found = operation(document, sent)
    listed = [resolved(document, p) for p in found.get("parameters", ())]
    parameters = {p["name"].lower(): p for p in listed}
    assert sent.creates == ("idempotency-key" in parameters)
    queries = {name for name, p in parameters.items() if p["in"] == "query"}
    assert sent.query.keys() == queries
    taken = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if taken is None:
        assert sent.body is None
    else:
        named = (sent.body or {}).keys()
        others = {OTHER_NAMES[name] for name in named & OTHER_NAMES.keys()}
        assert named | others == resolved(document, taken)["properties"].keys()


@pytest.mark.parametrize("name", CALLS)
def test_each_answer_has_the_shape_that_is_expected(document: dict[str, Any], name: str) -> None:
    sent = CALLS[name]
    answers = operation(document, sent)["responses"]
    good = next(a for status, a in answers.items() if status[0] in "23")
    if sent.shape is not None:
        schema = good["content"]["application/json"]["schema"]
        assert_promised(document, sent.shape, schema, name)


def assert_promised(document: dict[str, Any], shape: Any, schema: dict[str, Any], place: str) -> None:
    """What a shape needs is what the API always sends."""
    schema = resolved(document, schema)
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if origin is Page:
        assert_promised(document, arguments[0], schema["properties"]["data"]["items"], f"{place}[]")
    elif origin is list:
        assert schema["type"] == "array", place
        assert_promised(document, arguments[0], schema["items"], f"{place}[]")
    elif arguments and origin is not dict:  # this, or None
        assert_promised(document, arguments[0], schema, place)
    elif dataclasses.is_dataclass(shape):
        hints = typing.get_type_hints(shape)
        for field in dataclasses.fields(shape):
            inner = f"{place}.{field.name}"
            optional = field.default is not dataclasses.MISSING
            assert optional or field.name in schema["required"], inner
            if field.name in schema["properties"]:
                assert_promised(document, hints[field.name], schema["properties"][field.name], inner)
    else:
        expected = KINDS[origin or shape]
        assert schema["type"] == expected or (expected, schema["type"]) == ("number", "integer"), place
        assert (shape is datetime) == (schema.get("format") == "date-time"), place


def test_every_operation_is_covered_or_listed_as_not(document: dict[str, Any]) -> None:
    there = {o["operationId"] for item in document["paths"].values() for o in item.values()}
    covered = {operation(document, sent)["operationId"] for sent in CALLS.values()}
    assert there - covered == NOT_COVERED.keys()
    assert covered.isdisjoint(NOT_COVERED)


# --- the page ------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text("utf-8")
README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def examples(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_pages_examples_run(
    program: Callable[..., Program],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)  # the page saves files where it is
    match = film(tmp_path / "match.mp4").read_bytes()
    serve = program("serve", "--port", "0", env={"TLDR_ALLOW_NETWORKS": "127.0.0.0/8"})
    url = serve.says(r"address +(http://\S+)")[1]
    email, password = "ann@example.com", "four words of hers"
    with Client(url) as nobody:
        first = nobody.auth.register(email, password, "Nordlicht Sports").api_key
        nobody.auth.verify_email(token_in(serve, url))
    [example] = examples(README)
    with Server({"/match.mp4": match}) as media:
        example = example.replace("https://media.example.com/match.mp4", media.url("/match.mp4"))
        exec(example.replace("http://127.0.0.1:8000", url).replace("tldr_live_…", first.key), {})
    assert re.fullmatch(r"\w.* at 0:\d\d 0\.\d+ http\S+/clip\n", capsys.readouterr().out)
    with Client.login(url, email, password) as ann:
        ann.organization.change_plan("PROFESSIONAL")
        monkeypatch.setenv("TLDR_KEY", ann.keys.create("the page's").key)  # with all scopes
    names: dict[str, Any] = {}
    for example in examples(PAGE):
        exec(example.replace("https://highlights.example.com", url), names)
    names["client"].close()
    printed = capsys.readouterr().out
    assert "Nordlicht Sports PROFESSIONAL 300\n" in printed
    assert re.search(r"^tldr_live_\w{36}$", printed, re.MULTILINE)
    assert "validation_failed ['body', 'name']\n" in printed
    assert len(re.findall(r"^(nightly import|the page's) (active|revoked)", printed, re.MULTILINE)) >= 3


def token_in(serve: Program, url: str) -> str:
    """The token that was mailed."""
    found: list[str] = []

    def came() -> bool:
        files = (serve.cwd / "tldr-data" / "mail").glob("[!.]*.eml")
        mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
        bodies = [mail.get_body(("plain",)) for mail in mails]
        found.extend(t for body in bodies if body for t in re.findall(r"#token=([\w-]+)", body.get_content()))
        return bool(found)

    serve.until(came, "sent a mail")
    return found[0]


def test_the_page_lists_every_call() -> None:
    table = PAGE.partition("## All calls")[2]
    for name in CALLS:
        assert re.search(rf"[`.]{name.rpartition('.')[2]}(`|\(\)`)", table), name
    listed = re.findall(r"`(\w+)`", table)
    assert set(listed) <= {name.rpartition(".")[2] for name in CALLS}
