"""Accounts and logins."""

from __future__ import annotations

from tldr_highlight.client.calls import Calls
from tldr_highlight.client.shapes import Registered, Tokens


class Auth(Calls):
    """Calls around passwords and mailed tokens. Those that mail never tell whether an address is known."""

    def register(self, email: str, password: str, company_name: str) -> Registered:
        """Make a user, an organization and its first key. The key is shown this one time."""
        body = {"email": email, "password": password, "company_name": company_name}
        return self._one(Registered, "POST", "/auth/register", body)

    def login(self, email: str, password: str, *, organization_id: str | None = None) -> Tokens:
        """Log in; `Client.login` gives a client that keeps its tokens fresh."""
        body = {"email": email, "password": password, "organization_id": organization_id}
        return self._one(Tokens, "POST", "/auth/login", body)

    def refresh(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token. Each can be used once: seen again, it ends the login."""
        body = {"refresh_token": refresh_token}
        return self._one(Tokens, "POST", "/auth/refresh", body)

    def logout(self) -> None:
        """End this login."""
        self._do("POST", "/auth/logout")

    def verify_email(self, token: str) -> None:
        """Prove an address with the token that was mailed to it."""
        self._do("POST", "/auth/verify-email", {"token": token})

    def forgot_password(self, email: str) -> None:
        """Have a token mailed that sets a new password."""
        self._do("POST", "/auth/forgot-password", {"email": email})

    def reset_password(self, token: str, password: str) -> None:
        """Set a new password with a mailed token. All logins end."""
        self._do("POST", "/auth/reset-password", {"token": token, "password": password})
