"""The routes are what the options in the protos say."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto
from hypothesis import given
from hypothesis import strategies as st

from envoy.routes import CLUSTERS, Access, PolicyError, RateClass, Route, public_routes, read_descriptors
from oofgg.v1 import access_pb2

DESCRIPTORS = read_descriptors()
METHODS = {
    f"/{file.package}.{service.name}/{method.name}": method
    for file in DESCRIPTORS.file
    for service in file.service
    for method in service.method
}
ROUTES = {route.path: route for route in public_routes(DESCRIPTORS)}

tokens = st.lists(st.sampled_from([2, 3, 4, 5]), min_size=1, max_size=4, unique=True)
declared_access: st.SearchStrategy[list[int]] = st.one_of(st.just([]), st.just([access_pb2.ACCESS_PUBLIC]), tokens)
method_names = st.from_regex(r"[A-Z][A-Za-z]{0,12}", fullmatch=True)


@st.composite
def methods(draw: st.DrawFn) -> MethodDescriptorProto:
    method = MethodDescriptorProto(
        name=draw(method_names), client_streaming=draw(st.booleans()), server_streaming=draw(st.booleans())
    )
    method.options.Extensions[access_pb2.access].extend(
        access_pb2.Access.ValueType(value) for value in draw(declared_access)
    )
    method.options.Extensions[access_pb2.rate_limit] = draw(st.sampled_from(access_pb2.RateLimit.values()))
    return method


def one_service(declared: list[MethodDescriptorProto], service: str = "AuthService") -> FileDescriptorSet:
    descriptors = FileDescriptorSet()
    file = descriptors.file.add(name="x.proto", package="oofgg.v1")
    file.service.add(name=service).method.extend(declared)
    return descriptors


def test_every_public_rpc_has_exactly_one_route() -> None:
    declared = {path for path, method in METHODS.items() if method.options.Extensions[access_pb2.access]}
    assert len(public_routes(DESCRIPTORS)) == len(ROUTES)
    assert ROUTES.keys() == declared
    assert len(declared) > 25


@pytest.mark.parametrize("path", sorted(ROUTES))
def test_a_route_is_what_the_option_says(path: str) -> None:
    assert_follows(ROUTES[path], METHODS[path])
    assert ROUTES[path].cluster == CLUSTERS[path.split("/")[1].rpartition(".")[2]]


@given(st.lists(methods(), max_size=8, unique_by=lambda method: method.name))
def test_whatever_the_protos_declare_the_routes_follow(declared: list[MethodDescriptorProto]) -> None:
    routes = {route.method: route for route in public_routes(one_service(declared))}
    for method in declared:
        if method.options.Extensions[access_pb2.access]:
            assert_follows(routes.pop(method.name), method)
    assert not routes


def assert_follows(route: Route, method: MethodDescriptorProto) -> None:
    numbers = set(method.options.Extensions[access_pb2.access])
    assert {f"ACCESS_{kind}" for kind in route.access} == {access_pb2.Access.Name(number) for number in numbers}
    assert route.public == (numbers == {access_pb2.ACCESS_PUBLIC})
    limit = method.options.Extensions[access_pb2.rate_limit] or access_pb2.RATE_LIMIT_READ
    assert f"RATE_LIMIT_{route.rate_class}" == access_pb2.RateLimit.Name(limit)
    assert route.client_streaming == method.client_streaming
    assert route.server_streaming == method.server_streaming


def test_the_enums_here_are_those_of_the_proto() -> None:
    assert [f"ACCESS_{kind}" for kind in Access] == access_pb2.Access.keys()[1:]
    assert [f"RATE_LIMIT_{kind}" for kind in RateClass] == access_pb2.RateLimit.keys()[1:]


def test_json_paths_are_read_from_the_protos() -> None:
    paths = {route.method: (route.json.method, route.json.path) for route in ROUTES.values() if route.json}
    assert paths["Login"] == ("POST", "/v1/auth/login")
    assert paths["GetAccount"] == ("GET", "/v1/auth/account")
    identity = {f"oofgg.v1.{name}Service" for name in ("Auth", "Account", "Classic")}
    with_json = {route.service for route in ROUTES.values() if route.json}
    assert with_json == identity | {"oofgg.v1.LeaderboardService", "oofgg.v1.MatchmakingService"}
    missing = {route.method for route in ROUTES.values() if route.service in identity and not route.json}
    assert missing == {"ExportAccount"}, "a stream of pieces"


def rpc(*access: int, limit: int = 2) -> MethodDescriptorProto:
    """An RPC with these raw values, which the Python enums would not all let through."""
    method = MethodDescriptorProto(name="Call")
    values = [(50801, value) for value in access] + [(50802, limit)]
    method.options.MergeFromString(b"".join(varint(number << 3) + varint(value) for number, value in values))
    return method


def varint(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + varint(rest) if rest else bytes([head])


@pytest.mark.parametrize(
    ("declared", "service", "complaint"),
    [
        (rpc(1), "NewService", "no cluster"),
        (rpc(0), "AuthService", "not known"),
        (rpc(1, 2), "AuthService", "at once"),
        (rpc(99), "AuthService", "not known"),
        (rpc(1, limit=99), "AuthService", "not known"),
    ],
    ids=["service without a cluster", "unspecified", "public and player", "unknown access", "unknown class"],
)
def test_what_cannot_be_routed_is_refused(declared: MethodDescriptorProto, service: str, complaint: str) -> None:
    with pytest.raises(PolicyError, match=complaint):
        public_routes(one_service([declared], service))
