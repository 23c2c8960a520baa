"""Accounts and logins."""

from __future__ import annotations

from collections.abc import Sequence

from tldr_highlight.client.calls import Calls, at, given
from tldr_highlight.client.pages import Pages
from tldr_highlight.client.shapes import Joined, LoginSession, Registered, Tokens, User


class Auth:
    """Passwords and mailed tokens. Calls that send mail never tell whether an address is known."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def register(
        self,
        email: str,
        password: str,
        company_name: str,
        *,
        name: str | None = None,
        webhook_url: str | None = None,
        webhook_events: Sequence[str] = ("*",),
    ) -> Registered:
        """Make a person, an organization and its first key. Key and webhook secret are shown this one time.

        Raises:
            Conflict: `email_taken`.
            Invalid: `password_refused`, `email_invalid`, …; the detail says what would do.
        """
        webhook = {"url": webhook_url, "events": list(webhook_events)} if webhook_url else None
        body = given(email=email, password=password, company_name=company_name, name=name, webhook=webhook)
        return self._calls.one(Registered, "POST", "/auth/register", body)

    # --- logins ---

    def login(self, email: str, password: str, *, organization_id: str | None = None) -> Tokens:
        """Log in; `Client.login` gives a client that keeps its tokens fresh."""
        body = given(email=email, password=password, organization_id=organization_id)
        return self._calls.one(Tokens, "POST", "/auth/login", body)

    def refresh(self, refresh_token: str, *, organization_id: str | None = None) -> Tokens:
        """Exchange a refresh token. Each is good once: seen again, it ends the login.

        With `organization_id` the login acts in another of the person's organizations from now on.
        """
        body = given(refresh_token=refresh_token, organization_id=organization_id)
        return self._calls.one(Tokens, "POST", "/auth/refresh", body)

    def logout(self) -> None:
        """End this login."""
        self._calls.do("POST", "/auth/logout")

    def logout_everywhere(self) -> None:
        """End all logins of this person, this one too."""
        self._calls.do("POST", "/auth/logout-everywhere")

    def logins(self, *, limit: int | None = None) -> Pages[LoginSession]:
        """The person's logins that go on, newest first."""
        return self._calls.pages(LoginSession, "/auth/sessions", limit)

    def end_login(self, session_id: str) -> None:
        """End one of them."""
        self._calls.do("DELETE", at("auth", "sessions", session_id))

    # --- addresses and passwords ---

    def verify_email(self, token: str) -> User:
        """Confirm an address with the token that was mailed to it."""
        return self._calls.one(User, "POST", "/auth/verify-email", {"token": token})

    def resend_verification(self) -> None:
        """Have that mail sent again. The token before stops working."""
        self._calls.do("POST", "/auth/resend-verification")

    def forgot_password(self, email: str) -> None:
        """Have a token mailed that sets a new password."""
        self._calls.do("POST", "/auth/forgot-password", {"email": email})

    def reset_password(self, token: str, password: str) -> User:
        """Set a new password with a mailed token. All logins end."""
        return self._calls.one(User, "POST", "/auth/reset-password", {"token": token, "password": password})

    def change_password(self, current_password: str, password: str) -> None:
        """Change the password. All logins end, this one too."""
        body = {"current_password": current_password, "password": password}
        self._calls.do("POST", "/auth/change-password", body)

    def change_email(self, email: str, password: str) -> None:
        """Have a token mailed to a new address that makes it yours; until then the old one stays."""
        self._calls.do("POST", "/auth/change-email", {"email": email, "password": password})

    def confirm_email(self, token: str) -> User:
        """Take the new address, with the token that was mailed to it."""
        return self._calls.one(User, "POST", "/auth/confirm-email", {"token": token})

    def accept_invitation(self, token: str, password: str, *, name: str | None = None) -> Joined:
        """Take an offered place: with the account's password, or with one for a new account."""
        body = given(token=token, password=password, name=name)
        return self._calls.one(Joined, "POST", "/auth/accept-invitation", body)
