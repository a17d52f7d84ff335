"""The target of a client is checked when the client is made, and a proxy of the environment never stands before it."""

from __future__ import annotations

import pytest

import oofgg
import oofgg.sync
from oofgg._target import parse_target

WRONG = {
    "": "is empty",
    "localhost": "write 'localhost:8080'",
    "localhost:": "write 'localhost:8080'",
    "http://localhost:8080": "write 'localhost:8080', without a scheme",
    "https://play.example.org:443/": "write 'play.example.org:443', without a scheme; credentials=",
    "https://play.example.org": "write host:port",
    "ws://localhost:8080": "has the scheme 'ws'",
    " localhost:8080": "contains a space",
    "localhost :8080": "contains a space",
    "localhost:8080\n": "contains a space",
    "localhost:eighty": "is not an address",
    "localhost:8080/v1": "is not an address",
    "ada@localhost:8080": "is not an address",
    "localhost:0": "ports are from 1 to 65535",
    "localhost:65536": "ports are from 1 to 65535",
    "::1": r"write '\[::1\]:8080'",
    "[::1]": r"write '\[::1\]:8080'",
    ":8080": "is not an address",
}
RIGHT = {
    "localhost:8080": True,
    "LOCALHOST:8080": True,
    "127.0.0.1:8080": True,
    "127.8.8.8:1": True,
    "[::1]:8080": True,
    "unix:/run/oofgg.sock": True,
    "ipv4:127.0.0.1:8080": True,
    "dns:///localhost:8080": True,
    "dns:///play.example.org:443": False,
    "play.example.org:443": False,
    "192.168.0.7:8080": False,
    "[2001:db8::1]:8080": False,
}


@pytest.mark.parametrize("package", [oofgg, oofgg.sync], ids=["oofgg", "oofgg.sync"])
@pytest.mark.parametrize("target", WRONG)
def test_a_target_that_cannot_be_one_is_refused_when_the_client_is_made(package: type[oofgg], target: str) -> None:  # type: ignore[valid-type]
    with pytest.raises(ValueError, match=WRONG[target]):
        package.Client(target)  # type: ignore[attr-defined]


def test_a_target_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="such as 'localhost:8080'"):
        oofgg.Client(8080)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", RIGHT)
def test_a_target_is_known_to_be_this_machine_or_not(target: str) -> None:
    oofgg.Client(target)
    assert parse_target(target).is_loopback is RIGHT[target]


@pytest.mark.parametrize(
    ("target", "environment", "variable"),
    [
        ("localhost:8080", {"http_proxy": "http://proxy:3128"}, ""),
        ("127.0.0.1:8080", {"https_proxy": "http://proxy:3128"}, ""),
        ("[::1]:8080", {"grpc_proxy": "http://proxy:3128"}, ""),
        ("play.example.org:443", {}, ""),
        ("play.example.org:443", {"http_proxy": "http://proxy:3128"}, "http_proxy"),
        ("play.example.org:443", {"http_proxy": "http://a:1", "grpc_proxy": "http://b:1"}, "grpc_proxy"),
        ("play.example.org:443", {"http_proxy": "http://proxy:3128", "no_proxy": "play.example.org"}, ""),
        ("play.example.org:443", {"http_proxy": "http://proxy:3128", "NO_PROXY": "example.org"}, ""),
        ("play.example.org:443", {"http_proxy": "http://proxy:3128", "NO_PROXY": "other, .example.org"}, ""),
        ("play.example.org:443", {"http_proxy": "http://proxy:3128", "NO_PROXY": "*"}, ""),
        ("10.1.2.3:443", {"http_proxy": "http://proxy:3128", "no_proxy": "10.0.0.0/8"}, ""),
        ("play.example.org:443", {"http_proxy": "http://proxy:3128", "NO_PROXY": "le.org, 10.0.0.0/8"}, "http_proxy"),
    ],
)
def test_no_proxy_is_used_for_this_machine_and_for_hosts_that_either_spelling_of_no_proxy_names(
    monkeypatch: pytest.MonkeyPatch, target: str, environment: dict[str, str], variable: str
) -> None:
    for name in ("grpc_proxy", "http_proxy", "https_proxy", "no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = parse_target(target)
    assert found.proxy_variable == variable
    assert ("variable " in found.advice()) is bool(variable)
    assert variable in found.advice()
    assert ("make up" in found.advice()) is found.is_loopback
