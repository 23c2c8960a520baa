"""T1, T2: another organization's objects do not exist, in any operation of the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.api.calls import Operation, operations
from tests.api.world import World
from tests.highlights.made import DOCUMENT, add_highlight, add_reel, add_set, add_type
from tldr_highlight.clips.schemas import ClipJobCreate, ClipRange
from tldr_highlight.clips.service import create_job, order_of
from tldr_highlight.core.db import new_id, now
from tldr_highlight.highlights.models import Highlight, HighlightType, Reel
from tldr_highlight.runtime import Act, Caller, Look
from tldr_highlight.streams.models import Batch, Stream
from tldr_highlight.streams.schemas import StreamCreate
from tldr_highlight.streams.service import submit
from tldr_highlight.streams.uploads import Announced, begin
from tldr_highlight.tenancy.models import ApiKey, AuditRecord, Invitation, LoginSession, Member
from tldr_highlight.webhooks.models import Delivery, Webhook

CANARY = "canary-of-a-stranger"

Made = Callable[[World, str], str]


def _made(make: Callable[[Session, str], Any]) -> Made:
    def made(world: World, organization_id: str) -> str:
        with world.runtime.db.begin() as session:
            row = make(session, organization_id)
            session.add(row)
            session.flush()
            return row.id

    return made


def _key(session: Session, organization_id: str) -> ApiKey:
    about = {"hash": new_id("h"), "last4": "wxyz", "scopes": ["keys:read"]}
    return ApiKey(organization_id=organization_id, name=CANARY, **about)


def _invitation(session: Session, organization_id: str) -> Invitation:
    about = {"token_hash": new_id("h"), "invited_by": "usr_x", "expires_at": now().replace(year=2100)}
    email = f"{CANARY}@example.com"
    return Invitation(organization_id=organization_id, email=email, email_key=email, role="member", **about)


def _highlight(session: Session, organization_id: str) -> Highlight:
    return add_highlight(session, organization_id, title=CANARY, clip_key=None, state="detected")


def _reel(session: Session, organization_id: str) -> Reel:
    return add_reel(session, organization_id, note=CANARY)


def _type(session: Session, organization_id: str) -> HighlightType:
    return add_type(session, organization_id, description=CANARY)


def _set(world: World, organization_id: str) -> str:
    with world.runtime.db.begin() as session:
        document = {**DOCUMENT, "name": CANARY}
        return add_set(session, organization_id, name=CANARY, document=document).set_id


def _member(session: Session, organization_id: str) -> Member:
    return session.scalars(Member.of(organization_id)).first() or Member()


def _login(session: Session, organization_id: str) -> LoginSession:
    member = session.scalars(Member.of(organization_id)).one()
    return session.scalars(select(LoginSession).where(LoginSession.user_id == member.user_id)).first() or (
        LoginSession()
    )


def _stream(world: World, organization_id: str) -> str:
    return _submitted(world, organization_id).id


def _job(world: World, organization_id: str) -> str:
    return _submitted(world, organization_id).job_id


def _submitted(world: World, organization_id: str) -> Stream:
    caller = Caller(organization_id, name=CANARY)
    with world.runtime.db.begin() as session:
        url = f"https://media.example.com/{CANARY}.mp4"
        act = Act(world.runtime, caller, session=session)
        return submit(act, StreamCreate(source_url=url, title=CANARY))


def _clip_job(world: World, organization_id: str) -> str:
    with world.runtime.db.begin() as session:
        act = Act(world.runtime, Caller(organization_id, name=CANARY), session=session)
        url = f"https://media.example.com/{CANARY}.mp4"
        wanted = ClipJobCreate(source_url=url, title=CANARY, clips=[ClipRange(start=1, end=2)])
        return create_job(act, order_of(wanted)).id


def _batch(session: Session, organization_id: str) -> Batch:
    return Batch(organization_id=organization_id, title=CANARY, count=0)


def _webhook(session: Session, organization_id: str) -> Webhook:
    about = {"url": f"https://{CANARY}.example.com", "events": ["*"], "secret": "x"}
    return Webhook(organization_id=organization_id, description=CANARY, **about)


def _delivery(session: Session, organization_id: str) -> Delivery:
    """To the latest endpoint: where both are named, it is the one made just before."""
    webhook = session.scalars(Webhook.of(organization_id).order_by(Webhook.id.desc())).first()
    if webhook is None:
        webhook = _webhook(session, organization_id)
        session.add(webhook)
        session.flush()
    about = {"event_id": new_id("evt"), "event_type": "stream.completed"}
    return Delivery(organization_id=organization_id, webhook_id=webhook.id, **about)


def _upload(world: World, organization_id: str) -> str:
    look = Look(world.runtime, Caller(organization_id, name=CANARY))
    return begin(look, Announced(filename=CANARY, bytes=10)).id


FOREIGN: dict[str, Made] = {
    "upload_id": _upload,
    "clip_job_id": _clip_job,
    "batch_id": _made(_batch),
    "stream_id": _stream,
    "job_id": _job,
    "highlight_id": _made(_highlight),
    "reel_id": _made(_reel),
    "set_id": _set,
    "type_id": _made(_type),
    "webhook_id": _made(_webhook),
    "delivery_id": _made(_delivery),
    "key_id": _made(_key),
    "invitation_id": _made(_invitation),
    "member_id": _made(_member),
    "session_id": _made(_login),
}
"""Id in a path -> makes such an object of an organization."""

NAMING_OTHERS = {"try_dimension_set"}
"""Operations whose example names one more object, in its body."""

OTHERS = {"organization_id", "user_id"}
"""Ids that only operators use, who see every organization."""


def without_trace(answer: httpx2.Response) -> dict[str, Any]:
    document = answer.json()
    del document["trace_id"]
    return document


def stranger(world: World) -> str:
    """An organization with one person, whose everything has the canary in it."""
    organization = world.organization(CANARY)
    world.person(organization)
    return organization


def with_ids(world: World) -> list[Operation]:
    found = [each for each in operations(world) if each.ids and "x-operator" not in each.about]
    assert found
    for operation in found:
        for name in operation.ids:
            assert name in FOREIGN, f"{operation.id} has an id that this test cannot make: add {name}"
    return found


def test_every_id_is_listed_here(light_world: World) -> None:
    named = {name for operation in operations(light_world) for name in operation.ids}
    assert named == FOREIGN.keys() | OTHERS


def test_foreign_objects_are_like_those_that_never_were(world: World) -> None:
    ours, theirs = world.organization(), stranger(world)
    for operation in with_ids(world):
        callers = [world.person(ours)] + ([world.key(ours)] if operation.takes_keys else [])
        for caller in callers:
            foreign = {name: FOREIGN[name](world, theirs) for name in operation.ids}
            never = {name: new_id(foreign[name].partition("_")[0]) for name in operation.ids}
            answers = [operation.call(world, caller, **ids) for ids in (foreign, never)]
            assert [answer.status_code for answer in answers] == [404, 404], (operation.id, answers[0].text)
            assert without_trace(answers[0]) == without_trace(answers[1]), operation.id


def test_own_objects_are_there(world: World) -> None:
    """The matrix above is worth something: the same calls find what is ours."""
    for operation in with_ids(world):
        ours = world.organization()
        caller = world.person(ours)
        ids = {name: FOREIGN[name](world, ours) for name in operation.ids}
        answer = operation.call(world, caller, **ids)
        if operation.id in NAMING_OTHERS:
            continue
        assert answer.status_code != 404, (operation.id, answer.text)
        assert answer.status_code < 500, (operation.id, answer.text)


def test_canaries_of_others_are_in_no_answer(world: World) -> None:
    """T2: their names, addresses and ids, wherever one asks without naming them."""
    theirs = stranger(world)
    ids = {FOREIGN[name](world, theirs) for name in FOREIGN} | {theirs}
    with world.runtime.db.begin() as session:
        session.add(AuditRecord(organization_id=theirs, actor=CANARY, action="x.y", object_id=CANARY))
    ours = world.organization()
    callers = [world.key(ours), world.person(ours)]
    heard = 0
    for operation in operations(world):
        if operation.method != "GET" or operation.ids:
            continue
        for caller in callers:
            text = operation.call(world, caller).text
            assert CANARY not in text, operation.id
            assert not [id for id in ids if id in text], operation.id
            heard += 1
    assert heard > 6


@pytest.mark.parametrize("cursor", ["theirs", "nobody's"])
def test_cursors_lead_to_nobody_else(world: World, cursor: str) -> None:
    theirs = stranger(world)
    foreign = [FOREIGN["key_id"](world, theirs) for _ in range(3)]
    at = max(foreign) if cursor == "theirs" else "key_zzzzzzzz"
    answer = world.client.get(f"/api/v1/keys?cursor={at}", headers=world.caller())
    assert answer.status_code == 200
    assert not re.findall("|".join(foreign), answer.text)
    assert all(key["name"] != CANARY for key in answer.json()["data"])
