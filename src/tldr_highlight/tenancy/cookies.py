"""The cookie of people's pages, and which requests with it are refused because another site made them.

Over https it is `__Host-tldr_session`: only this host, by https, can set or get it. Browsers refuse that name
over plain http, which is allowed on this machine alone: there it is `tldr_session`. Ports do not separate
cookies, so that another program on `localhost` could set that one.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request, Response

from tldr_highlight.core.clients import parsed
from tldr_highlight.errors import CrossSiteError, ForbiddenError
from tldr_highlight.settings import Settings

SECURE = "__Host-tldr_session"
PLAIN = "tldr_session"

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing; another site cannot read the answers."""

FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
"""What a form of another site can send without asking; we have no forms."""


def cookie_of(request: Request, settings: Settings) -> str | None:
    """The cookie's secret, if the request has one."""
    return request.cookies.get(SECURE if is_https(request, settings) else PLAIN) or None


def refuse_plain(request: Request, settings: Settings) -> None:
    """Give no cookie to where others could read it.

    Raises:
        ForbiddenError: it would go over plain http to another machine.
    """
    if not is_https(request, settings) and not is_this_machine(request.url.hostname):
        raise ForbiddenError("pages take https, but on the server itself: set TLDR_PUBLIC_URL to https://…")


def set_cookie(response: Response, request: Request, settings: Settings, secret: str, seconds: int) -> None:
    """Give the browser its cookie."""
    https = is_https(request, settings)
    name = SECURE if https else PLAIN
    response.set_cookie(name, secret, max_age=seconds, path="/", secure=https, httponly=True, samesite="lax")


def drop_cookie(response: Response, request: Request, settings: Settings) -> None:
    """Make the browser forget it."""
    https = is_https(request, settings)
    response.delete_cookie(SECURE if https else PLAIN, path="/", secure=https, httponly=True, samesite="lax")


def refuse_cross_site(request: Request, settings: Settings) -> None:
    """Let through what a page of our own sent, as the browser says.

    `Sec-Fetch-Site` where there is one, which all browsers since 2023 send; else `Origin`. Neither can be set
    by a page. Another port or subdomain is another origin.

    Raises:
        CrossSiteError: another site's page, a form, or nobody says.
    """
    if request.method in SAFE:
        return
    site = request.headers.get("sec-fetch-site")
    ours = site in {"same-origin", "none"} if site is not None else _is_own_origin(request, settings)
    if not ours:
        raise CrossSiteError("with a cookie, only this server's own pages may change things")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type in FORMS:
        raise CrossSiteError("with a cookie, send JSON: forms are what other sites could send")


def is_https(request: Request, settings: Settings) -> bool:
    """Whether people reach us by https: by what the operator says, else by what the connection is."""
    if settings.public_url is not None:
        return settings.public_url.startswith("https:")
    return request.url.scheme == "https"


def _is_own_origin(request: Request, settings: Settings) -> bool:
    origin = request.headers.get("origin")
    if origin is None:
        return False
    own = {f"{request.url.scheme}://{request.headers.get('host', '')}".lower()}
    if settings.public_url is not None:
        parts = urlsplit(settings.public_url)
        own.add(f"{parts.scheme}://{parts.netloc}".lower())
    return origin.lower() in own


def is_this_machine(host: str | None) -> bool:
    """Whether a name or address means the machine that it is used on."""
    address = parsed(host)
    return host == "localhost" or (address is not None and address.is_loopback)
