"""The template, for every environment."""

from __future__ import annotations

import base64
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from envoy.classic import ENDPOINTS
from envoy.limited import refusals
from envoy.reference import table
from envoy.render import DEFAULT_LIMITS, Address, Environment, Inputs, json_descriptors, render
from envoy.replies import REFUSALS, local_replies, status_details
from envoy.routes import CLUSTERS, RateClass, public_routes, read_descriptors
from oofgg.v1 import errors_pb2

ROOT = Path(__file__).parents[3]
ROUTES = public_routes(read_descriptors())
INPUTS = Inputs(
    environment=Environment.PRODUCTION,
    listener=Address("0.0.0.0", 8080),
    admin_port=9901,
    clusters={name: Address(name, 50051) for name in CLUSTERS.values()},
    jwks=Address("auth", 8081),
    cors_origins=("https://play.example.com",),
)
DEVELOPMENT = replace(INPUTS, environment=Environment.DEVELOPMENT)
JWT = "envoy.filters.http.jwt_authn"


def test_production_takes_nothing_meant_for_development() -> None:
    with pytest.raises(ValueError, match="rate limits"):
        render(replace(INPUTS, lift_limits_on_loopback=True))
    with pytest.raises(ValueError, match="CORS"):
        render(replace(INPUTS, cors_origins=("*",)))


def test_an_origin_may_leave_its_port_open() -> None:
    rendered = render(replace(INPUTS, cors_origins=("https://play.example.com", "http://localhost:*")))
    assert '{"exact": "https://play.example.com"}' in rendered
    assert "http://localhost(:[0-9]{1,5})?" in rendered


def test_a_service_without_an_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="game, matchmaking, scoring"):
        render(replace(INPUTS, clusters={"auth": Address("a", 1), "catalog": Address("a", 1)}))


def test_the_transcoder_gets_what_it_needs_and_no_more() -> None:
    held = FileDescriptorSet.FromString(json_descriptors(read_descriptors()))
    names = [file.name for file in held.file]
    assert "oofgg/v1/auth.proto" in names
    assert "google/rpc/errors.proto" in names
    assert not [name for name in names if name.startswith("buf/") or name == "oofgg/v1/game.proto"]
    assert not any(file.HasField("source_code_info") for file in held.file)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.when)
def test_a_refusal_carries_a_documented_reason(refusal: Any) -> None:
    status = errors_pb2.Status.FromString(status_details(refusal))
    info = errors_pb2.ErrorInfo.FromString(status.details[0].value)
    assert f"ERROR_REASON_{info.reason}" in dict(errors_pb2.ErrorReason.items())
    assert (status.code, info.domain) == (refusal.code, "oofgg")
    assert (len(status.details) == 2) == (refusal.retry_after is not None)


def test_refusals_are_for_grpc_and_for_json() -> None:
    replies = list(local_replies())
    each = 2 + len(ENDPOINTS)
    assert len(replies) == each * len(REFUSALS)
    for classic in (reply for first in range(1, each - 1) for reply in replies[first::each]):
        assert classic.json["error_message"]
        assert "code" not in classic.json
    for grpc_reply, json_reply in zip(replies[::each], replies[each - 1 :: each], strict=True):
        assert json_reply.expression in grpc_reply.expression
        encoded = dict(grpc_reply.headers)["grpc-status-details-bin"]
        decoded = errors_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
        assert decoded.code == json_reply.json["code"]


@pytest.mark.parametrize("development", [True, False])
def test_a_refused_call_is_told_the_limit_the_wait_and_in_development_how_to_lift_it(development: bool) -> None:
    found = list(refusals(DEFAULT_LIMITS, development=development))
    assert len(found) == 2 * len(RateClass)
    for refusal in found:
        assert refusal.retry_after is not None
        assert f"Wait {refusal.retry_after:g} s" in refusal.message
        assert ("--lift-limits" in refusal.message) is development
    assert len({refusal.message for refusal in found}) == len(found), "each names its own limit"


@pytest.mark.parametrize(("text", "host", "port"), [("auth:1", "auth", 1), ("[::1]:80", "::1", 80)])
def test_addresses(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize("text", ["", "auth", "auth:", ":80", "auth:x"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="not host:port"):
        Address.parse(text)


def test_the_table_in_the_docs_is_current() -> None:
    assert (ROOT / "docs/reference/rpcs.md").read_text() == table(ROUTES), "run `make proto`"


def on_the_command_line(*arguments: object) -> subprocess.CompletedProcess[str]:
    addresses = [argument for name in sorted(set(CLUSTERS.values())) for argument in (f"--{name}", f"{name}:50051")]
    command = [sys.executable, "-m", "envoy", "render", "--jwks", "auth:8081", *addresses, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)


def test_the_command_line_renders() -> None:
    printed = on_the_command_line().stdout
    assert all(f'address: "{name}", port_value: 50051' in printed for name in CLUSTERS.values())
    assert "public_tls" not in printed


def test_the_command_line_makes_a_certificate_while_there_is_none(tmp_path: Path) -> None:
    output, own = tmp_path / "envoy.yaml", tmp_path / "own.pem"
    listen = ("--output", output, "--tls-listen", "0.0.0.0:8443", "--tls-development", tmp_path / "made")
    done = on_the_command_line(*listen, "--tls-certificate", own, "--tls-key", own)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "tls.json") in output.read_text()
    assert str(tmp_path / "made/tls.key") in (tmp_path / "tls.json").read_text()
    own.write_text("not a certificate")
    done = on_the_command_line(*listen, "--tls-certificate", own, "--tls-key", own)
    assert (done.returncode, done.stderr) == (1, f"{own} holds no certificate in PEM form\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--output", "x"], "needs --tls-certificate and --tls-key, or --tls-development", id="neither"),
        pytest.param(["--output", "x", "--tls-key", "k"], "go together", id="a key alone"),
        pytest.param([], "needs --output", id="nowhere to put it"),
    ],
)
def test_tls_without_what_it_needs(arguments: list[str], message: str) -> None:
    done = on_the_command_line("--tls-listen", "0.0.0.0:8443", *arguments)
    assert done.returncode == 1
    assert message in done.stderr


def test_the_command_line_renders_for_edge() -> None:
    command = [sys.executable, "-m", "envoy", "render", "--jwks", "auth:8081", "--edge", "edge:9002"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    assert printed == render(replace(INPUTS, clusters={}, edge=Address("edge", 9002), cors_origins=()))


def test_with_edge_endpoints_are_dynamic_and_nothing_else() -> None:
    bootstrap = yaml.safe_load(render(replace(INPUTS, clusters={}, edge=Address("edge", 9002))))
    assert bootstrap["dynamic_resources"].keys() == {"ads_config"}
    without = yaml.safe_load(render(INPUTS))
    static = bootstrap["static_resources"]
    assert static["listeners"] == without["static_resources"]["listeners"]
    clusters = {cluster["name"]: cluster for cluster in static["clusters"]}
    for plain in without["static_resources"]["clusters"]:
        dynamic = clusters.pop(plain["name"])
        if plain["name"] == "jwks":
            assert dynamic == plain
            continue
        assert dynamic["type"] == "EDS"
        assert dynamic["eds_cluster_config"]["service_name"] == plain["name"]
        assert dynamic["ignore_health_on_host_removal"] is True
        differing = {"cluster_type", "load_assignment", "type", "eds_cluster_config"}
        assert {key: value for key, value in dynamic.items() if key not in differing} == {
            key: value for key, value in plain.items() if key not in differing
        }
    assert clusters.keys() == {"edge"}


def test_endpoints_come_from_one_place() -> None:
    with pytest.raises(ValueError, match="not both"):
        render(replace(INPUTS, edge=Address("edge", 9002)))
