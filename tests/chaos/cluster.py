"""A platform of several processes that can be hurt: three of `game`, one for the other services, Envoy, backends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import psutil
import redis

from pkg.registry.process import decode
from tests.processes import READY_SECONDS, Running, Stage, ready, wait_ready

NODES: Final = ("game-a", "game-b", "game-c")
BASE: Final = ("auth", "catalog", "scoring", "matchmaking", "edge")
HEARTBEAT_SECONDS: Final = 2.0
_SETTINGS: Final = {
    "login_limits_spare_loopback": "true",
    # Logins are renewed in the middle of every fault.
    "access_token_seconds": "40",
    # A stream that is silent for 1.75 of these is given up: with the default of 5 s a test would mostly wait.
    "game_heartbeat_seconds": str(HEARTBEAT_SECONDS),
}
_REDIS_SECONDS: Final = 2.0


class Cluster:
    """Everything that runs. All methods block; each that hurts says what it leaves behind."""

    def __init__(self) -> None:
        self.stage = Stage()

    def __enter__(self) -> Self:
        try:
            self.stage.base = self.stage.serve(*BASE, node="base", migrate="true", **_SETTINGS)
            wait_ready(self.stage.base)
            first = self.stage.serve("game", node=NODES[0], migrate="true", **_SETTINGS)
            wait_ready(first)
            wait_ready(*(self.stage.serve("game", node=node, **_SETTINGS) for node in NODES[1:]))
            self.stage.open_envoy()
            self.wait_whole()
        except BaseException:
            self.stage.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each in self.stage.running:
            if each.process.poll() is None:
                each.send(signal.SIGCONT)
        if (pid := self.stage.valkey.pids.get("valkey")) is not None:
            os.kill(pid, signal.SIGCONT)
        self.stage.close()

    @property
    def address(self) -> str:
        """host:port of Envoy."""
        return self.stage.envoy_address

    def running(self, name: str) -> Running:
        """A process that lives: a node, `base` or `envoy`."""
        (found,) = [each for each in self.stage.running if each.name == name and each.process.poll() is None]
        return found

    def sessions(self) -> dict[str, int]:
        """Live sessions that each node says it runs."""
        with self._redis() as client:
            entries: Any = client.hgetall("{registry}:processes")
        alive = {each.grpc_address for each in self.stage.running if each.process.poll() is None}
        processes = [decode(incarnation.decode(), entry) for incarnation, entry in entries.items()]
        return {
            process.node: process.services["game"].load.sessions
            for process in processes
            if process.node in NODES and process.address in alive
        }

    def busiest(self) -> str:
        """The node with the most sessions. Raises AssertionError when there is none with any."""
        sessions = self.sessions()
        assert any(sessions.values()), f"no node runs a session: {sessions}"
        return max(sessions, key=lambda node: (sessions[node], node))

    def kill(self, name: str) -> None:
        """As the kernel does when memory is short. Leaves it dead."""
        running = self.running(name)
        running.kill()
        self.stage.running.remove(running)

    def stop(self, name: str) -> None:
        """As an operator does: SIGTERM. Leaves it away."""
        running = self.running(name)
        running.stop()
        self.stage.running.remove(running)

    def start(self, node: str) -> None:
        """Starts a node that is away; returns when it is ready."""
        wait_ready(self.stage.serve("game", node=node, **_SETTINGS))

    def open_envoy(self) -> None:
        """Starts Envoy again; returns when it knows everybody."""
        self.stage.open_envoy()
        self.wait_whole()

    def redis_pid(self) -> int:
        """Of Redis's process."""
        return self.stage.valkey.pids["valkey"]

    def kill_redis(self) -> None:
        """Kills Redis, which starts again with what its file holds; returns when it answers."""
        before = self.redis_pid()
        os.kill(before, signal.SIGKILL)
        self._until(lambda: self.stage.valkey.pids.get("valkey", before) != before and self._redis_answers(), "Redis")

    def lose_log(self, node: str, size: int) -> None:
        """Redis comes back without the last `size` bytes it had confirmed, and a node that knew them is dead."""

        def meanwhile() -> None:
            self.kill(node)
            (log,) = (self.stage.directory / "valkey").rglob("*.incr.aof")
            with log.open("r+b") as file:
                file.truncate(max(0, log.stat().st_size - size))

        self.stage.restart_valkey(meanwhile=meanwhile)

    def wait_whole(self) -> None:
        """Returns when every node serves and Envoy sends calls to each of them, and to nobody else."""
        for name in ("base", *NODES):
            self._until(partial(ready, self.running(name)), f"{name} is ready")
        expected = {self.running(node).grpc_address for node in NODES}
        base = {self.running("base").grpc_address}
        self._until(
            lambda: (
                self.stage.hosts("game") == dict.fromkeys(expected, True)
                and all(
                    self.stage.healthy(cluster) == base for cluster in ("auth", "catalog", "scoring", "matchmaking")
                )
            ),
            "Envoy knows everybody",
        )

    def processes(self) -> dict[str, psutil.Process]:
        """Everything of ours that lives, by name."""
        pids = {each.name: each.process.pid for each in self.stage.running if each.process.poll() is None}
        pids |= {"redis": self.redis_pid()} if "valkey" in self.stage.valkey.pids else {}
        pids |= self.stage.others.pids
        found: dict[str, psutil.Process] = {}
        for name, pid in pids.items():
            try:
                found[name] = psutil.Process(pid)
            except psutil.NoSuchProcess:
                continue
        return found

    def _redis(self) -> redis.Redis:
        return redis.Redis.from_url(
            self.stage.valkey.endpoints.redis_url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS
        )

    def _redis_answers(self) -> bool:
        try:
            with self._redis() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            logs = "\n".join(f"{each.name}: {each.tail()[-1000:]}" for each in self.stage.running)
            assert time.monotonic() < deadline, f"not within {READY_SECONDS:.0f} s: {what}\n{logs}"
            time.sleep(0.05)
