"""Signing up: one call, and a company can work."""

from __future__ import annotations

from dataclasses import dataclass

from tldr_highlight.accounts import emails, people
from tldr_highlight.accounts.schemas import Registration
from tldr_highlight.core.clients import neighbourhood
from tldr_highlight.core.mailboxes import normal_address
from tldr_highlight.core.passwords import check_password
from tldr_highlight.errors import ClosedError, LimitError
from tldr_highlight.runtime import Act, Caller
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy import service as keys
from tldr_highlight.tenancy.models import ApiKey, Member, Organization, User
from tldr_highlight.tenancy.roles import SCOPES, Role
from tldr_highlight.tenancy.schemas import KeyCreate
from tldr_highlight.usage import quotas
from tldr_highlight.webhooks.models import Webhook
from tldr_highlight.webhooks.service import add_webhook, check_url


@dataclass(frozen=True)
class Registered:
    """What a registration made, with the two secrets that are shown once."""

    user: User
    organization: Organization
    key: ApiKey
    secret: str  # the key itself
    webhook: tuple[Webhook, str] | None  # and its secret


def register(act: Act, wanted: Registration) -> Registered:
    """Make a person, their organization on STARTER, its first key and, where asked for, a webhook.

    The mail that confirms the address goes out with it.

    Raises:
        ClosedError: the operator makes accounts here.
        EmailError, PasswordError, WebhookUrlError: what was given cannot be taken.
        EmailTakenError: the address has an account. Registering tells, nothing else does; it counts as one.
        LimitError: too many from one client address.
    """
    if act.runtime.settings.registration == "closed":
        raise ClosedError("accounts are made by the operator here: ask them, or an owner to invite you")
    email = normal_address(wanted.email)
    password = wanted.password.get_secret_value()
    check_password(password, personal=(email, wanted.company_name))
    if wanted.webhook is not None:
        check_url(act, wanted.webhook.url)
    _refuse_floods(act)
    people.refuse_known(act.session, email)
    hashed = act.runtime.passwords.hash(password)
    with act.writing() as writing:
        return _set_up(writing, people.add(writing.session, email, hashed, name=wanted.name), wanted)


def _set_up(act: Act, user: User, wanted: Registration) -> Registered:
    organization = found(act, wanted.company_name, user)
    act = act.acting(_owner(organization, user))
    key, secret = keys.create_key(act, KeyCreate(name="First key", scopes=None))
    webhook = wanted.webhook and add_webhook(act, wanted.webhook.url, wanted.webhook.events)
    emails.send_verification(act, user)
    people.record(act, user, "user.registered")
    return Registered(user, organization, key, secret, webhook)


def _refuse_floods(act: Act) -> None:
    count = act.runtime.counters.add(f"register:{neighbourhood(act.address)}", 3600)
    if count.number > act.runtime.settings.registrations_per_hour:
        raise LimitError("too many accounts come from this address: try later", retry_after=count.seconds)


def found(act: Act, name: str, owner: User) -> Organization:
    """A new organization on STARTER with its owner and its counters.

    Where nobody is logged in, it is written down as the owner's doing.
    """
    organization = Organization(name=name)
    act.session.add(organization)
    act.session.flush()
    act.session.add(Member(organization_id=organization.id, user_id=owner.id, role=Role.OWNER.word))
    quotas.open_month(act.session, organization.id)
    by = act if act.caller.actor != "nobody" else act.acting(_owner(organization, owner))
    audit.record(
        by, "organization.created", organization.id, organization_id=organization.id, plan=organization.plan
    )
    return organization


def _owner(organization: Organization, user: User) -> Caller:
    return Caller(organization.id, frozenset(SCOPES[Role.OWNER]), user_id=user.id, rank=Role.OWNER)


def create_user(act: Act, email: str, password: str, *, name: str | None, operator: bool) -> User:
    """A person in no organization, whose address the operator vouches for.

    Raises:
        EmailError, PasswordError: what was given cannot be taken.
        EmailTakenError: the address has an account.
    """
    email = normal_address(email)
    check_password(password, personal=(email,))
    people.refuse_known(act.session, email)
    hashed = act.runtime.passwords.hash(password)
    with act.writing() as writing:
        user = people.add(writing.session, email, hashed, name=name, verified=True)
        user.is_operator = operator
        audit.record(writing, "user.created", user.id, operator=operator)
        return user
