"""Events on their way to real receivers over HTTPS, judged by what these got and by another's verifier."""

from __future__ import annotations

from tests.webhooks.shop import Shop, receiver, until, verified


def test_an_event_arrives_signed_and_in_the_contracts_shape(shop: Shop) -> None:
    with receiver() as there, shop.working():
        id = shop.verified(there)
        [event_id] = shop.tell("str_a")
        until(lambda: shop.settled(id) and shop.deliveries(id), "it is delivered")
    [request] = there.got
    body = verified(request, there.secret)
    assert list(body) == ["id", "type", "sequence", "created_at", "organization_id", "trace_id", "data"]
    assert (body["id"], body["type"], body["sequence"]) == (event_id, "stream.cancelled", 1)
    assert body["data"] == {"stream_id": "str_a", "highlights": 0}
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == event_id
    [delivery], [attempt] = shop.deliveries(id), shop.attempts(id)
    assert (delivery.state, delivery.attempts, delivery.failures) == ("delivered", 1, 0)
    assert (attempt.status, attempt.error_code, attempt.answer) == (200, None, "thanks")
