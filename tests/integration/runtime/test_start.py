"""What a process says when it cannot start, and where it listens when it can."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from pkg.runtime.addresses import CannotStart
from pkg.runtime.tasks import Tasks
from tests.integration.conftest import StartServices

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["grpc_address", "ops_address"])
def test_a_taken_address_is_told_in_one_line_before_anything_is_opened(name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = {
            "PATH": os.environ["PATH"],
            "OOFGG_ENVIRONMENT": "development",
            # Nobody is there: whoever asked these first would wait for half a minute.
            "OOFGG_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/nothing",
            "OOFGG_REDIS_URL": "redis://127.0.0.1:1/0",
            "OOFGG_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "OOFGG_MASTER_KEY": base64.b64encode(b"k" * 32).decode(),
            "OOFGG_SERVICE_SECRET": "s" * 32,
            "OOFGG_GRPC_ADDRESS": "127.0.0.1:0",
            "OOFGG_OPS_ADDRESS": "127.0.0.1:0",
            f"OOFGG_{name.upper()}": address,
        }
        done = subprocess.run(
            [sys.executable, "-m", "services", "serve", "catalog"],
            cwd=ROOT, env=told, capture_output=True, text=True, timeout=25, check=False,
        )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert f"cannot listen on {address} (OOFGG_{name.upper()}): another process listens there" in output
    assert "Traceback" not in output
    assert len(output.strip().splitlines()) == 1


async def test_an_address_that_is_none_is_refused_by_the_name_of_its_setting(start_services: StartServices) -> None:
    with pytest.raises(CannotStart, match=r"cannot listen on 192\.0\.2\.1:0 \(OOFGG_GRPC_ADDRESS\)"):
        await start_services(["catalog"], grpc_address="192.0.2.1:0")


async def test_port_0_is_any_free_port_and_two_processes_get_two(start_services: StartServices) -> None:
    one = await start_services(["catalog"])
    two = await start_services(["catalog"])
    addresses = {running.settings.grpc_address for running in (one, two)}
    addresses |= {running.settings.ops_address for running in (one, two)}
    assert len(addresses) == 4
    assert not any(address.endswith(":0") for address in addresses)
    for address in addresses:
        host, _, port = address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        await writer.wait_closed()


async def _fails_when_it_is_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise RuntimeError("the pool is closing")


async def _fails() -> None:
    raise OSError("the cause")


async def _run(task: Coroutine[Any, Any, None], beside: Coroutine[Any, Any, None]) -> None:
    async with Tasks() as tasks:
        with tasks.noted():
            tasks.create_task(task)
            await asyncio.sleep(0)
            await beside


async def test_what_fails_while_the_rest_is_closed_does_not_hide_the_first_failure() -> None:
    with pytest.raises(OSError, match="the cause"):
        await _run(_fails_when_it_is_cancelled(), beside=_fails())


async def test_a_failed_task_is_named_and_not_what_its_failure_breaks() -> None:
    with pytest.raises(OSError, match="the cause"):
        await _run(_fails(), beside=_fails_when_it_is_cancelled())
