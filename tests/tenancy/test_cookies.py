"""Logins of pages: the cookie, and what other sites cannot do with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from tests.services import Backend
from tests.tenancy.house import HOME, PASSWORD, WRONG, House, house
from tldr_highlight.tenancy.models import LoginSession

LOGIN = {"email": "ann@example.com", "password": PASSWORD}
SESSION = "/api/v1/auth/session"
OWN = {"Sec-Fetch-Site": "same-origin"}


def page(api: House, url: str = "http://127.0.0.1:8000") -> TestClient:
    """A browser at an address of ours."""
    return api.at(HOME, base_url=url)


def logged_in(api: House, url: str = "http://127.0.0.1:8000") -> TestClient:
    browser = page(api, url)
    answer = browser.post(SESSION, json=LOGIN, headers=OWN)
    assert answer.status_code == 200, answer.text
    return browser


def test_a_page_logs_in_and_out(api: House) -> None:
    user, organization = api.ann()
    browser = page(api)
    answer = browser.post(SESSION, json=LOGIN, headers=OWN)
    assert answer.json()["user"]["id"] == user.id
    assert answer.json()["organization"]["id"] == organization.id
    assert "token" not in answer.text
    cookie = answer.headers["set-cookie"]
    secret = browser.cookies["tldr_session"]
    assert cookie == f"tldr_session={secret}; HttpOnly; Max-Age=604800; Path=/; SameSite=lax"
    assert browser.get("/api/v1/me").json()["user"]["id"] == user.id
    with api.runtime.db.read() as session:
        stored = session.query(LoginSession).one()
    assert stored.kind == "cookie"
    assert secret not in str(vars(stored))
    assert browser.delete(SESSION, headers=OWN).status_code == 204
    assert "tldr_session" not in browser.cookies
    browser.cookies.set("tldr_session", secret)
    assert browser.get("/api/v1/me").status_code == 401


def test_the_secret_is_good_as_a_cookie_only(api: House) -> None:
    api.ann()
    browser = logged_in(api)
    secret = browser.cookies["tldr_session"]
    assert browser.get("/api/v1/me").status_code == 200
    for headers in ({"X-API-Key": secret}, {"Authorization": f"Bearer {secret}"}):
        assert api.client.get("/api/v1/me", headers=headers).status_code == 401
    answer = api.client.post("/api/v1/auth/refresh", json={"refresh_token": secret})
    assert answer.status_code == 401
    token = api.log_in()["refresh_token"]
    assert api.client.get("/api/v1/me", headers={"Cookie": f"tldr_session={token}"}).status_code == 401


def test_a_wrong_password_sets_no_cookie(api: House) -> None:
    api.ann()
    answer = page(api).post(SESSION, json={**LOGIN, "password": WRONG}, headers=OWN)
    assert answer.json()["code"] == "login_failed"
    assert "set-cookie" not in answer.headers


def test_over_https_the_cookie_belongs_to_this_host_alone(backend: Backend, tmp_path: Path) -> None:
    with house(backend, tmp_path, public_url="https://h.example.com") as api:
        api.ann()
        # a proxy ends TLS before us: what reaches us is http
        browser = page(api, "http://h.example.com")
        cookie = browser.post(SESSION, json=LOGIN, headers=OWN).headers["set-cookie"]
        assert cookie.startswith("__Host-tldr_session=")
        assert cookie.endswith("; HttpOnly; Max-Age=604800; Path=/; SameSite=lax; Secure")
        secret = cookie.split("=", 1)[1].split(";")[0]
        with_name = {n: {"Cookie": f"{n}={secret}"} for n in ("__Host-tldr_session", "tldr_session")}
        assert api.client.get("/api/v1/me", headers=with_name["__Host-tldr_session"]).status_code == 200
        # the other name is what a neighbour at b.example.com could set
        assert api.client.get("/api/v1/me", headers=with_name["tldr_session"]).status_code == 401


def test_plain_http_is_for_this_machine_alone(api: House) -> None:
    api.ann()
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert page(api, f"http://{host}:8000").post(SESSION, json=LOGIN, headers=OWN).status_code == 200
    for host in ("192.168.1.5", "h.example.com", "localhost.example.com"):
        answer = page(api, f"http://{host}:8000").post(SESSION, json=LOGIN, headers=OWN)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "set-cookie" not in answer.headers
    assert [action for _, action in api.audit()] == ["login.started"] * 3


FOREIGN: dict[str, tuple[dict[str, str], bool]] = {
    "own page": ({"Sec-Fetch-Site": "same-origin"}, True),
    "typed by the person": ({"Sec-Fetch-Site": "none"}, True),
    "another port, or a subdomain": ({"Sec-Fetch-Site": "same-site"}, False),
    "another site": ({"Sec-Fetch-Site": "cross-site"}, False),
    "rubbish": ({"Sec-Fetch-Site": "same-origin, cross-site"}, False),
    "empty": ({"Sec-Fetch-Site": ""}, False),
    "another site with our origin": (
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8000"},
        False,
    ),
    "old browser, own page": ({"Origin": "http://127.0.0.1:8000"}, True),
    "old browser, other port": ({"Origin": "http://127.0.0.1:3000"}, False),
    "old browser, other scheme": ({"Origin": "https://127.0.0.1:8000"}, False),
    "old browser, other name": ({"Origin": "http://localhost:8000"}, False),
    "old browser, suffix": ({"Origin": "http://127.0.0.1:8000.example.com"}, False),
    "old browser, sandboxed": ({"Origin": "null"}, False),
    "nobody says": ({}, False),
    "own page, JSON": ({**OWN, "Content-Type": "application/json"}, True),
    "own page, form": ({**OWN, "Content-Type": "application/x-www-form-urlencoded"}, False),
    "own page, file form": ({**OWN, "Content-Type": "Multipart/Form-Data; boundary=x"}, False),
    "own page, text": ({**OWN, "Content-Type": "text/plain;charset=UTF-8"}, False),
}


def test_other_sites_change_nothing(api: House) -> None:
    api.ann()
    changes = (
        ("POST", "/api/v1/auth/logout"),
        ("DELETE", SESSION),
        ("PATCH", "/api/v1/keys/key_0"),
        ("POST", "/api/v1/keys"),
    )
    browser = logged_in(api)
    for name, (headers, ours) in FOREIGN.items():
        tried = changes[2:] if ours else changes
        seen = [browser.request(method, path, headers=headers) for method, path in tried]
        refused = {answer.status_code == 403 and answer.json()["code"] == "cross_site" for answer in seen}
        assert refused == {not ours}, (name, [answer.text for answer in seen])
        assert browser.get("/api/v1/me", headers=headers).status_code == 200  # whose answer they cannot see


def test_other_sites_log_nobody_in(api: House) -> None:
    """Else a page could make people act in an account of its owner."""
    api.ann()
    for headers, ours in FOREIGN.values():
        if "Content-Type" in headers:
            continue
        answer = page(api).post(SESSION, json=LOGIN, headers=headers)
        assert answer.status_code == (200 if ours else 403)
        assert ("set-cookie" in answer.headers) is ours


def test_a_header_needs_no_browser(api: House) -> None:
    """Keys and tokens are not sent by browsers by themselves."""
    _, headers = api.key(api.organization())
    foreign = {**headers, "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    answer = api.client.post("/api/v1/keys", headers=foreign, json={"name": "x"})
    assert answer.status_code == 201


def test_public_url_is_an_own_origin(backend: Backend, tmp_path: Path) -> None:
    with house(backend, tmp_path, public_url="https://h.example.com/") as api:
        api.ann()
        browser: Any = page(api, "http://10.0.0.1:8000")
        answer = browser.post(SESSION, json=LOGIN, headers={"Origin": "https://h.example.com"})
        assert answer.status_code == 200
        answer = browser.post(SESSION, json=LOGIN, headers={"Origin": "https://other.example.com"})
        assert answer.status_code == 403
