"""Fills Envoy's one template for an environment."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

import jinja2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from envoy.certificates import Certificate
from envoy.classic import ENDPOINTS, SERVICE
from envoy.json_bodies import UNKNOWN_FIELDS_HEADER, script
from envoy.limited import COUNTED_BY, refusals
from envoy.replies import local_replies
from envoy.routes import CLUSTERS, RateClass, Route, public_routes, read_descriptors

TEMPLATE = Path(__file__).with_name("envoy.yaml.j2")

# Names a client might hope that a service believes. Nothing here reads them; they are dropped so that nothing ever can.
STRIPPED_HEADERS = (
    "x-oofgg-user",
    "x-oofgg-role",
    "x-oofgg-game",
    "x-oofgg-caller",
    "x-oofgg-client-address",
    UNKNOWN_FIELDS_HEADER,
    "x-oofgg-sane-request-id",
    "x-user-id",
    "x-user-role",
    "x-user-roles",
    "x-forwarded-user",
    "x-jwt-payload",
    "x-envoy-external-address",
    "x-envoy-original-path",
    # A trace begins here: nobody outside decides what is traced.
    "traceparent",
    "tracestate",
    "baggage",
    "x-client-trace-id",
    "x-envoy-force-trace",
)
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
SANE_REQUEST_ID = (
    "%CEL(request.id.matches('^[A-Za-z0-9][A-Za-z0-9._-]*$') && request.id.size() <= 64 ? request.id : '')%"
)


class Environment(StrEnum):
    """Where the platform runs."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


@dataclass(frozen=True)
class Address:
    """A host, by name or number, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `host:port`. Raises ValueError."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"not host:port: {text!r}")
        return cls(host.strip("[]"), int(port))


@dataclass(frozen=True)
class Rate:
    """A token bucket: `burst` calls at once, `per_minute` in the long run."""

    burst: int
    per_minute: int

    @property
    def interval_seconds(self) -> float:
        """Time between refills; Envoy allows no less than 50 ms."""
        return max(0.05, 60 / self.per_minute)

    @property
    def tokens(self) -> int:
        """Tokens of one refill."""
        return max(1, round(self.per_minute * self.interval_seconds / 60))


@dataclass(frozen=True)
class Limits:
    """Figures of one rate-limit class. Buckets are per Envoy."""

    per_address: Rate | None
    per_user: Rate | None


DEFAULT_LIMITS = {
    RateClass.CREDENTIAL: Limits(per_address=Rate(20, 60), per_user=Rate(10, 20)),
    RateClass.READ: Limits(per_address=Rate(600, 18_000), per_user=Rate(150, 3_000)),
    RateClass.WRITE: Limits(per_address=Rate(300, 9_000), per_user=Rate(60, 1_200)),
    RateClass.STREAM: Limits(per_address=Rate(600, 30_000), per_user=Rate(120, 6_000)),
}


@dataclass(frozen=True)
class Tls:
    """The listener with TLS."""

    listener: Address
    secret_file: Path
    """Absolute; holds what `tls_secret` returns."""


@dataclass(frozen=True)
class Traces:
    """Where spans go, as OTLP over gRPC, and for which share of the calls."""

    collector: Address
    ratio: float = 1.0

    @classmethod
    def parse(cls, endpoint: str, ratio: float = 1.0) -> Traces | None:
        """Reads `http://host:port`; None for an empty text. Raises ValueError."""
        if not endpoint:
            return None
        if not endpoint.startswith("http://"):
            raise ValueError(f"a collector is named as http://host:port, not {endpoint!r}")
        return cls(Address.parse(endpoint.removeprefix("http://").rstrip("/")), ratio)

    @property
    def percent(self) -> float:
        """The share as Envoy takes it."""
        return self.ratio * 100


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything in which one environment's Envoy differs from another's."""

    environment: Environment
    listener: Address
    admin_port: int
    """On 127.0.0.1: whoever reaches it can stop Envoy."""
    tls: Tls | None = None
    traces: Traces | None = None
    jwks: Address
    """The ops HTTP address of `auth`."""
    edge: Address | None = None
    """Where `edge` tells the endpoints of services. None takes `clusters`."""
    clusters: dict[str, Address] = field(default_factory=dict)
    """Without edge: where each service of `envoy.routes.CLUSTERS` answers gRPC; names are resolved again every 2 s."""
    jwks_path: str = "/.well-known/jwks.json"
    jwks_cache_seconds: int = 60
    """A new signing key has to be published this long before it signs."""
    access_log: bool = True
    cors_origins: tuple[str, ...] = ()
    """Origins such as `https://play.example.com`; `http://localhost:*` means any port, `*` alone everything."""
    limits: dict[RateClass, Limits] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    lift_limits_on_loopback: bool = False
    """No rate limits for peers on 127.0.0.0/8 and ::1: for load tests."""
    descriptors: str | None = None
    """Path of `sdk/src/oofgg/v1/api.binpb`; None takes the one inside the installed `oofgg`."""
    max_body_bytes: int = 1 << 20
    max_heap_bytes: int = 1 << 30
    """Memory for buffers, connections and routes, near which Envoy gets rid of load."""
    unary_timeout_seconds: int = 30
    max_connections: int = 50_000
    trusted_proxies: int = 0
    """How many proxies stand before this one and append to X-Forwarded-For."""
    node_id: str = "envoy"


def render(inputs: Inputs) -> str:
    """The configuration as YAML, complete in itself.

    Raises `envoy.routes.PolicyError` when the protos cannot be routed, ValueError when an address or figure is missing.
    """
    missing = sorted(set(CLUSTERS.values()) - inputs.clusters.keys())
    if inputs.edge is not None and inputs.clusters:
        raise ValueError("name edge, or the addresses of the services, but not both")
    if inputs.edge is None and missing:
        raise ValueError(f"no address for {', '.join(missing)}")
    if "*" in inputs.cors_origins and inputs.environment is Environment.PRODUCTION:
        raise ValueError("name the CORS origins in production; `*` is for development")
    if inputs.lift_limits_on_loopback and inputs.environment is Environment.PRODUCTION:
        raise ValueError("rate limits cannot be lifted in production")
    descriptors = read_descriptors(inputs.descriptors)
    routes = public_routes(descriptors)
    development = inputs.environment is Environment.DEVELOPMENT
    template = jinja2.Environment(  # noqa: S701  (YAML, not HTML; every value goes in as JSON)
        loader=jinja2.FileSystemLoader(TEMPLATE.parent), undefined=jinja2.StrictUndefined
    ).get_template(TEMPLATE.name)
    return template.render(
        node_id=inputs.node_id,
        listener_host=inputs.listener.host,
        listener_port=inputs.listener.port,
        tls=inputs.tls,
        traces=inputs.traces,
        admin_port=inputs.admin_port,
        access_log=inputs.access_log,
        max_connections=inputs.max_connections,
        max_body_bytes=inputs.max_body_bytes,
        max_heap_bytes=inputs.max_heap_bytes,
        unary_timeout_seconds=inputs.unary_timeout_seconds,
        trusted_proxies=inputs.trusted_proxies,
        stripped_headers=STRIPPED_HEADERS,
        sane_request_id=SANE_REQUEST_ID,
        local_replies=list(local_replies(refusals(inputs.limits, development=development))),
        json_methods=_json_methods(routes),
        json_script=script(descriptors, routes),
        classic_scripts={f"/{SERVICE}/{endpoint.method}": endpoint.lua for endpoint in ENDPOINTS},
        json_services=sorted({route.service for route in routes if route.json is not None}),
        json_descriptors=base64.b64encode(json_descriptors(descriptors)).decode(),
        address_limits=_buckets(inputs, user=False),
        user_limits=_buckets(inputs, user=True),
        lift_limits_on_loopback=inputs.lift_limits_on_loopback,
        jwks_uri=f"http://{_authority(inputs.jwks)}{inputs.jwks_path}",
        jwks_host=inputs.jwks.host,
        jwks_port=inputs.jwks.port,
        jwks_cache_seconds=inputs.jwks_cache_seconds,
        methods_by_service=_methods_by_service(routes),
        cors_origins=[_origin_matcher(origin) for origin in inputs.cors_origins],
        routes=routes,
        counted_by=COUNTED_BY,
        reflection_services=REFLECTION if development else (),
        edge=inputs.edge,
        clusters=[
            {"name": name, **(asdict(inputs.clusters[name]) if inputs.edge is None else {})}
            for name in sorted(set(CLUSTERS.values()))
        ],
    )


def tls_secret(certificate: Certificate) -> str:
    """The content of a TLS listener's `secret_file`.

    Envoy reads the files again when one is moved into their directory. A pair that does not match is not taken: the
    old one stays until both are new.
    """
    secret = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "public",
        "tls_certificate": {
            "certificate_chain": {"filename": str(certificate.chain.absolute())},
            "private_key": {"filename": str(certificate.key.absolute())},
            "watched_directory": {"path": str(certificate.chain.absolute().parent)},
        },
    }
    return json.dumps({"resources": [secret]}, indent=1) + "\n"


def json_descriptors(descriptors: FileDescriptorSet) -> bytes:
    """The set for the JSON transcoder: what its services need, and the error details under their google.rpc names.

    Without those the transcoder could not print the details of a failed call. google.rpc.Status it brings itself.
    """
    files = {file.name: file for file in descriptors.file}
    wanted: dict[str, FileDescriptorProto] = {}
    services = {route.service for route in public_routes(descriptors) if route.json is not None}
    stack = [file.name for file in descriptors.file if services & {f"{file.package}.{s.name}" for s in file.service}]
    stack += files["oofgg/v1/errors.proto"].dependency
    while stack:
        name = stack.pop()
        if name not in wanted and not name.startswith("buf/"):
            wanted[name] = files[name]
            stack.extend(files[name].dependency)
    kept = FileDescriptorSet(file=[file for file in descriptors.file if file.name in wanted])
    kept.file.append(_google_rpc(files["oofgg/v1/errors.proto"]))
    for file in kept.file:
        file.ClearField("source_code_info")
        dependencies = [name for name in file.dependency if not name.startswith("buf/")]
        del file.dependency[:]
        file.dependency.extend(dependencies)
    return kept.SerializeToString(deterministic=True)


def _google_rpc(errors: FileDescriptorProto) -> FileDescriptorProto:
    """The error details of `oofgg.v1`, which have the form of google.rpc's, under that package."""
    file = FileDescriptorProto(name="google/rpc/errors.proto", package="google.rpc", syntax=errors.syntax)
    file.dependency.extend(errors.dependency)
    file.message_type.extend(message for message in errors.message_type if message.name != "Status")
    for message in file.message_type:
        for message_field in message.field:
            if message_field.type_name:
                message_field.type_name = message_field.type_name.replace(".oofgg.v1.", ".google.rpc.")
    return file


def _json_methods(routes: Sequence[Route]) -> dict[str, list[str]]:
    """The HTTP methods of every JSON path."""
    methods: dict[str, list[str]] = {}
    for route in routes:
        if route.json is not None:
            methods.setdefault(route.json.path, []).append(route.json.method)
    return methods


def _origin_matcher(origin: str) -> dict[str, object]:
    if origin == "*":
        return {"safe_regex": {"regex": ".*"}}
    if origin.endswith(":*"):
        return {"safe_regex": {"regex": re.escape(origin.removesuffix(":*")) + "(:[0-9]{1,5})?"}}
    return {"exact": origin}


def _buckets(inputs: Inputs, *, user: bool) -> list[dict[str, object]]:
    buckets: list[dict[str, object]] = []
    for rate_class in RateClass:
        limits = inputs.limits[rate_class]
        rate = limits.per_user if user else limits.per_address
        if rate is not None:
            refill = {"tokens": rate.tokens, "interval": f"{rate.interval_seconds:.3f}s"}
            buckets.append({"rate_class": rate_class.value, "burst": rate.burst, **refill})
    return buckets


def _methods_by_service(routes: list[Route]) -> dict[str, list[str]]:
    methods: dict[str, list[str]] = {}
    for route in routes:
        methods.setdefault(route.service, []).append(route.method)
    return methods


def _authority(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"
