"""D2: whatever is changed is written down, with who did it and to what, or it is not changed.

Generated from the OpenAPI document: an operation that writes and is not listed here fails the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, text
from structlog.testing import capture_logs

from tests.api.calls import Operation, operations
from tests.api.world import PASSWORD, World
from tests.highlights.made import add_highlight, add_reel, add_segment, add_set, add_stream, add_type
from tldr_highlight.accounts import mailed
from tldr_highlight.accounts.mailed import Purpose
from tldr_highlight.core.db import Base, Database, new_id, now
from tldr_highlight.core.security import hash_token, new_token
from tldr_highlight.core.work import run_one
from tldr_highlight.tenancy.models import (
    ApiKey,
    AuditRecord,
    Invitation,
    LoginSession,
    Member,
    Organization,
    User,
)
from tldr_highlight.webhooks.models import Delivery, Webhook

UNRECORDED = {
    "continue_upload": "the beginning of an upload is recorded, and its end, not each piece",
    "describe_uploads": "it says what there is",
    "try_dimension_set": "it judges what is stored, and stores nothing",
    "forgot_password": "nobody is known yet, and it must look alike for all addresses (A8): its work records",
    "refresh_login": "a login goes on: nothing that anybody may do is other than before; moving is recorded",
}
"""Operation that changes nothing to tell about -> why."""

OTHER_PASSWORD = "nine dry badgers whistle"


@dataclass
class House:
    """An organization with its owner, who is logged in."""

    world: World
    id: str = ""
    owner: dict[str, str] = field(default_factory=dict)
    user: str = ""
    email: str = ""
    session: str = ""

    def __post_init__(self) -> None:
        self.id = self.world.organization()
        self.owner = self.world.person(self.id)
        with self.world.runtime.db.read() as session:
            self.user = session.scalars(select(Member.user_id).where(Member.organization_id == self.id)).one()
            self.email = session.get_one(User, self.user).email
            self.session = session.scalars(
                select(LoginSession.id).where(LoginSession.user_id == self.user)
            ).one()

    def add(self, row: Any) -> Any:
        with self.world.runtime.db.begin() as session:
            session.add(row)
        return row

    def set(self, model: Any, id: str, **values: Any) -> None:
        with self.world.runtime.db.begin() as session:
            for name, value in values.items():
                setattr(session.get_one(model, id), name, value)

    def mailed(self, purpose: Purpose, email: str | None = None) -> str:
        with self.world.runtime.db.begin() as session:
            token = mailed.issue(session, session.get_one(User, self.user), purpose, email=email)
        assert token
        return token

    def upload(self, length: int) -> str:
        headers = self.owner | {"Upload-Length": str(length)}
        return self.world.client.post("/api/v1/uploads", headers=headers).json()["id"]

    def key(self) -> str:
        about = {"hash": new_id("h"), "last4": "wxyz", "scopes": ["keys:read"]}
        return self.add(ApiKey(organization_id=self.id, name="k", **about)).id

    def member(self) -> str:
        self.world.person(self.id, "member")
        with self.world.runtime.db.read() as session:
            return session.scalars(Member.of(self.id).where(Member.role == "member")).one().id

    def invitation(self, token: str = "") -> str:
        email = f"{new_id('i')}@example.com"
        about = {"token_hash": hash_token(token or new_token()), "invited_by": self.user, "email": email}
        row = Invitation(
            organization_id=self.id, email_key=email, role="member", **about,
            expires_at=now().replace(year=2100),
        )  # fmt: skip
        return self.add(row).id

    def clip_job(self) -> str:
        answer = self.world.client.post("/api/v1/clip-jobs", json=CLIPS, headers=self.owner)
        return answer.json()["id"]

    def highlight(self, **more: Any) -> str:
        with self.world.runtime.db.begin() as session:
            return add_highlight(session, self.id, **more).id

    def shared(self) -> str:
        return self.highlight(share_salt="salt")

    def stream_with_clips(self) -> str:
        with self.world.runtime.db.begin() as session:
            stream = add_stream(session, self.id)
            add_segment(session, stream)
            add_highlight(session, self.id, stream.id)
            return stream.id

    def reel(self) -> str:
        with self.world.runtime.db.begin() as session:
            return add_reel(session, self.id).id

    def set_(self) -> str:
        with self.world.runtime.db.begin() as session:
            return add_set(session, self.id).set_id

    def type(self) -> str:
        with self.world.runtime.db.begin() as session:
            return add_type(session, self.id).id

    def webhook(self, status: str = "active") -> str:
        about = {"url": "https://example.com/hook", "events": ["*"], "secret": "x", "status": status}
        return self.add(Webhook(organization_id=self.id, verified_at=now(), **about)).id

    def delivery(self, webhook_id: str) -> str:
        about = {"event_id": new_id("evt"), "event_type": "stream.completed", "state": "failed"}
        return self.add(Delivery(organization_id=self.id, webhook_id=webhook_id, **about)).id

    def stream(self) -> str:
        return self.world.client.post("/api/v1/streams", json=SOURCE, headers=self.owner).json()["id"]

    def cancelled_stream(self) -> str:
        id = self.stream()
        self.world.client.post(f"/api/v1/streams/{id}/cancel", headers=self.owner)
        return id

    def refresh_token(self) -> str:
        body = {"email": self.email, "password": PASSWORD}
        return self.world.client.post("/api/v1/auth/login", json=body).json()["refresh_token"]


@dataclass(frozen=True)
class Scene:
    """A call that goes well, and what is to be written down: by whom, to what."""

    actor: str | Callable[[Any], str]  # or where the answer says it
    object: str | Callable[[Any], str]
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def call(self, world: World, operation: Operation) -> httpx2.Response:
        address = "http://localhost" + operation.path.format(**self.ids)  # cookies are for this machine alone
        body = {} if self.body is None else {"json": self.body}
        if isinstance(self.body, bytes):
            body = {"content": self.body}
        return world.client.request(operation.method, address, headers=self.headers, **body)


def by_owner(object: Callable[[House], str], body: Any = None, *, of: str = "") -> Callable[[House], Scene]:
    """The owner does it to an object that there is, whose id is `of` in the path."""

    def made(house: House) -> Scene:
        found = object(house)
        return Scene(house.user, found, body, house.owner, {of: found} if of else {})

    return made


def answered(*path: str) -> Callable[[Any], str]:
    """Where an answer names it."""

    def found(document: Any) -> str:
        for name in path:
            document = document[name]
        return document

    return found


def by_key(house: House) -> Scene:
    headers = house.world.key(house.id)
    with house.world.runtime.db.read() as session:
        key = session.scalars(ApiKey.of(house.id)).one().id
    return Scene(key, answered("id"), {"name": "made by a key"}, headers)


def register(house: House) -> Scene:
    body = {"email": f"{new_id('x')}@example.com", "password": PASSWORD, "company_name": "Nordlicht"}
    body |= {"webhook": {"url": "https://example.com/hook"}}
    return Scene(answered("user", "id"), answered("user", "id"), body)


def log_in(house: House) -> Scene:
    def started(_: Any) -> str:
        with house.world.runtime.db.read() as session:
            return max(session.scalars(select(LoginSession.id).where(LoginSession.user_id == house.user)))

    return Scene(
        house.user, started, {"email": house.email, "password": PASSWORD}, {"Sec-Fetch-Site": "same-origin"}
    )


def verify(house: House) -> Scene:
    return Scene(house.user, house.user, {"token": house.mailed(Purpose.VERIFY)})


def ask_to_verify(house: House) -> Scene:
    house.set(User, house.user, email_verified_at=None)
    return Scene(house.user, house.user, headers=house.owner)


def reset(house: House) -> Scene:
    body = {"token": house.mailed(Purpose.RESET), "password": OTHER_PASSWORD}
    return Scene(house.user, house.user, body)


def change_email(house: House) -> Scene:
    body = {"email": f"{new_id('n')}@example.com", "password": PASSWORD}
    return Scene(house.user, house.user, body, house.owner)


def confirm_email(house: House) -> Scene:
    token = house.mailed(Purpose.CHANGE, f"{new_id('n')}@example.com")
    return Scene(house.user, house.user, {"token": token})


def accept(house: House) -> Scene:
    house.invitation(token := new_token())

    def member(_: Any) -> str:
        with house.world.runtime.db.read() as session:
            return session.scalars(Member.of(house.id).where(Member.role == "member")).one().id

    return Scene(answered("user", "id"), member, {"token": token, "password": PASSWORD})


def leave(house: House) -> Scene:
    house.world.person(house.id)  # another owner
    with house.world.runtime.db.read() as session:
        mine = session.scalars(Member.of(house.id).where(Member.user_id == house.user)).one().id
    return Scene(house.user, mine, headers=house.owner)


def suspend(house: House, status: str = "active") -> Scene:
    operator = House(house.world)
    operator.set(User, operator.user, is_operator=True)
    house.set(Organization, house.id, status=status)
    body = {"reason": "because"} if status == "active" else None
    return Scene(operator.user, house.id, body, operator.owner, {"organization_id": house.id})


def disable(house: House, *, before: bool) -> Scene:
    operator = House(house.world)
    operator.set(User, operator.user, is_operator=True)
    house.set(User, house.user, disabled_at=now() if before else None)
    return Scene(operator.user, house.user, None, operator.owner, {"user_id": house.user})


SOURCE = {"source_url": "https://media.example.com/final.mp4"}

CLIPS = {**SOURCE, "clips": [{"start": 1, "end": 2}]}


def on_stream(house: House, body: Any) -> Scene:
    ids = {"stream_id": house.stream_with_clips()}
    return Scene(house.user, answered("id"), body, house.owner, ids)


def made_by_owner(body: Any) -> Callable[[House], Scene]:
    return lambda house: Scene(house.user, answered("id"), body, house.owner)


def redeliver(house: House) -> Scene:
    webhook = house.webhook()
    ids = {"webhook_id": webhook, "delivery_id": house.delivery(webhook)}
    return Scene(house.user, webhook, None, house.owner, ids)


def by_webhook(body: Any = None, *, status: str = "active") -> Callable[[House], Scene]:
    return by_owner(lambda house: house.webhook(status), body, of="webhook_id")


SCENES: dict[str, Callable[[House], Scene]] = {
    "create_upload": lambda house: Scene(house.user, answered("id"), b"the file", house.owner),
    "delete_upload": by_owner(lambda house: house.upload(10), of="upload_id"),
    "create_clip_job": lambda house: Scene(house.user, answered("id"), CLIPS, house.owner),
    "delete_clip_job": by_owner(House.clip_job, of="clip_job_id"),
    "submit_stream": lambda house: Scene(house.user, answered("id"), SOURCE, house.owner),
    "change_highlight": by_owner(House.highlight, {"verdict": "keep"}, of="highlight_id"),
    "delete_highlight": by_owner(House.highlight, of="highlight_id"),
    "share_highlight": by_owner(House.highlight, {}, of="highlight_id"),
    "unshare_highlight": by_owner(House.shared, of="highlight_id"),
    "create_dimension_set": made_by_owner({"base": "sports", "name": "derby"}),
    "change_dimension_set": by_owner(House.set_, {"threshold": 0.7}, of="set_id"),
    "delete_dimension_set": by_owner(House.set_, of="set_id"),
    "create_highlight_type": made_by_owner({"name": "goal", "when": {"crowd_reaction": 0.6}}),
    "change_highlight_type": by_owner(House.type, {"priority": 7}, of="type_id"),
    "delete_highlight_type": by_owner(House.type, of="type_id"),
    "request_clip": lambda house: on_stream(house, {"start": 1, "end": 2}),
    "request_reel": lambda house: on_stream(house, {"target_seconds": 30}),
    "delete_reel": by_owner(House.reel, of="reel_id"),
    "submit_batch": lambda house: Scene(house.user, answered("id"), {"sources": [SOURCE]}, house.owner),
    "change_stream": by_owner(House.stream, {"title": "Final"}, of="stream_id"),
    "cancel_stream": by_owner(House.stream, of="stream_id"),
    "retry_stream": by_owner(House.cancelled_stream, of="stream_id"),
    "delete_stream": by_owner(House.stream, of="stream_id"),
    "create_key": by_key,
    "change_key": by_owner(House.key, {"name": "other"}, of="key_id"),
    "rotate_key": by_owner(House.key, {}, of="key_id"),
    "revoke_key": by_owner(House.key, of="key_id"),
    "create_webhook": lambda house: Scene(
        house.user, answered("id"), {"url": "https://example.com/hook"}, house.owner
    ),
    "change_webhook": by_webhook({"url": "https://example.com/other"}),
    "delete_webhook": by_webhook(),
    "verify_webhook": by_webhook(status="pending_verification"),
    "send_test_event": by_webhook(),
    "rotate_webhook_secret": by_webhook(),
    "enable_webhook": by_webhook({"resend_since": "2026-01-01T00:00:00Z"}, status="disabled"),
    "redeliver_missed": by_webhook({"since": "2026-01-01T00:00:00Z"}),
    "redeliver": redeliver,
    "log_in": log_in,
    "begin_cookie_session": log_in,
    "log_out": by_owner(lambda house: house.session),
    "end_cookie_session": by_owner(lambda house: house.session),
    "log_out_everywhere": by_owner(lambda house: house.user),
    "end_session": by_owner(lambda house: house.session, of="session_id"),
    "register": register,
    "verify_email": verify,
    "resend_verification": ask_to_verify,
    "reset_password": reset,
    "change_password": by_owner(
        lambda house: house.user, {"current_password": PASSWORD, "password": OTHER_PASSWORD}
    ),
    "change_email": change_email,
    "confirm_email": confirm_email,
    "accept_invitation": accept,
    "change_organization": by_owner(lambda house: house.id, {"name": "Badgers"}),
    "change_role": by_owner(House.member, {"role": "viewer"}, of="member_id"),
    "remove_member": by_owner(House.member, of="member_id"),
    "leave_organization": leave,
    "invite": lambda house: Scene(house.user, answered("id"), {"email": "eve@example.com"}, house.owner),
    "revoke_invitation": by_owner(House.invitation, of="invitation_id"),
    "change_plan": by_owner(lambda house: house.id, {"plan": "PROFESSIONAL"}),
    "set_overage_cap": by_owner(lambda house: house.id, {"percent": 150}),
    "suspend_organization": suspend,
    "activate_organization": lambda house: suspend(house, "suspended"),
    "disable_user": lambda house: disable(house, before=False),
    "enable_user": lambda house: disable(house, before=True),
}
"""Operation -> a call of it that goes well."""


def try_set(house: House) -> Scene:
    body = {"stream_id": house.stream_with_clips()}
    return Scene("", "", body, house.owner, {"set_id": "sports"})


def piece(house: House) -> Scene:
    headers = house.owner | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    return Scene("", "", b"x", headers, {"upload_id": house.upload(10)})


UNRECORDED_SCENES: dict[str, Callable[[House], Scene]] = {
    "continue_upload": piece,
    "describe_uploads": lambda house: Scene("", "", headers=house.owner),
    "try_dimension_set": try_set,
    "forgot_password": lambda house: Scene("", "", {"email": house.email}),
    "refresh_login": lambda house: Scene("", "", {"refresh_token": house.refresh_token()}),
}


def writing(world: World) -> dict[str, Operation]:
    return {each.id: each for each in operations(world) if each.method != "GET"}


def records(world: World) -> list[AuditRecord]:
    with world.runtime.db.read() as session:
        return list(session.scalars(select(AuditRecord).order_by(AuditRecord.id)))


def test_every_writing_operation_is_listed(light_world: World) -> None:
    assert writing(light_world).keys() == SCENES.keys() | UNRECORDED.keys()
    assert UNRECORDED.keys() == UNRECORDED_SCENES.keys()


def test_every_change_is_written_down_or_does_not_happen(world: World) -> None:
    """The record is in the change's own transaction: a database that refuses the one has not the other."""
    wrong: list[str] = []
    for id, operation in writing(world).items():
        if id in UNRECORDED:
            continue
        scene = SCENES[id](House(world))
        before = stored(world.runtime.db)
        refuse_records(world.runtime.db)
        with capture_logs():  # a traceback, coloured, takes 3 s
            refused = scene.call(world, operation)
        refuse_records(world.runtime.db, False)
        if refused.status_code < 400 or stored(world.runtime.db) != before:
            wrong.append(f"{id} changes something that it does not record: {refused.status_code}")
            continue
        count = len(records(world))
        answer = scene.call(world, operation)
        assert answer.status_code < 300, (id, answer.text)
        document = answer.json() if answer.content else None
        actor, object = (s if isinstance(s, str) else s(document) for s in (scene.actor, scene.object))
        found = [(record.actor, record.object_id) for record in records(world)[count:]]
        if (actor, object) not in found:
            wrong.append(f"{id}: {found} instead of {(actor, object)}")
    assert wrong == []


def test_what_is_not_recorded_is_what_the_list_says(light_world: World) -> None:
    for id in UNRECORDED:
        scene = UNRECORDED_SCENES[id](House(light_world))
        before = len(records(light_world))
        assert scene.call(light_world, writing(light_world)[id]).status_code < 300
        assert len(records(light_world)) == before, f"{id} is recorded: take it off the list"


def test_whose_password_was_to_be_reset_is_recorded_where_somebody_is(world: World) -> None:
    house = House(world)
    for email in (house.email, "nobody@example.com"):
        assert world.client.post("/api/v1/auth/forgot-password", json={"email": email}).status_code == 202
    while run_one(world.runtime, owner="test"):
        pass
    [record] = [r for r in records(world) if r.action == "user.reset_asked"]
    assert (record.actor, record.object_id, record.organization_id) == ("nobody", house.user, house.id)


def test_the_record_does_not_tell_whether_an_address_is_taken(light_world: World) -> None:
    """A8: who asks for an address may read the audit log."""
    house, other = House(light_world), House(light_world)
    actions = []
    for who, email in ((house, other.email), (other, "free@example.com")):
        count = len(records(light_world))
        body = {"email": email, "password": PASSWORD}
        answer = light_world.client.post("/api/v1/auth/change-email", json=body, headers=who.owner)
        assert answer.status_code == 202
        actions.append([(r.action, r.details) for r in records(light_world)[count:]])
    assert actions[0] == actions[1] == [("user.email_change_asked", {})]


def refuse_records(db: Database, refuse: bool = True) -> None:
    on, off = SQLITE if db.is_sqlite else POSTGRES
    with db.begin() as session:
        for statement in on if refuse else off:
            session.execute(text(statement))


SQLITE = (
    [
        "CREATE TRIGGER refuse BEFORE INSERT ON audit_records "
        "BEGIN SELECT RAISE(ABORT, 'no records today'); END"
    ],
    ["DROP TRIGGER refuse"],
)
POSTGRES = (
    [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'no records today'; END$$",
        "CREATE TRIGGER refuse BEFORE INSERT ON audit_records FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
    ["DROP TRIGGER refuse ON audit_records", "DROP FUNCTION refuse"],
)


def stored(db: Database) -> dict[str, list[Any]]:
    """Everything, but for how often and when last somebody called, which is written in its own time."""
    with db.read() as session:
        return {
            table.name: sorted(
                told
                for row in session.execute(
                    select(*(c for c in table.columns if c.name not in {"used_at", "last_used_at"}))
                )
                if "'api_calls'" not in (told := repr(row))
            )
            for table in Base.metadata.sorted_tables
        }


@pytest.mark.parametrize("again", ["revoke_key", "change_organization"])
def test_what_was_so_already_is_no_change(light_world: World, again: str) -> None:
    scene = SCENES[again](House(light_world))
    operation = writing(light_world)[again]
    counts = []
    for _ in range(2):
        assert scene.call(light_world, operation).status_code < 300
        counts.append(len(records(light_world)))
    assert counts[0] == counts[1]
