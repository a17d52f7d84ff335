"""Under which address others reach a process."""

from __future__ import annotations

import base64
import socket
from typing import Any

import pytest
from pydantic import ValidationError

from pkg.config import Settings
from pkg.registry.address import advertised_address

SETTINGS: dict[str, Any] = {
    "postgres_url": "postgresql://here/x",
    "redis_url": "redis://here/0",
    "kafka_bootstrap": "here:1",
    "master_key": base64.b64encode(b"k" * 32).decode(),
    "service_secret": "s" * 32,
}
NAMES = {
    "here": ["127.0.0.1"],
    "calls": ["203.0.113.7", "127.0.0.1", "203.0.113.8"],
    "balancer": ["203.0.113.9"],
    "this-host": ["127.0.1.1"],
}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        if host not in NAMES:
            raise socket.gaierror(f"{host} is not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in NAMES[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "gethostname", lambda: "this-host")


@pytest.mark.parametrize(
    ("bound", "told", "expected"),
    [
        pytest.param("127.0.0.1:9000", "", "127.0.0.1:9000", id="what is bound"),
        pytest.param("here:9000", "", "127.0.0.1:9000", id="a name that is bound"),
        pytest.param("0.0.0.0:9000", "", "127.0.1.1:9000", id="all interfaces: the host's name"),
        pytest.param("[::]:9000", "", "127.0.1.1:9000", id="all of version 6 too"),
        pytest.param("0.0.0.0:9000", "192.0.2.1:80", "192.0.2.1:80", id="told, port and all"),
        pytest.param("0.0.0.0:9000", "192.0.2.1", "192.0.2.1:9000", id="told without a port"),
        pytest.param("0.0.0.0:9000", "[fd00::1]:80", "[fd00::1]:80", id="told in version 6"),
        pytest.param("0.0.0.0:9000", "fd00::1", "[fd00::1]:9000", id="told in version 6, without a port"),
        pytest.param("0.0.0.0:9000", "calls:9000", "127.0.0.1:9000", id="of a shared name, what is our own"),
        pytest.param("0.0.0.0:9000", "balancer:80", "203.0.113.9:80", id="a name of another machine"),
    ],
)
def test_addresses(bound: str, told: str, expected: str) -> None:
    assert advertised_address(bound, 9000, told) == expected


def test_a_name_without_an_address_says_what_to_set() -> None:
    with pytest.raises(OSError, match="OOFGG_ADVERTISE_ADDRESS"):
        advertised_address("0.0.0.0:9000", 9000, "nowhere:1")


@pytest.mark.parametrize("told", ["host:port", "host:99999", ":", ":80"])
def test_nonsense(told: str) -> None:
    with pytest.raises((ValueError, OSError)):
        advertised_address("0.0.0.0:9000", 9000, told)


@pytest.mark.parametrize("told", ["", "calls", "calls:9000", "10.0.0.7:80", "[fd00::7]:80", "[fd00::7]", "fd00::7"])
def test_settings_take_addresses(told: str) -> None:
    assert Settings(**SETTINGS, advertise_address=told).advertise_address == told


@pytest.mark.parametrize("told", [":80", "host:", "host:port", "a b:80", "http://host:80", "host:0", "[host"])
def test_settings_refuse_what_is_none(told: str) -> None:
    with pytest.raises(ValidationError, match="host:port or a host"):
        Settings(**SETTINGS, advertise_address=told)
