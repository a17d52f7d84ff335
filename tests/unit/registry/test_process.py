"""A process in its form in Redis."""

from __future__ import annotations

import json

import pytest

from pkg.registry.process import Load, Process, Served, State, Unreadable, decode, encode

PROCESS = Process(
    "0198",
    "game-1",
    "10.0.0.1:9000",
    5.0,
    {"game": Served(State.SERVING, Load(calls=3, sessions=2)), "auth": Served(State.NOT_READY)},
)


@pytest.mark.parametrize("address", ["10.0.0.1:9000", "[fd00::1]:9000"])
def test_it_comes_back_as_it_was(address: str) -> None:
    process = Process(PROCESS.incarnation, PROCESS.node, address, PROCESS.lease_seconds, PROCESS.services)
    assert decode("0198", encode(process)) == process


def test_what_a_later_version_adds_is_passed_over() -> None:
    document = json.loads(encode(PROCESS))
    document["zone"] = "b"
    document["services"]["game"]["weight"] = 2
    assert decode("0198", json.dumps(document).encode()) == PROCESS


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"node": ""}, id="no name"),
        pytest.param({"node": 7}, id="a number for a name"),
        pytest.param({"address": "game-1:9000"}, id="a name for an address"),
        pytest.param({"address": "10.0.0.1"}, id="no port"),
        pytest.param({"address": "10.0.0.1:0"}, id="port 0"),
        pytest.param({"lease_seconds": "long"}, id="no lease"),
        pytest.param({"services": ["game"]}, id="no states"),
        pytest.param({"services": {"game": {"state": "asleep", "calls": 0, "sessions": 0}}}, id="an unknown state"),
    ],
)
def test_what_is_no_process_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(Unreadable, match="0198"):
        decode("0198", json.dumps({**json.loads(encode(PROCESS)), **changed}).encode())


@pytest.mark.parametrize("entry", [b"", b"[]", b"null", b"\xff", b"{}"])
def test_so_is_what_is_no_document(entry: bytes) -> None:
    with pytest.raises(Unreadable):
        decode("0198", entry)
