"""A3: every operation × every scope, generated from the OpenAPI document."""

from __future__ import annotations

from tests.api.calls import operations
from tests.api.world import World
from tldr_highlight.tenancy.roles import SCOPES, Role, Scope

WITHOUT_SCOPE = {"get_me"}
"""What any key may call: it says which key it is."""


ENDS_LOGINS = {"log_out", "log_out_everywhere", "leave_organization", "end_cookie_session"}
"""After which the next call is not what the test is about; they take no role."""


def test_a_key_may_do_what_its_one_scope_says_and_nothing_else(light_world: World) -> None:
    """A fresh organization for each call: what one changes is not there for the next."""
    world = light_world
    wrong: list[str] = []
    for scope in Scope:
        for operation in operations(world):
            if operation.public or operation.id in WITHOUT_SCOPE:
                continue
            answer = operation.call(world, world.caller(scope))
            refused = answer.json() if answer.status_code == 403 else {}
            if not operation.takes_keys:
                right = bool(refused)
            elif operation.about["x-scope"] == scope:
                # a key that makes a key gives no more than it has: that is refused by the operation itself
                right = refused.get("required_scope") != scope and answer.status_code not in {401, 500}
            else:
                right = refused.get("required_scope") == operation.about["x-scope"]
            if not right:
                wrong.append(f"{operation.id} with {scope}: {answer.status_code} {answer.text[:150]}")
    assert wrong == []


def test_nothing_but_what_is_public_is_open(light_world: World) -> None:
    nobody = [
        operation.id
        for operation in operations(light_world)
        if not operation.public and operation.call(light_world, {}).status_code != 401
    ]
    assert nobody == []


def test_what_a_person_may_do_follows_from_their_role(light_world: World) -> None:
    wrong: list[str] = []
    ranks = {"owner": 4, "admin": 3, "member": 2, "viewer": 1}
    for role, rank in ranks.items():
        caller = light_world.person(light_world.organization(), role)
        for operation in operations(light_world):
            if operation.public or "x-operator" in operation.about or operation.id in ENDS_LOGINS:
                continue
            needed, scope = operation.about.get("x-role", "viewer"), operation.about.get("x-scope")
            may = rank >= ranks[needed] and (scope is None or Scope(scope) in SCOPES[Role(rank)])
            answer = operation.call(light_world, caller)
            refused = answer.status_code == 403 and answer.json()["code"] in {"scope_missing", "role_missing"}
            if refused == may:
                wrong.append(f"{operation.id} as {role}: {answer.status_code} {answer.text[:150]}")
    assert wrong == []


def test_operators_operations_are_theirs(light_world: World) -> None:
    theirs = [each for each in operations(light_world) if "x-operator" in each.about]
    assert theirs
    organization = light_world.organization()
    owner = light_world.person(organization)
    somebody = light_world.person(organization)
    user = light_world.client.get("/api/v1/me", headers=somebody).json()["user"]["id"]
    ids = {"organization_id": organization, "user_id": user}
    operator = light_world.person(light_world.organization(), "viewer", operator=True)
    for operation in theirs:
        assert operation.call(light_world, owner, **ids).status_code == 403
        answer = operation.call(light_world, operator, **ids)
        assert answer.status_code < 300, (operation.id, answer.text)
