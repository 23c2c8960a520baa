"""D3: secrets are in no log, error, metric, audit record, table, file or command line, wherever they go.

A real `serve` with its worker, as talkative as it can be made, and every operation of its OpenAPI document.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.test_scopes import ENDS_LOGINS
from tests.core.servers import AUTHORITY
from tests.program import Program
from tests.smtp import Smtp
from tests.walks.command import here
from tests.walks.test_serve import ADDRESS

Start = Callable[..., Program]

LOUD = """
import logging
from tldr_highlight.core import telemetry
quiet = telemetry.set_up_logs
def loud():
    quiet(level=logging.DEBUG)
    logging.getLogger("loud").debug("as talkative as can be")
telemetry.set_up_logs = loud
"""
"""Run by every Python of the server before anything else: there is no setting for it."""

NOBODYS = {
    "password": f"canary-password-{secrets.token_hex(8)}",
    "api_key": "tldr_live_" + secrets.token_hex(18),
    "refresh_token": "tldr_refresh_" + secrets.token_urlsafe(32),
    "access_token": "eyJhbGciOiJIUzI1NiJ9." + secrets.token_hex(20) + "." + secrets.token_hex(20),
    "cookie": "tldr_web_" + secrets.token_urlsafe(32),
    "token": secrets.token_urlsafe(32),
    "webhook_secret": "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode(),
}
"""What opens nothing here, and may be somebody's elsewhere."""


def new_password(of: str) -> str:
    return f"canary {of} {secrets.token_hex(8)}"


class Visitor:
    """Somebody who calls a server, and knows every secret that was ever sent or shown."""

    def __init__(self, url: str, smtp: Smtp) -> None:
        self.http = httpx2.Client(base_url=url, timeout=30)
        self.smtp = smtp
        self.secrets = dict(NOBODYS)

    def call(self, method: str, path: str, body: Any = None, **how: Any) -> httpx2.Response:
        """An answer, which tells a secret only where it is made: there it is remembered."""
        answer = self.http.request(method, path, json=body, **how)
        self.http.cookies.clear()
        same = "access token" if path.endswith("/auth/refresh") else None  # within a second it is the same
        known = {name: secret for name, secret in self.secrets.items() if not (same and same in name)}
        told = [name for name, secret in known.items() if secret in answer.text]
        assert told == [], (method, path, answer.status_code, told)
        return answer

    def made(self, path: str, body: Any = None, **how: Any) -> dict[str, Any]:
        answer = self.call("POST", f"/api/v1{path}", body, **how)
        assert answer.status_code < 300, (path, answer.text)
        return answer.json() if answer.content else {}

    def keep(self, name: str, secret: str) -> str:
        self.secrets[name] = secret
        return secret

    def mailed(self, name: str, count: int) -> str:
        """The token in the mail that came as number `count`."""
        body = self.smtp.received(count)[-1].message.get_body(("plain",))
        assert body
        found = re.search(r"#token=([\w-]+)", body.get_content())
        assert found, body.get_content()
        return self.keep(name, found[1])

    def log_in(self, name: str, email: str, password: str) -> dict[str, str]:
        tokens = self.made("/auth/login", {"email": email, "password": password})
        self.keep(f"{name}'s refresh token", tokens["refresh_token"])
        access = self.keep(f"{name}'s access token", tokens["access_token"])
        return {"Authorization": f"Bearer {access}"}


def live(who: Visitor) -> dict[str, str]:
    """All that people do with accounts; the headers of who did it."""
    first = who.keep("password", new_password("first"))
    hook = {"url": "https://example.com/hook"}
    ann = {"email": "ann@example.com", "password": first, "company_name": "Nordlicht", "webhook": hook}
    made = who.made("/auth/register", ann)
    who.keep("key", made["api_key"]["key"])
    who.keep("webhook's secret", made["webhook"]["secret"])
    who.made("/auth/verify-email", {"token": who.mailed("verification", 1)})
    login = who.log_in("ann", "ann@example.com", first)
    spent = who.secrets["ann's refresh token"]
    again = who.made("/auth/refresh", {"refresh_token": spent})
    who.keep("next refresh token", again["refresh_token"])
    who.keep("next access token", again["access_token"])
    assert who.call("POST", "/api/v1/auth/refresh", {"refresh_token": spent}).status_code == 401
    login = who.log_in("ann again", "ann@example.com", first)
    page = {"Sec-Fetch-Site": "same-origin"}
    answer = who.call(
        "POST", "/api/v1/auth/session", {"email": ann["email"], "password": first}, headers=page
    )
    cookie = who.keep("cookie", answer.headers["set-cookie"].partition("=")[2].partition(";")[0])
    me = who.call("GET", "/api/v1/me", headers={"Cookie": f"tldr_session={cookie}"})
    assert me.status_code == 200
    key = who.made("/keys", {"name": "second"}, headers={**login, "Idempotency-Key": "once"})
    who.keep("second key", key["key"])
    who.keep("rotated key", who.made(f"/keys/{key['id']}/rotate", {}, headers=login)["key"])
    who.made("/organization/invitations", {"email": "bob@example.com", "role": "admin"}, headers=login)
    invited = {"token": who.mailed("invitation", 2), "password": who.keep("bob's", new_password("bob"))}
    who.made("/auth/accept-invitation", invited)
    who.made("/auth/forgot-password", {"email": "bob@example.com"})
    bobs = {"token": who.mailed("reset", 3), "password": who.keep("bob's next", new_password("bobs"))}
    who.made("/auth/reset-password", bobs)
    who.smtp.received(4)
    change = {"current_password": first, "password": who.keep("second password", new_password("second"))}
    who.made("/auth/change-password", change, headers=login)
    who.smtp.received(5)
    login = who.log_in("ann once more", "ann@example.com", change["password"])
    address = {"email": "ann@example.org", "password": change["password"]}
    who.made("/auth/change-email", address, headers=login)
    who.made("/auth/confirm-email", {"token": who.mailed("confirmation", 6)})
    who.smtp.received(7)
    wrong = who.keep("wrong password", new_password("wrong"))
    login_body = {"email": "ann@example.org", "password": wrong}
    assert who.call("POST", "/api/v1/auth/login", login_body).status_code == 401
    change = {"current_password": wrong, "password": change["password"]}
    assert who.call("POST", "/api/v1/auth/change-password", change, headers=login).status_code >= 400
    return login


def lose(who: Visitor, document: dict[str, Any], login: dict[str, str]) -> None:
    """Send secrets to every operation, in every place where they do not belong."""
    known = dict(who.secrets)
    every = [(path, *each) for path, item in document["paths"].items() for each in item.items()]
    for path, method, about in every:
        filled = re.sub(r"\{\w+\}", known["key"], path)
        kinds = about.get("requestBody", {}).get("content", {})
        if kinds and "application/json" not in kinds:
            continue  # a file, which is kept as it is sent
        content = kinds.get("application/json", {})
        for body in ({**content.get("example", {}), **known}, {"email": known, "token": [known["key"]]}):
            headers = {} if about["operationId"] in ENDS_LOGINS else login
            params = {**known, "follow": "false"}  # of answers that would go on for ever
            who.call(method.upper(), filled, body, params=params, headers=headers)
        who.call(method.upper(), filled, {"name": known["key"]}, headers=misplaced(known))
    for secret in known.values():
        who.call("GET", f"/api/v1/{secret}")
        who.call("DELETE", f"/api/v1/auth/sessions/{secret}", headers=login)
        for scheme in ("Bearer", "Basic", "Digest"):
            who.call("GET", "/api/v1/me", headers={"Authorization": f"{scheme} x{secret}"})
        who.call("POST", "/api/v1/auth/refresh", {"refresh_token": f"{secret}x"})
        who.call("POST", "/api/v1/auth/reset-password", {"token": f"{secret}x", "password": secret})
        who.http.post("/api/v1/keys", content=f'{{"name": {secret}', headers=login)


def misplaced(known: dict[str, str]) -> dict[str, str]:
    own = {f"X-{re.sub(r'[^a-z]+', '-', name)}": secret for name, secret in known.items()}
    lost = known["key"]
    return own | {"Referer": f"http://x/?key={lost}", "Cookie": f"tldr_session={lost}", "traceparent": lost}


def spelled(secret: str) -> set[str]:
    """As it is, as JSON and percent-encoding have it, and as SMTP sends it."""
    plain = base64.b64encode(f"\0me\0{secret}".encode()).decode()
    encoded = str(httpx2.QueryParams({"q": secret})).removeprefix("q=")
    return {secret, json.dumps(secret)[1:-1], encoded, plain, base64.b64encode(secret.encode()).decode()}


def found_in(text: str, known: dict[str, str]) -> list[str]:
    return [name for name, secret in known.items() for form in spelled(secret) if form in text]


def files_in(folder: Path) -> dict[str, str]:
    return {p.name: p.read_bytes().decode("latin-1") for p in folder.rglob("*") if p.is_file()}


def test_secrets_are_nowhere_to_be_read(program: Start, tmp_path: Path) -> None:
    (tmp_path / "loud").mkdir()
    (tmp_path / "loud" / "sitecustomize.py").write_text(LOUD)
    data, mail_password = tmp_path / "data", f"canary{secrets.token_hex(8)}"
    with Smtp("starttls", login=("me", mail_password)) as smtp:
        env = {
            "PYTHONPATH": os.pathsep.join([str(tmp_path / "loud"), os.environ.get("PYTHONPATH", "")]),
            "TLDR_SMTP_URL": f"smtp+starttls://me:{mail_password}@{smtp.host}:{smtp.port}",
            "TLDR_CA_FILE": str(AUTHORITY),
            "TLDR_PUBLIC_REQUESTS_PER_MINUTE": "100000",
        }
        server = program("serve", "--port", "0", "--data", data, env=env)
        who = Visitor(server.says(ADDRESS.pattern)[1], smtp)
        who.keep("mail server's password", mail_password)
        with closing(who.http):
            login = live(who)
            log_of_writes = files_in(data)  # SQLite's own has what stood there for a moment, too
            lose(who, who.http.get("/api/v1/openapi.json").json(), login)
            seen = {
                "metrics": who.http.get("/metrics").text,
                "audit": who.call("GET", "/api/v1/organization/audit", headers=login).text,
                "command lines": "\n".join(" ".join(each.cmdline()) for each in server.family()),
            }
        assert len(server.family()) > 1  # with its worker
        assert server.terminate() == 0
    assert server.output.count("as talkative as can be") == 2  # the server, and its worker
    assert "user.password_changed" in seen["audit"]
    seen["log"] = server.output
    with closing(sqlite3.connect(data / "tldr.db")) as db:
        seen["database"] = "\n".join(db.iterdump())
    assert seen["database"].count("INSERT INTO") > 50
    seen |= files_in(data) | {f"{name}, earlier": text for name, text in log_of_writes.items()}
    assert "tldr.db-wal, earlier" in seen
    assert {place: names for place in seen if (names := found_in(seen[place], who.secrets))} == {}


CANARY = "c4n4ry" + secrets.token_hex(6)

NOBODY_THERE = f"postgresql://tldr:{CANARY}@127.0.0.1:1/tldr"

UNUSABLE = {
    "no port": f"postgresql://tldr:{CANARY}@127.0.0.1:x/tldr",
    "no address": f"postgresql//tldr:{CANARY}@127.0.0.1/tldr",
    "a slash in it": f"postgresql://tldr:{CANARY}/x@127.0.0.1/tldr",
    "no such database": f"oracle://tldr:{CANARY}@127.0.0.1/tldr",
}


def test_the_databases_password_is_not_told(program: Start, tmp_path: Path) -> None:
    server = program(
        "serve", "--port", "0", "--data", tmp_path / "d", env={"TLDR_DATABASE_URL": NOBODY_THERE}
    )
    assert server.wait() != 0
    assert server.output
    assert CANARY not in server.output


@pytest.mark.parametrize("how", UNUSABLE)
def test_nor_is_that_of_one_that_cannot_be(tmp_path: Path, how: str) -> None:
    (tmp_path / ".env").write_text(f"TLDR_DATABASE_URL={UNUSABLE[how]}\n")
    done = here("serve", "--port", "0", "--data", "d", cwd=tmp_path)
    assert done.code == 2
    assert done.err
    assert CANARY not in done.out + done.err
