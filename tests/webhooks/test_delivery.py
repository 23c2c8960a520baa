"""Events on their way to real receivers over HTTPS, judged by what these got and by another's verifier."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from tests.core.servers import Peer, Request
from tests.webhooks.shop import ORG, PATIENCE, Receiver, Shop, receiver, until, verified
from tldr_highlight.core import work
from tldr_highlight.core.db import first_id, now
from tldr_highlight.core.outbox import Mail
from tldr_highlight.core.sweep import sweep_of
from tldr_highlight.core.work import LIGHT, Work, enqueue, kinds_of, run_one
from tldr_highlight.tenancy.models import AuditRecord
from tldr_highlight.webhooks import delivery as deliveries
from tldr_highlight.webhooks import service
from tldr_highlight.webhooks.catalogue import StreamCancelled
from tldr_highlight.webhooks.events import emit, wake
from tldr_highlight.webhooks.models import Attempt, Delivery, Event, Webhook
from tldr_highlight.webhooks.outcomes import disable
from tldr_highlight.webhooks.schemas import WebhookCreate, WebhookPatch


def answer(status: str, *headers: str, body: bytes = b"") -> Any:
    return lambda receiver, request, peer: peer.reply(status, body, *headers)


def sort_out(shop: Shop, webhook_id: str, states: set[str]) -> None:
    until(
        lambda: (found := shop.deliveries(webhook_id)) and all(d.state in states for d in found),
        f"deliveries are {states}",
    )


# --- what arrives --------------------------------------------------------------------------------------


def test_an_event_arrives_signed_and_in_the_contracts_shape(shop: Shop) -> None:
    with receiver() as there, shop.working():
        id = shop.verified(there)
        [event_id] = shop.tell("str_a")
        sort_out(shop, id, {"delivered"})
    [request] = there.got
    body = verified(request, there.secret)
    assert list(body) == ["id", "type", "sequence", "created_at", "organization_id", "trace_id", "data"]
    assert (body["id"], body["type"], body["sequence"]) == (event_id, "stream.cancelled", 1)
    assert body["data"] == {"stream_id": "str_a", "highlights": 0}
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == event_id
    assert request.headers["traceparent"].startswith("00-")
    [delivery], [attempt] = shop.deliveries(id), shop.attempts(id)
    assert (delivery.state, delivery.attempts, delivery.failures) == ("delivered", 1, 0)
    assert (attempt.status, attempt.error_code, attempt.answer) == (200, None, "thanks")


def test_streams_arrive_in_order_without_gaps(shop: Shop) -> None:
    """W2: 6 streams, 60 events, in turns; each stream's by `sequence`, as nothing fails."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    with receiver() as there, shop.working():
        id = shop.verified(there)
        for _ in range(60):
            shop.tell(f"str_{chance.randrange(6)}")
        until(lambda: len(there.got) == 60, "all have arrived")
        sort_out(shop, id, {"delivered"})
    for stream in range(6):
        numbers = [e["sequence"] for e in there.events() if e["data"]["stream_id"] == f"str_{stream}"]
        assert numbers == list(range(1, len(numbers) + 1))
    assert len({e["id"] for e in there.events()}) == 60


def test_each_endpoint_gets_what_it_wants_of_its_organization(shop: Shop) -> None:
    with receiver() as all_, receiver() as plans, receiver() as strangers, shop.working():
        shop.verified(all_)
        none = shop.verified(plans, "plan.changed", "highlight.*")
        shop.verified(strangers, organization_id="org_2")
        [event_id] = shop.tell()
        until(lambda: all_.got, "it has arrived")
        with shop.act() as act:
            test = service.send_test(act, none)
        sort_out(shop, none, {"delivered"})
    assert [e["id"] for e in all_.events()] == [event_id]
    assert [e["type"] for e in plans.events()] == ["webhook.test"]
    assert shop.deliveries(none)[0].id == test.id
    assert strangers.got == []


class Undone(Exception):  # noqa: N818
    pass


def test_what_was_rolled_back_is_not_sent(quick: Shop) -> None:
    def fail() -> None:
        with quick.runtime.db.begin() as session:
            emit(session, ORG, StreamCancelled(stream_id="str_a", highlights=0))
            raise Undone

    with receiver() as there, quick.working():
        id = quick.verified(there)
        with pytest.raises(Undone):
            fail()
        [event_id] = quick.tell()
        sort_out(quick, id, {"delivered"})
    assert [event["id"] for event in there.events()] == [event_id]


# --- verification --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["echo", "other words", "failing"])
def test_an_endpoint_gets_nothing_but_the_challenge_before_it_is_verified(shop: Shop, how: str) -> None:
    """W11."""
    asked: list[Request] = []

    class Wary(Receiver):
        def _answer(self, request: Request, peer: Peer) -> object:
            asked.append(request)
            echo = verified(request, self.secret)["data"].get("challenge", "").encode()
            replies = {
                "echo": ("200 OK", echo),
                "other words": ("200 OK", b"fine"),
                "failing": ("500 X", echo),
            }
            peer.reply(replies[how][0], replies[how][1])
            return None

    there = Wary()
    with there.server:
        id = shop.endpoint(there)
        shop.tell(count=3)
        with shop.working():
            until(lambda: shop.rows(select(Attempt).where(Attempt.webhook_id == id)), "it was asked")
            before = shop.webhook(id).status
            [event_id] = shop.tell()
            if how == "echo":
                until(lambda: len(asked) == 2, "the event has arrived")
    bodies = [verified(request, there.secret) for request in asked]
    assert bodies[0]["type"] == "webhook.challenge"
    assert bodies[0]["data"]["webhook_id"] == id
    if how == "echo":
        assert [body["id"] for body in bodies[1:]] == [event_id]
        actions = shop.rows(select(AuditRecord.action).where(AuditRecord.object_id == id))
        assert actions == ["webhook.created", "webhook.verified"]
    else:
        assert before == "pending_verification"
        assert {body["type"] for body in bodies} == {"webhook.challenge"}
        [attempt] = shop.rows(select(Attempt).where(Attempt.webhook_id == id))
        assert attempt.error_code == {"other words": "challenge_unanswered", "failing": "failing"}[how]


def test_the_challenge_can_be_sent_again(quick: Shop) -> None:
    replies = iter([b"no", b"no"])

    class Late(Receiver):
        def _answer(self, request: Request, peer: Peer) -> object:
            body = verified(request, self.secret)["data"]["challenge"].encode()
            peer.reply("200 OK", next(replies, body))
            return None

    there = Late()
    with there.server, quick.working():
        id = quick.endpoint(there)
        for count in (1, 2):
            until(lambda c=count: len(quick.rows(select(Attempt))) == c, "it has failed")
            assert quick.webhook(id).status == "pending_verification"
            with quick.act() as act:
                service.verify_webhook(act, id)
        until(lambda: quick.webhook(id).status == "active", "it is verified")
    states = quick.rows(select(Delivery.state).order_by(Delivery.id))
    assert states == ["failed", "failed", "delivered"]


def test_another_address_is_verified_and_gets_what_happened_meanwhile(shop: Shop) -> None:
    """W9, W11: nothing but the challenge goes to an address that was not shown to be theirs."""
    with receiver() as old, receiver() as new, shop.working():
        id = shop.verified(old)
        shop.tell()
        sort_out(shop, id, {"delivered"})
        new.answering = old.answering
        with shop.act() as act:
            service.change_webhook(act, id, WebhookPatch(url=new.url))
        assert shop.webhook(id).verified_at is None
        between = shop.tell(count=3)
        until(lambda: shop.webhook(id).status == "active", "it is verified")
        until(lambda: len(new.got) >= 3, "what happened meanwhile has arrived")
        after = shop.tell()
        sort_out(shop, id, {"delivered"})
    assert len(old.got) == 1
    arrived = [verified(request, old.secret)["id"] for request in new.got]
    assert sorted(arrived) == sorted(between + after)


@dataclass
class Slow(Receiver):
    """One that answers challenges when it is let."""

    let: threading.Event = field(default_factory=threading.Event)

    def _answer(self, request: Request, peer: Peer) -> object:
        if json.loads(request.body)["type"] == "webhook.challenge":
            self.let.wait(PATIENCE)
        return super()._answer(request, peer)


@pytest.mark.parametrize("how", ["enabled", "verified"])
def test_an_event_that_commits_after_its_endpoint_is_active_again_arrives(shop: Shop, how: str) -> None:
    """W9: whoever tells of something looked at the endpoint before, and saw that it got nothing."""

    def enable() -> None:
        with shop.act() as act:
            service.enable_webhook(act, id, now() - timedelta(hours=1))

    with receiver() as old, ThreadPoolExecutor(1) as aside, shop.working():
        id = shop.verified(old)
        new = Slow()
        with new.server:
            if how == "enabled":
                shop.set(Webhook, id, status="disabled")
            else:
                with shop.act() as act:
                    service.change_webhook(act, id, WebhookPatch(url=new.url))
            with shop.runtime.db.begin() as session:
                event = emit(session, ORG, StreamCancelled(stream_id="str_a", highlights=0))
                session.flush()
                enabling = aside.submit(enable) if how == "enabled" else None
                new.let.set()
                if not shop.runtime.db.is_sqlite:  # which has one writer at a time
                    until(lambda: somebody_waits(shop) or is_caught_up(shop, id), "it waits or is through")
            until(lambda: is_caught_up(shop, id), "it is active")
            if enabling is not None:
                enabling.result(PATIENCE)
            [last] = shop.tell()
            there = old if how == "enabled" else new
            until(lambda: last in {e["id"] for e in there.events()}, "what follows has arrived")
            sort_out(shop, id, {"delivered"})
    assert sorted(e["id"] for e in there.events()) == sorted([event.id, last])


def somebody_waits(shop: Shop) -> bool:
    """Whether a transaction waits for another one's lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
    with shop.runtime.db.read() as session:
        return session.scalar(text(waiting + "current_database()")) > 0


def is_caught_up(shop: Shop, webhook_id: str) -> bool:
    webhook = shop.webhook(webhook_id)
    return webhook.status == "active" and webhook.missed_after is None


def test_what_waits_is_not_sent_to_another_address_before_that_is_verified(shop: Shop) -> None:
    """W11."""
    with receiver(answer("500 X")) as old, receiver() as new, shop.working():
        id = shop.verified(old, schedule="3600")
        shop.tell()
        until(lambda: shop.attempts(id), "it has failed")
        new.answers_challenges = False
        with shop.act() as act:
            service.change_webhook(act, id, WebhookPatch(url=new.url))
        [delivery] = shop.deliveries(id)
        hurry(shop, delivery)
        until(lambda: new.challenges, "the challenge has arrived")
        for _ in range(2):
            hurry(shop, delivery)
            until(lambda: run_at(shop, id) > now(), "it was looked for")
        assert new.got == []
        new.answers_challenges = True
        with shop.act() as act:
            service.verify_webhook(act, id)
        sort_out(shop, id, {"delivered"})
    assert len(new.got) == 1


def run_at(shop: Shop, webhook_id: str) -> datetime:
    [row] = shop.rows(select(Work).where(Work.key == webhook_id))
    return row.run_at if row.state == "waiting" else now()


# --- what receivers answer -----------------------------------------------------------------------------

ANSWERS: dict[str, tuple[Any, int | None, str | None]] = {
    "200": (answer("200 OK", body=b"x"), 200, None),
    "204": (answer("204 No Content"), 204, None),
    "299": (answer("299 Odd"), 299, None),
    "301": (answer("301 Moved", "Location: https://127.0.0.1:1/"), 301, "redirected"),
    "400": (answer("400 Bad"), 400, "refused"),
    "404": (answer("404 Not Found"), 404, "refused"),
    "429": (answer("429 Slow"), 429, "refused"),
    "500": (answer("500 Oops", body=b"\xff\x00oops"), 500, "failing"),
    "no http": (lambda receiver, request, peer: peer.send("SMTP ready\r\n\r\n"), None, "answer_unusable"),
    "hangs up": (lambda receiver, request, peer: False, None, "no_connection"),
    "silent": (lambda receiver, request, peer: peer.over.wait(PATIENCE), None, "timeout"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_only_2xx_is_success(quick: Shop, name: str) -> None:
    """W4: one attempt, one request; redirects are not followed."""
    answering, status, error = ANSWERS[name]
    if name == "silent":
        quick.runtime.settings.webhook_timeout_seconds = 2.0
    with receiver(answering) as there, quick.working():
        id = quick.verified(there, schedule="3600")
        quick.tell()
        until(lambda: quick.attempts(id), "it was tried")
    [attempt], [delivery] = quick.attempts(id), quick.deliveries(id)
    assert (attempt.status, attempt.error_code) == (status, error)
    assert delivery.state == ("waiting" if error else "delivered")
    assert len(there.got) == 1
    if name == "500":
        assert attempt.answer == "\ufffd\ufffdoops"
    if name == "silent":
        assert 1900 <= attempt.milliseconds <= 4000


def test_of_an_answer_16_kib_are_kept_and_an_endless_one_does_no_harm(quick: Shop) -> None:
    def endless(receiver: Receiver, request: Request, peer: Peer) -> object:
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not peer.over.is_set():
            peer.send("1000\r\n", b"y" * 4096, "\r\n")
        return False

    with receiver(endless) as there, quick.working():
        id = quick.verified(there)
        quick.tell()
        sort_out(quick, id, {"delivered"})
    [attempt] = quick.attempts(id)
    assert attempt.answer == "y" * 16_384


def test_no_more_arrive_at_once_than_the_page_says(quick: Shop) -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    said = re.search(r"up to (\d+) at\s+once", page)
    assert said
    inside, most, counting = 0, 0, threading.Lock()

    def slow(receiver: Receiver, request: Request, peer: Peer) -> None:
        nonlocal inside, most
        with counting:
            inside += 1
            most = max(most, inside)
        peer.over.wait(0.2)
        with counting:
            inside -= 1
        peer.reply("200 OK")

    with receiver(slow) as there, quick.working():
        id = quick.verified(there)
        with quick.runtime.db.begin() as session:
            for number in range(150):
                emit(session, ORG, StreamCancelled(stream_id="str_none", highlights=number))
        sort_out(quick, id, {"delivered"})
    assert most <= int(said[1])


def test_connections_are_kept(quick: Shop) -> None:
    with receiver() as there, quick.working():
        id = quick.verified(there)
        quick.tell("str_a", count=40)
        until(lambda: len(there.got) == 40, "all have arrived")
        sort_out(quick, id, {"delivered"})
    assert there.server.connections <= 8


# --- trying again --------------------------------------------------------------------------------------


def test_a_delivery_is_tried_by_its_schedule_and_given_up(shop: Shop) -> None:
    """W3: the pauses that are stored, while the time until then is left out."""
    pauses = [10, 60, 360]
    with receiver(answer("500 Oops")) as there, shop.working():
        id = shop.verified(there, schedule="short")
        shop.tell()
        for number, seconds in enumerate(pauses, start=1):
            until(lambda n=number: len(shop.attempts(id)) == n, "it was tried")
            [delivery] = shop.deliveries(id)
            waits = (delivery.due_at - shop.attempts(id)[-1].created_at).total_seconds()
            assert (delivery.state, delivery.failures) == ("waiting", number)
            assert 0.8 * seconds <= waits <= 1.2 * seconds + 1
            hurry(shop, delivery)
        sort_out(shop, id, {"failed"})
    assert [attempt.number for attempt in shop.attempts(id)] == list(range(1, len(pauses) + 2))
    assert {event["id"] for event in there.events()} == {shop.events()[0].id}
    assert {verified(request, there.secret)["id"] for request in there.got} == {shop.events()[0].id}
    assert shop.webhook(id).failures == 1


def hurry(shop: Shop, delivery: Delivery) -> None:
    """As if its pause were over."""
    with shop.runtime.db.begin() as session:
        session.get_one(Delivery, delivery.id).due_at = work.clock(session)
        wake(session, delivery.webhook_id)


def test_retry_after_is_honoured(quick: Shop) -> None:
    with receiver(answer("503 Busy", "Retry-After: 1000")) as there, quick.working():
        id = quick.verified(there)
        quick.tell()
        until(lambda: quick.attempts(id), "it was tried")
    [delivery], [attempt] = quick.deliveries(id), quick.attempts(id)
    assert 1000 <= (delivery.due_at - attempt.created_at).total_seconds() <= 1202


def test_a_failure_is_tried_again_by_itself(shop: Shop) -> None:
    failing = iter([True])
    with (
        receiver(lambda r, q, peer: peer.reply("500 X" if next(failing, False) else "200 OK")) as there,
        shop.working(),
    ):
        id = shop.verified(there, schedule="1")
        shop.tell()
        sort_out(shop, id, {"delivered"})
    assert [(a.number, a.status) for a in shop.attempts(id)] == [(1, 500), (2, 200)]
    assert 0.7 <= there.at[1] - there.at[0] <= 4


def test_what_a_dead_process_had_is_sent_again_under_its_id(shop: Shop) -> None:
    """The claim of a process that died counts as an attempt, and not as a failure of the endpoint."""
    with receiver() as there:
        with shop.working():
            id = shop.verified(there)
        [event_id] = shop.tell()
        [delivery] = shop.deliveries(id)
        shop.set(Delivery, delivery.id, state="sending", attempts=1, due_at=now() - timedelta(seconds=1))
        with shop.working():
            sort_out(shop, id, {"delivered"})
    assert [event["id"] for event in there.events()] == [event_id]
    assert [(a.number, a.error_code) for a in shop.attempts(id)] == [(1, "interrupted"), (2, None)]
    assert shop.deliveries(id)[0].failures == 0


def test_what_is_on_its_way_when_the_process_ends_is_finished_or_tried_again(quick: Shop) -> None:
    def slow(receiver: Receiver, request: Request, peer: Peer) -> None:
        peer.over.wait(0.5)
        peer.reply("200 OK")

    with receiver(slow) as there:
        with quick.working():
            id = quick.verified(there)
            quick.tell()
            until(lambda: there.got, "it is on its way")
            quick.runtime.closing.close()
        assert [delivery.state for delivery in quick.deliveries(id)] == ["delivered"]


def test_an_outcome_that_cannot_be_stored_costs_its_delivery_alone(
    shop: Shop, capfd: pytest.CaptureFixture[str]
) -> None:
    """The thread that stores is one, and a process whose threads break ends: so it must outlive mistakes."""
    with receiver() as there, receiver() as other, shop.working():
        bad, good = shop.verified(there), shop.verified(other)
        # what the next attempt would be stored as is there: no two attempts of a delivery have one number
        there.answering = other.answering = lambda r, q, peer: (peer.over.wait(0.3), peer.reply("200 OK"))
        [event_id] = shop.tell()
        [delivery] = shop.deliveries(bad)
        taken = {"organization_id": ORG, "delivery_id": delivery.id, "webhook_id": bad}
        with shop.runtime.db.begin() as session:
            session.add(Attempt(number=1, milliseconds=1, **taken))
        sort_out(shop, bad, {"failed"})
        sort_out(shop, good, {"delivered"})
        shop.tell()
        until(lambda: {d.state for d in shop.deliveries(good)} == {"delivered"}, "it goes on")
        until(lambda: [d.state for d in shop.deliveries(bad)] == ["failed", "delivered"], "for both")
    assert [event["id"] for event in there.events()].count(event_id) == 1
    assert "cannot be written down" in "".join(capfd.readouterr())


# --- endpoints that fail -------------------------------------------------------------------------------


def failing_for(shop: Shop, webhook_id: str, **span: float) -> None:
    shop.set(Webhook, webhook_id, failing_since=now() - timedelta(**span))


def test_an_endpoint_that_fails_for_an_hour_is_disabled_and_told_of_once(shop: Shop) -> None:
    """W5: not by ten in less than an hour, not by fewer in more; then it gets what it missed, once each."""
    is_up: list[bool] = []
    with (
        receiver(lambda r, q, peer: peer.reply("200 OK" if is_up else "500 X")) as there,
        receiver() as other,
        shop.working(),
    ):
        id = shop.verified(there, "stream.*", schedule="3600")
        shop.verified(other, "webhook.disabled")
        start = now()
        lost = [give_up(shop, id) for _ in range(9)]
        failing_for(shop, id, hours=2)
        assert (shop.webhook(id).failures, shop.webhook(id).status) == (9, "active")
        failing_for(shop, id, minutes=30)
        lost += [give_up(shop, id) for _ in range(2)]
        assert (shop.webhook(id).failures, shop.webhook(id).status) == (11, "active")
        failing_for(shop, id, minutes=61)
        lost.append(give_up(shop, id))
        until(lambda: shop.webhook(id).status == "disabled", "it is disabled")
        until(lambda: other.got, "the other is told")
        until(lambda: all(m.sent_at for m in shop.rows(select(Mail))), "the mail is sent")
        missed = shop.tell(count=3)
        with shop.act() as act:
            service.enable_webhook(act, id, start)
        count = len(there.got)
        is_up.append(True)
        until(lambda: len(there.got) == count + len(lost) + len(missed), "all has arrived")
        sort_out(shop, id, {"delivered"})
    assert sorted(event["id"] for event in there.events()[count:]) == sorted(lost + missed)
    assert [event["data"] for event in other.events()] == [
        {"webhook_id": id, "url": there.server.url.rstrip("/"), "reason": "failing"}
    ]
    [mail] = shop.rows(select(Mail))
    assert (mail.kind, mail.recipient) == ("webhook_disabled", "ann@example.com")
    actions = shop.rows(
        select(AuditRecord.action).where(AuditRecord.object_id == id).order_by(AuditRecord.id)
    )
    assert actions == ["webhook.created", "webhook.verified", "webhook.disabled", "webhook.enabled"]
    assert shop.webhook(id).failures == 0


def give_up(shop: Shop, webhook_id: str) -> str:
    """An event whose delivery fails as often as it is tried: its id."""
    [event_id] = shop.tell()
    one = select(Delivery).where(Delivery.event_id == event_id, Delivery.webhook_id == webhook_id)
    until(lambda: shop.rows(one)[0].failures == 1, "it has failed")
    hurry(shop, shop.rows(one)[0])
    until(lambda: shop.rows(one)[0].state == "failed", "it is given up")
    return event_id


def test_success_in_between_begins_the_count_anew(quick: Shop) -> None:
    with receiver() as there, quick.working():
        id = quick.verified(there)
        quick.set(Webhook, id, failures=9, failing_since=now() - timedelta(hours=5))
        quick.tell()
        sort_out(quick, id, {"delivered"})
    assert (quick.webhook(id).failures, quick.webhook(id).failing_since) == (0, None)


def test_410_disables_at_once(quick: Shop) -> None:
    """W4."""
    with receiver(answer("410 Gone")) as there, quick.working():
        id = quick.verified(there)
        quick.tell("str_a", count=3)
        until(lambda: quick.webhook(id).status == "disabled", "it is disabled")
        sort_out(quick, id, {"failed"})
    assert quick.webhook(id).disabled_reason == "gone"
    assert len(there.got) == 1


def test_what_opens_an_endpoint_is_told_nobody_when_it_is_disabled(quick: Shop) -> None:
    """Its address may be the secret: credentials, a path as chats have it, a token in the query."""
    wanted = WebhookCreate(url="https://ann:secret1@hooks.example.com:8443/secret2?t=secret3#secret4")
    with quick.act() as act:
        webhook, _ = service.create_webhook(act, wanted)
    with quick.runtime.db.begin() as session:
        row = session.get_one(Webhook, webhook.id)
        disable(session, quick.runtime, row, "gone", "HTTP 410", failures=1)
    [event], [mail] = quick.events(), quick.rows(select(Mail))
    assert event.data["url"] == "https://hooks.example.com:8443"
    assert mail.context["url"] == f"https://hooks.example.com:8443 ({webhook.id})"
    assert "secret" not in f"{event.data}{mail.context}"


def test_hanging_endpoints_delay_nobody_else(shop: Shop) -> None:
    """W8 with eight that hang, of which each event is one more to send, and half as many threads."""
    hang = lambda r, q, peer: peer.over.wait(PATIENCE)  # noqa: E731
    with receiver(hang) as hanging, receiver() as there, shop.working(4):
        for _ in range(8):
            shop.verified(hanging)
        id = shop.verified(there)
        waits: list[float] = []
        for number in range(20):
            began = time.monotonic()
            shop.tell(f"str_{number}")
            until(lambda n=number: len(there.got) > n, "it has arrived")
            waits.append(there.at[number] - began)
        sort_out(shop, id, {"delivered"})
        hanging.server.over.set()
    assert sorted(waits)[18] <= 2.0, sorted(waits)


# --- secrets, addresses --------------------------------------------------------------------------------


def test_both_secrets_sign_for_a_day(shop: Shop) -> None:
    """W6."""
    with receiver() as there, shop.working():
        id = shop.verified(there)
        with shop.act() as act:
            _, new = service.rotate_secret(act, id)
        shop.tell()
        sort_out(shop, id, {"delivered"})
        until_ = shop.webhook(id).old_secret_until
        assert until_ is not None
        assert 86_390 <= (until_ - now()).total_seconds() <= 86_400
        shop.set(Webhook, id, old_secret_until=now())
        shop.tell()
        until(lambda: len(there.got) == 2, "it has arrived")
        sort_out(shop, id, {"delivered"})
    first, second = there.got
    for secret in (there.secret, new):
        assert verified(first, secret)
    assert first.headers["x-tldr-signature"].count("sha256=") == 2
    assert verified(second, new)
    assert len(second.headers["webhook-signature"].split()) == 1


def test_no_secret_is_stored_or_logged_as_it_is(quick: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    """W10."""
    with receiver() as there, quick.working():
        id = quick.verified(there)
        with quick.act() as act:
            _, new = service.rotate_secret(act, id)
        quick.tell()
        sort_out(quick, id, {"delivered"})
    with quick.runtime.db.read() as session:
        dump = "".join(
            str(row)
            for table in Webhook.metadata.sorted_tables
            for row in session.execute(text(f'SELECT * FROM "{table.name}"'))
        )
    logs = "".join(capfd.readouterr())
    for secret in (there.secret, new):
        plain = secret.removeprefix("whsec_")
        assert plain not in dump
        assert plain not in logs


def test_addresses_are_judged_at_each_connection(shop: Shop) -> None:
    """W9: a network that was open when the endpoint was saved, and is not any more."""
    with receiver() as there:
        with shop.working():
            id = shop.verified(there, schedule="3600")
        shop.runtime.closing.close()  # the next to send has the policy of then
        shop.runtime.policy = type(shop.runtime.policy)(ca_file=shop.runtime.policy.ca_file)
        shop.runtime.kinds = {**shop.runtime.kinds, "deliver": deliveries.Courier().kind()}
        before = there.server.connections
        with shop.working():
            shop.tell()
            until(lambda: shop.attempts(id), "it was tried")
    [attempt] = shop.attempts(id)
    assert (attempt.status, attempt.error_code, attempt.answer) == (None, "address_not_allowed", None)
    assert there.got == []
    assert there.server.connections == before


# --- what is not wanted any more, and what is too old ---------------------------------------------------


def test_one_or_all_that_were_missed_are_sent_again(shop: Shop) -> None:
    with receiver() as there, shop.working():
        start = now()
        early = shop.tell(count=2)  # before there was an endpoint
        id = shop.verified(there)
        late = shop.tell(count=2)
        sort_out(shop, id, {"delivered"})
        with shop.act() as act:
            service.redeliver(act, id, shop.deliveries(id)[0].id)
        until(lambda: len(there.got) == 3, "it has arrived again")
        sort_out(shop, id, {"delivered"})
        with shop.act() as act:
            service.resend_missed(act, id, start)
        until(lambda: len(there.got) == 5, "the others have arrived")
        until(lambda: shop.webhook(id).missed_after is None, "all were looked at")
        sort_out(shop, id, {"delivered"})
    assert sorted(event["id"] for event in there.events()) == sorted([*early, *late, late[0]])


def test_what_a_deleted_endpoint_had_is_gone(shop: Shop) -> None:
    with receiver(answer("500 X")) as there, shop.working():
        id = shop.verified(there)
        shop.tell(count=2)
        until(lambda: shop.attempts(id), "it was tried")
        with shop.act() as act:
            service.delete_webhook(act, id)
        until(
            lambda: (
                {w.state for w in shop.rows(select(Work).where(Work.key == id))} <= {"cancelled", "failed"}
            )
        )
        shop.tell()
    assert shop.rows(select(Delivery).where(Delivery.webhook_id == id)) == []
    assert shop.rows(select(Attempt).where(Attempt.webhook_id == id)) == []


def test_work_that_names_anothers_endpoint_is_dropped_and_written_down(shop: Shop) -> None:
    """T5."""
    with receiver() as there, shop.working():
        id = shop.verified(there)
        with shop.runtime.db.begin() as session:
            enqueue(session, "deliver", organization_id="org_2", object_id=id, key="x", priority="soon")
        until(lambda: shop.rows(select(Work).where(Work.key == "x"))[0].state == "failed", "it is dropped")
    [record] = shop.rows(select(AuditRecord).where(AuditRecord.action == "work.dropped"))
    assert (record.object_id, record.details["said"], record.actor) == (id, "org_2", "system")


def test_threads_end_with_the_runtime_they_are_for(quick: Shop) -> None:
    def names() -> set[str]:
        return {thread.name for thread in threading.enumerate()} & {"webhook-sender", "webhook-recorder"}

    with receiver() as there, quick.working():
        id = quick.verified(there)
        quick.tell()
        sort_out(quick, id, {"delivered"})
        assert len(names()) == 2
    quick.runtime.closing.close()
    until(lambda: not names(), "they end")


def test_old_events_and_deliveries_go(shop: Shop) -> None:
    kept = timedelta(days=shop.runtime.settings.events_kept_days)
    with receiver() as there, shop.working():
        id = shop.verified(there)
        shop.tell(count=2)
        sort_out(shop, id, {"delivered"})
    old, young = (first_id("dlv", now() - kept + timedelta(hours=h)) for h in (-1, 1))
    with shop.runtime.db.begin() as session:
        for row, name in zip(shop.deliveries(id), (old, young), strict=True):
            found = session.get_one(Delivery, row.id)
            event = session.get_one(Event, row.event_id)
            session.add(Event(id=name.replace("dlv", "evt"), organization_id=ORG, type=event.type, data={}))
            session.add(
                Delivery(
                    id=name, organization_id=ORG, webhook_id=id, event_id=name.replace("dlv", "evt"),
                    event_type=found.event_type, state="delivered",
                )
            )  # fmt: skip
            session.flush()
            session.add(
                Attempt(organization_id=ORG, delivery_id=name, webhook_id=id, number=1, milliseconds=1)
            )
    sweep = sweep_of(deliveries.DELIVERIES_OVER, deliveries.EVENTS_OVER)
    shop.runtime.kinds = kinds_of(sweep)
    with shop.runtime.db.begin() as session:
        enqueue(session, "sweep", key="periodic", priority="soon")
    assert run_one(shop.runtime, owner="test", priorities=LIGHT)
    assert old not in {row.id for row in shop.deliveries(id)}
    assert young in {row.id for row in shop.deliveries(id)}
    assert len(shop.deliveries(id)) == 3
    assert {row.delivery_id for row in shop.attempts(id)} == {row.id for row in shop.deliveries(id)}
    assert len(shop.events()) == 3
