"""The pages that links in mails lead to: opening one changes nothing, its button does what it says."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import uvicorn
from sqlalchemy import select

from tests.accounts.office import PASSWORD, Office, plain_text, token_in
from tests.peers import need
from tldr_highlight.accounts.pages import PAGES
from tldr_highlight.api.app import create_app
from tldr_highlight.tenancy.models import ApiKey, MailedToken, Member, Organization, User

PATHS = [page.path for page in PAGES]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_can_be_opened_by_anybody_and_changes_nothing(quick: Office, path: str) -> None:
    quick.register()
    token = token_in(quick.mails()[-1])
    for address in (path, f"{path}?token={token}"):
        answer = quick.client.get(address)
        assert answer.status_code == 200
        assert token not in answer.text
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
    [row] = quick.rows(select(MailedToken))
    assert row.used_at is None
    assert quick.client.post(path).status_code == 405


def test_pages_call_operations_that_exist(quick: Office) -> None:
    document = create_app(quick.runtime).openapi()
    paths, schemas = document["paths"], document["components"]["schemas"]
    for page in PAGES:
        body = paths[f"/{page.operation}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        schema = schemas[body["$ref"].rpartition("/")[2]]
        sent = {field.name for field in page.fields} | ({"token"} if page.takes_token else set())
        assert sent <= schema["properties"].keys()
        assert set(schema["required"]) <= sent
        assert page.path not in paths


def test_links_lead_to_pages(quick: Office) -> None:
    who = quick.confirmed()
    quick.call("POST", "/auth/forgot-password", {"email": "ann@example.com"})
    quick.call("POST", "/organization/invitations", {"email": "bea@example.org"}, who=who)
    body = {"email": "new@example.org", "password": PASSWORD}
    quick.call("POST", "/auth/change-email", body, who=who)
    quick.register("cid@example.org")
    links = {
        m
        for mail in quick.mails()
        for m in re.findall(r"http://127\.0\.0\.1:8000(/[\w-]+)#", plain_text(mail))
    }
    assert links == set(PATHS) - {"/forgot-password"}


# --- in a browser --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    program = need("chromium")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def served(quick: Office) -> Iterator[Office]:
    """The same installation at an address of its own, where links lead."""
    config = uvicorn.Config(quick.client.app, port=0, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    quick.runtime.listens_at = f"http://127.0.0.1:{socket.getsockname()[1]}"
    thread = Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    yield quick
    server.should_exit = True
    thread.join()
    socket.close()


@pytest.fixture
def page(chrome: Any) -> Iterator[Any]:
    made = chrome.new_page(viewport={"width": 900, "height": 760})
    made.complaints = []
    made.asked = []
    made.on("console", lambda m: made.complaints.append(m.text) if m.type == "error" else None)
    made.on("pageerror", lambda e: made.complaints.append(str(e)))
    made.on("request", lambda r: made.asked.append(r.url))
    yield made
    made.close()


def link_in(mail: Any) -> str:
    found = re.search(r"http://\S+#token=\S+", plain_text(mail))
    assert found
    return found[0]


def test_an_address_is_confirmed_with_a_click(served: Office, page: Any, tmp_path: Path) -> None:
    served.register()
    page.goto(link_in(served.mails()[-1]))
    [user] = served.rows(select(User))
    assert user.email_verified_at is None
    page.get_by_role("button", name="Confirm address").click()
    page.get_by_text("your address is confirmed").wait_for()
    [user] = served.rows(select(User))
    assert user.email_verified_at is not None
    assert page.url == f"{served.runtime.url}/verify-email"  # the token is gone from the history
    assert page.complaints == []
    assert all("token" not in url for url in page.asked)


def test_a_password_is_reset_from_the_first_page_to_the_last(served: Office, page: Any) -> None:
    served.confirmed()
    page.goto(f"{served.runtime.url}/forgot-password")
    page.get_by_label("E-mail address").fill("ann@example.com")
    page.keyboard.press("Enter")
    page.get_by_text("a mail is on its way").wait_for()
    page.goto(link_in(served.mails()[-1]))
    page.get_by_label("New password").fill("password1")
    page.get_by_role("button").click()
    page.get_by_text("among the most common").wait_for()
    page.get_by_label("New password").fill("nine dry badgers whistle")
    page.get_by_role("button").click()
    page.get_by_text("log in with the new password").wait_for()
    [user] = served.rows(select(User))
    assert served.runtime.passwords.verify(user.password_hash, "nine dry badgers whistle")


def test_an_invitation_is_accepted_without_a_name(served: Office, page: Any) -> None:
    who = served.confirmed()
    served.call("POST", "/organization/invitations", {"email": "bea@example.org"}, who=who)
    page.goto(link_in(served.mails()[-1]))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Join").click()
    page.get_by_text("you are a member now").wait_for()
    assert len(served.rows(select(Member))) == 2
    assert page.complaints == []


def test_a_page_without_its_token_says_so(served: Office, page: Any) -> None:
    page.goto(f"{served.runtime.url}/verify-email")
    page.get_by_text("Open this page by the link in the mail").wait_for()
    assert not page.get_by_role("button").is_visible()


ATTACK = """async server => {
    const named = '{"name": "eve"}'
    const at = path => server + "/api/v1" + path
    const tries = [
        ["/auth/logout", {method: "POST", mode: "no-cors"}],
        ["/auth/logout-everywhere", {method: "POST", mode: "no-cors", body: "{}"}],
        ["/auth/session", {method: "DELETE"}],
        ["/organization", {method: "PATCH", headers: {"Content-Type": "application/json"}, body: named}],
        ["/keys", {method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}, body: named}],
        ["/me", {}],
    ]
    const read = []
    for (const [path, how] of tries) {
        try {
            const answer = await fetch(at(path), {credentials: "include", ...how})
            read.push(answer.type == "opaque" ? "opaque" : await answer.text())
        } catch (error) { read.push("refused") }
    }
    return read
}"""

FORM = """server => {
    const action = server + "/api/v1/auth/logout"
    document.body.innerHTML = `<form method=post action="${action}"><button>win</button></form>`
}"""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_pages_of_other_sites_neither_read_nor_change(served: Office, chrome: Any, host: str) -> None:
    """`localhost` is another site than `127.0.0.1`; the same host with another port is the same site, whose
    requests do carry the cookie."""
    served.confirmed()
    handler = functools.partial(SimpleHTTPRequestHandler, directory="/nonexistent")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as theirs, chrome.new_context() as browser:
        Thread(target=theirs.serve_forever, daemon=True).start()
        ours, evil = browser.new_page(), browser.new_page()
        ours.goto(f"{served.runtime.url}/forgot-password")  # it may call us
        login = {"email": "ann@example.com", "password": PASSWORD}
        assert ours.evaluate(LOG_IN, login) == 200
        evil.goto(f"http://{host}:{theirs.server_port}/")
        assert evil.evaluate(ATTACK, served.runtime.url) == ["refused"] * 6
        evil.evaluate(FORM, served.runtime.url)
        evil.get_by_role("button").click()
        evil.wait_for_url("**/logout")
        assert ours.evaluate("fetch('/api/v1/me').then(a => a.status)") == 200, "the login went on"
        assert ours.evaluate("fetch('/api/v1/auth/logout', {method: 'POST'}).then(a => a.status)") == 204
        theirs.shutdown()
    [organization] = served.rows(select(Organization))
    assert "eve" not in {organization.name, *(key.name for key in served.rows(select(ApiKey)))}


LOG_IN = """login => fetch("/api/v1/auth/session", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(login),
}).then(answer => answer.status)"""
