"""Every operation of the OpenAPI document, and a request for it that is as good as its examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.api.world import World


@dataclass(frozen=True)
class Operation:
    """One operation."""

    id: str
    method: str
    path: str
    about: dict[str, Any]

    @property
    def ids(self) -> list[str]:
        """The ids in its path."""
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def takes_keys(self) -> bool:
        return {"key": []} in self.about["security"]

    @property
    def public(self) -> bool:
        return not self.about["security"]

    @property
    def goes_on(self) -> bool:
        """Whether its answer has no end of its own, unless it is asked for one."""
        return "text/event-stream" in self.about["responses"].get("200", {}).get("content", {})

    @property
    def streamed(self) -> str | None:
        """The type of its body, where that is a file."""
        content = self.about.get("requestBody", {}).get("content", {})
        return next((kind for kind in content if kind.endswith("octet-stream")), None)

    def call(self, world: World, headers: dict[str, str], **ids: str) -> httpx2.Response:
        """Call it with its own example as the body."""
        content = self.about.get("requestBody", {}).get("content", {}).get("application/json", {})
        query = {
            p["name"]: p["example"]
            for p in self.about.get("parameters", [])
            if p.get("in") == "query" and p.get("required")
        }
        if self.goes_on:
            query["follow"] = "false"
        headers = headers | {
            p["name"]: str(p["example"])
            for p in self.about.get("parameters", [])
            if p.get("in") == "header" and p.get("required")
        }
        path = self.path.format(**{name: ids.get(name, "key_unknown") for name in self.ids})
        body: dict[str, Any] = {"json": content["example"]} if content else {}
        if self.streamed:
            body, headers = {"content": b"the file"}, headers | {"Content-Type": self.streamed}
        return world.client.request(self.method, path, headers=headers, params=query, **body)


def operations(world: World) -> Iterator[Operation]:
    """All of them, health aside, and the compatible clip calls: `clips/test_compat.py` and beside it."""
    for path, item in world.document["paths"].items():
        for method, about in item.items():
            if not path.startswith("/health") and about["tags"] != ["compatible clip calls"]:
                yield Operation(about["operationId"], method.upper(), path, about)
