"""Pages that links in mails lead to. Opening one changes nothing: programs that scan mails open every link.

The token stands behind the # of the address, which browsers keep to themselves; a button sends it to the API.
One page, one script, one style sheet, inline, and a Content-Security-Policy that names them by their hashes.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tldr_highlight.runtime import Runtime

HERE = Path(__file__).parent / "page"


@dataclass(frozen=True, slots=True)
class Field:
    """Something to type."""

    name: str  # as the operation calls it
    label: str
    type: str
    autocomplete: str
    hint: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Page:
    """One page: what it says, and the operation that its button calls."""

    path: str
    title: str
    lead: str
    button: str
    operation: str  # relative, so that it holds behind a prefix, too
    done: str
    fields: tuple[Field, ...] = ()
    takes_token: bool = True

    @property
    def example(self) -> str:
        """A body for the operation."""
        names = (["token"] if self.takes_token else []) + [
            field.name for field in self.fields if field.required
        ]
        return json.dumps(dict.fromkeys(names, "…"), ensure_ascii=False)


ADVICE = "8 characters at least, better 15: a few words that do not belong together."
NEW_PASSWORD = Field("password", "New password", "password", "new-password", ADVICE)

PAGES = (
    Page(
        "/verify-email",
        "Confirm your e-mail address",
        "One click, and we know that this address is yours.",
        "Confirm address",
        "api/v1/auth/verify-email",
        "Thank you: your address is confirmed.",
    ),
    Page(
        "/confirm-email",
        "Use your new e-mail address",
        "From then on you log in with it, and mails go there. The old address is told.",
        "Use this address",
        "api/v1/auth/confirm-email",
        "Done: this is your address now.",
    ),
    Page(
        "/forgot-password",
        "Forgot your password?",
        "Say who you are, and a link to choose a new one comes by mail.",
        "Send the link",
        "api/v1/auth/forgot-password",
        "If this address has an account, a mail is on its way to it. The link in it works for an hour.",
        (Field("email", "E-mail address", "email", "username"),),
        takes_token=False,
    ),
    Page(
        "/reset-password",
        "Choose a new password",
        "All logins of your account end. API keys go on working, unless this address was never confirmed.",
        "Set the password",
        "api/v1/auth/reset-password",
        "Done: log in with the new password.",
        (NEW_PASSWORD,),
    ),
    Page(
        "/accept-invitation",
        "Accept your invitation",
        "If you have an account with this address, enter its password. If not, choose one for a new account.",
        "Join",
        "api/v1/auth/accept-invitation",
        "Welcome: you are a member now. Log in with this address.",
        (
            Field("password", "Password", "password", "current-password", f"A new one: {ADVICE}"),
            Field("name", "Your name", "text", "name", "For a new account, if you like.", required=False),
        ),
    ),
)


@dataclass(frozen=True)
class Parts:
    """What every page is made of."""

    style: str
    script: str

    @property
    def policy(self) -> str:
        """The Content-Security-Policy: nothing but what is here, and calls to ourselves."""
        return (
            f"default-src 'none'; style-src '{_hash(self.style)}'; script-src '{_hash(self.script)}'; "
            "connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        )


@functools.cache
def parts() -> Parts:
    """Read once."""
    return Parts(*((HERE / name).read_text("utf-8") for name in ("page.css", "page.js")))


def rendered(page: Page, base: str) -> str:
    """The page in HTML; `base` is our address, for the example."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found = parts()
    # ours, word for word as the policy's hashes have it
    style, script = Markup(found.style), Markup(found.script)  # noqa: S704
    return environment.get_template("page.jinja").render(page=page, base=base, style=style, script=script)


def page_router() -> APIRouter:
    """Every page at its address."""
    router = APIRouter(include_in_schema=False)
    for page in PAGES:
        router.add_api_route(page.path, _endpoint(page), methods=["GET"], response_class=HTMLResponse)
    return router


def _endpoint(page: Page) -> Callable[[Request], Response]:
    def show(request: Request) -> Response:
        runtime: Runtime = request.app.state.runtime
        return HTMLResponse(
            rendered(page, runtime.url),
            headers={
                "Content-Security-Policy": parts().policy,
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
                "X-Frame-Options": "DENY",
                "Cache-Control": "no-store",
            },
        )

    return show


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
