"""Access rules, validation and the binder."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import MethodDescriptor

from oofgg.v1 import (
    account_pb2,
    auth_pb2,
    classic_pb2,
    game_pb2,
    history_pb2,
    leaderboard_pb2,
    matchmaking_pb2,
    rating_pb2,
    session_pb2,
)
from pkg.auth.caller import Caller, CallerRole
from pkg.errors import InvalidArgument, PermissionDenied, Reason
from pkg.internal.v1 import catalog_pb2
from pkg.rpc.access import rule_of
from pkg.rpc.binder import snake_case
from pkg.rpc.reflection import Reflection, api_descriptors
from pkg.rpc.validation import MessageValidator

PUBLIC_MODULES = (
    auth_pb2,
    account_pb2,
    classic_pb2,
    game_pb2,
    session_pb2,
    matchmaking_pb2,
    leaderboard_pb2,
    history_pb2,
    rating_pb2,
)
METHODS = [
    method
    for module in PUBLIC_MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def caller(role: CallerRole) -> Caller:
    return Caller(user_id="u", username="n", role=role, game_id="", login_id="s")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
@pytest.mark.parametrize("role", list(CallerRole))
def test_every_rpc_lets_in_whom_it_declares_and_nobody_else(method: MethodDescriptor, role: CallerRole) -> None:
    rule = rule_of(method)
    assert rule.public or rule.roles, f"{method.full_name} declares no access"
    assert not rule.internal
    if rule.public or role in rule.roles:
        rule.check(caller(role))
    else:
        with pytest.raises(PermissionDenied) as caught:
            rule.check(caller(role))
        assert caught.value.reason is Reason.ACCESS_DENIED


def test_an_rpc_without_a_declaration_is_for_services_only() -> None:
    for method in catalog_pb2.DESCRIPTOR.services_by_name["GameDirectoryService"].methods:
        rule = rule_of(method)
        assert rule.internal
        rule.check(caller(CallerRole.SERVICE))
        for role in set(CallerRole) - {CallerRole.SERVICE}:
            with pytest.raises(PermissionDenied):
                rule.check(caller(role))


def test_violations_name_the_whole_path() -> None:
    result = session_pb2.Result(
        seats=[session_pb2.SeatResult(seat=1, placement=1), session_pb2.SeatResult(seat=2, placement=0)]
    )
    with pytest.raises(InvalidArgument) as caught:
        MessageValidator().check(session_pb2.FinishRequest(session_id="s", result=result))
    assert [violation.field for violation in caught.value.violations] == ["result.seats[1].placement"]
    with pytest.raises(InvalidArgument) as caught:
        MessageValidator().check(session_pb2.CreateSessionRequest(game_id="g", attributes={"map": "x" * 2000}))
    assert [violation.field for violation in caught.value.violations] == ["attributes[map]"]


def test_reflection_names_exactly_the_public_services() -> None:
    expected = {service.full_name for m in PUBLIC_MODULES for service in m.DESCRIPTOR.services_by_name.values()}
    assert set(Reflection().services) == expected
    assert not any(file.package.startswith("pkg.internal") for file in api_descriptors().file)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Join", "join"), ("GetLeaderboard", "get_leaderboard"), ("CreateApiKey", "create_api_key")],
)
def test_rpc_names_become_method_names(name: str, expected: str) -> None:
    assert snake_case(name) == expected
