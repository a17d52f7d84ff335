"""The policy of every RPC, read from the options in the protos.

One `Route` per RPC of the public package that declares `oofgg.v1.access`; an RPC without it has no route, and Envoy
answers UNIMPLEMENTED for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto, MethodOptions

from oofgg.v1 import access_pb2

PACKAGE = "oofgg.v1"

# Which cluster answers for a public service. A service that is not here cannot be routed, and rendering fails.
CLUSTERS = {
    "AuthService": "auth",
    "AccountService": "auth",
    "ClassicService": "auth",
    "GameService": "catalog",
    "SessionService": "game",
    "MatchmakingService": "matchmaking",
    "LeaderboardService": "scoring",
    "RatingService": "scoring",
    "HistoryService": "scoring",
}


class PolicyError(ValueError):
    """The protos declare something that cannot be routed."""


class Access(StrEnum):
    """Kind of caller, as `oofgg.v1.Access`."""

    PUBLIC = "PUBLIC"
    PLAYER = "PLAYER"
    DEVELOPER = "DEVELOPER"
    HOST = "HOST"
    ADMIN = "ADMIN"


class RateClass(StrEnum):
    """Rate-limit class, as `oofgg.v1.RateLimit`."""

    CREDENTIAL = "CREDENTIAL"
    READ = "READ"
    WRITE = "WRITE"
    STREAM = "STREAM"


@dataclass(frozen=True)
class JsonBinding:
    """The HTTP method and path under which an RPC can be called with JSON."""

    method: str
    path: str


@dataclass(frozen=True)
class Route:
    """One public RPC and how it is let through."""

    service: str
    """Full name of the service, such as `oofgg.v1.AuthService`."""
    method: str
    cluster: str
    access: tuple[Access, ...]
    """Never empty; PUBLIC stands alone."""
    rate_class: RateClass
    client_streaming: bool
    server_streaming: bool
    json: JsonBinding | None

    @property
    def path(self) -> str:
        """The exact HTTP/2 path of the RPC."""
        return f"/{self.service}/{self.method}"

    @property
    def public(self) -> bool:
        """Whether no token is asked for."""
        return self.access == (Access.PUBLIC,)

    @property
    def streaming(self) -> bool:
        """Whether either side sends more than one message."""
        return self.client_streaming or self.server_streaming


def read_descriptors(path: str | None = None) -> FileDescriptorSet:
    """The descriptor set of the public API: the file at `path`, or the one that ships inside `oofgg`."""
    if path is None:
        return FileDescriptorSet.FromString(resources.files("oofgg.v1").joinpath("api.binpb").read_bytes())
    with open(path, "rb") as file:
        return FileDescriptorSet.FromString(file.read())


def public_routes(descriptors: FileDescriptorSet) -> list[Route]:
    """Every route, in the order of the protos.

    Raises PolicyError for a service without a cluster, an access or rate-limit value this generator does not know,
    PUBLIC beside another kind of caller, and a JSON path used twice.
    """
    json_paths = _JsonPaths(descriptors)
    routes = [
        _route(f"{PACKAGE}.{service}", method, json_paths)
        for service, method in _methods(descriptors)
        if method.options.Extensions[access_pb2.access]
    ]
    seen: dict[JsonBinding, Route] = {}
    for route in routes:
        if route.json is not None and seen.setdefault(route.json, route) is not route:
            raise PolicyError(f"{route.path} and {seen[route.json].path} have the same JSON path {route.json.path}")
    return routes


def _methods(descriptors: FileDescriptorSet) -> Iterator[tuple[str, MethodDescriptorProto]]:
    for file in descriptors.file:
        if file.package == PACKAGE:
            for service in file.service:
                for method in service.method:
                    yield service.name, method


def _route(service: str, method: MethodDescriptorProto, json_paths: _JsonPaths) -> Route:
    name = f"/{service}/{method.name}"
    cluster = CLUSTERS.get(service.rpartition(".")[2])
    if cluster is None:
        raise PolicyError(f"{service} has no cluster; name one in envoy.routes.CLUSTERS")
    return Route(
        service=service,
        method=method.name,
        cluster=cluster,
        access=_access(name, method.options.Extensions[access_pb2.access]),
        rate_class=_rate_class(name, method.options.Extensions[access_pb2.rate_limit]),
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        json=json_paths.find(name, method.options),
    )


def _access(name: str, declared: Iterable[access_pb2.Access.ValueType]) -> tuple[Access, ...]:
    try:
        kinds = {Access(access_pb2.Access.Name(number).removeprefix("ACCESS_")) for number in declared}
    except ValueError:
        raise PolicyError(f"{name} declares an access that is not known here: {list(declared)}") from None
    if Access.PUBLIC in kinds and len(kinds) > 1:
        raise PolicyError(f"{name} is PUBLIC and asks for a token at once")
    return tuple(kind for kind in Access if kind in kinds)


def _rate_class(name: str, declared: access_pb2.RateLimit.ValueType) -> RateClass:
    if declared == access_pb2.RATE_LIMIT_UNSPECIFIED:
        return RateClass.READ
    try:
        return RateClass(access_pb2.RateLimit.Name(declared).removeprefix("RATE_LIMIT_"))
    except ValueError:
        raise PolicyError(f"{name} declares a rate-limit class that is not known here: {declared}") from None


class _JsonPaths:
    """Reads `google.api.http`, whose Python code nobody here has, by way of the descriptor set itself."""

    def __init__(self, descriptors: FileDescriptorSet) -> None:
        self._options: Any = None
        if not any(file.name == "google/api/annotations.proto" for file in descriptors.file):
            return
        pool = descriptor_pool.DescriptorPool()
        for file in descriptors.file:
            pool.Add(file)
        self._options = message_factory.GetMessageClass(pool.FindMessageTypeByName(MethodOptions.DESCRIPTOR.full_name))
        self._http: Any = pool.FindExtensionByName("google.api.http")

    def find(self, name: str, options: MethodOptions) -> JsonBinding | None:
        """The JSON path of an RPC, or None. Raises PolicyError for a form of the option that is not supported."""
        if self._options is None:
            return None
        parsed = self._options.FromString(options.SerializeToString())
        if not parsed.HasExtension(self._http):
            return None
        rule = parsed.Extensions[self._http]
        verb = rule.WhichOneof("pattern")
        if verb not in ("get", "post", "put", "patch", "delete") or rule.additional_bindings:
            raise PolicyError(f"{name}: only one plain HTTP method and path is supported")
        return JsonBinding(verb.upper(), getattr(rule, verb))
