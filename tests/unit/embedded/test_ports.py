"""Ports that nobody else has."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pkg.embedded.ports import Ports


@pytest.fixture
def taken() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def test_the_preferred_port_is_taken_when_it_is_free(tmp_path: Path, taken: int) -> None:
    assert Ports(tmp_path).claim(taken) == taken


def test_a_port_with_a_listener_is_avoided(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert Ports(tmp_path).claim(port) != port


def test_a_listener_that_shares_its_port_is_avoided(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert Ports(tmp_path).claim(port) != port


def test_two_supervisors_do_not_get_the_same_port(tmp_path: Path, taken: int) -> None:
    first, second = Ports(tmp_path), Ports(tmp_path)
    assert first.claim(taken) == taken
    assert second.claim(taken) != taken
    first.release()
    second.release()
    assert second.claim(taken) == taken


def test_a_dropped_port_is_free_again(tmp_path: Path, taken: int) -> None:
    ports = Ports(tmp_path)
    ports.claim(taken)
    assert ports.claim(taken) != taken
    ports.drop(taken)
    assert ports.claim(taken) == taken
