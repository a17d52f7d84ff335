"""The containers of docker-compose.yaml, each a process of its own, played through as from outside."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
import subprocess
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

import oofgg
from envoy.certificates import LOOPBACK, development_certificate
from oofgg.events.v1 import match_pb2
from tests.compose.compose_file import PROCESSES, ROOT
from tests.compose.stage import Container, Stage
from tests.e2e.matches import PASSWORD, VISIBLE_SECONDS, name_of, play_match, register, until

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
async def game(stage: Stage) -> oofgg.Game:
    """A game of a developer whom the operator has made one."""
    async with oofgg.Client(stage.envoy) as studio:
        name = await register(studio, "studio")
        done = await asyncio.to_thread(stage.run, "auth", ["admin", "make-developer", name])
        assert done.returncode == 0, done.stdout
        await studio.login(name, PASSWORD)
        return await studio.games.create(name_of("Duel"))


def test_every_container_is_healthy_by_its_own_check(stage: Stage) -> None:
    for containers in stage.containers.values():
        for container in containers:
            assert stage.is_healthy(container), container.tail()


async def test_nobody_becomes_a_developer_without_the_operator(stage: Stage) -> None:
    async with oofgg.Client(stage.envoy) as client:
        await register(client, "eager")
        with pytest.raises(oofgg.errors.PermissionDenied) as refused:
            await client.become_developer()
        assert refused.value.reason == "DEVELOPER_BY_OPERATOR"
        with pytest.raises(oofgg.errors.PermissionDenied):
            await client.games.create("mine")
    done = await asyncio.to_thread(stage.run, "auth", ["admin", "make-developer", "nobody-of-this-name"])
    assert done.returncode == 1
    assert "Register it first" in done.stdout


async def test_a_match_through_envoy_reaches_leaderboard_history_and_kafka(stage: Stage, game: oofgg.Game) -> None:
    session_id, _ = await play_match(stage.envoy, game.game_id)
    consumer = AIOKafkaConsumer(
        game.match_history_topic,
        bootstrap_servers=stage.kafka_bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(VISIBLE_SECONDS):
            record = await consumer.getone()
    finally:
        await consumer.stop()
    assert record.value is not None
    assert match_pb2.MatchFinished.FromString(record.value).match_id == session_id


def shown_with_tls(address: str, authority: Path) -> tuple[str | None, str]:
    """The protocol agreed upon, and the certificate shown."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=str(authority))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return secured.selected_alpn_protocol(), ssl.DER_cert_to_PEM_cert(secured.getpeercert(binary_form=True) or b"")


async def test_tls_with_a_certificate_for_development_until_there_is_another(stage: Stage) -> None:
    made = stage.directory / "envoy-config/tls/ca.crt"
    assert (await asyncio.to_thread(shown_with_tls, stage.envoy_tls, made))[0] == "h2"

    own = stage.directory / "secrets/tls"
    development_certificate(own, LOOPBACK, datetime.now(UTC))
    for file in own.iterdir():
        os.chown(file, own.stat().st_uid, own.stat().st_gid)
    done = await asyncio.to_thread(stage.run, "envoy-config", stage.compose.services["envoy-config"]["command"])
    assert done.returncode == 0, done.stdout

    async def taken_up() -> bool:
        try:
            _, shown = await asyncio.to_thread(shown_with_tls, stage.envoy_tls, own / "ca.crt")
        except ssl.SSLCertVerificationError:
            return False
        return shown.strip() == (own / "tls.crt").read_text().strip()

    await until(taken_up, "the operator's certificate", 20.0)


async def test_processes_know_one_service_each_and_run_as_somebody_without_rights(
    stage: Stage, container_user: int | None
) -> None:
    for service in PROCESSES:
        container = stage.containers[service][0]
        document = json.loads(urllib.request.urlopen(f"http://{container.address}:9001/readyz", timeout=5).read())
        assert list(document["services"]) == [service]
        assert container.process is not None
        status = Path(f"/proc/{container.process.pid}/status").read_text()
        if container_user is not None:
            assert f"Uid:\t{container_user}\t" in status


def healthy_endpoints(stage: Stage, cluster: str) -> set[str]:
    """Where Envoy sends calls for a service now."""
    document = json.loads(urllib.request.urlopen(f"http://{stage.envoy_admin}/clusters?format=json", timeout=5).read())
    (status,) = [each for each in document["cluster_statuses"] if each["name"] == cluster]
    return {
        host["address"]["socket_address"]["address"]
        for host in status.get("host_statuses", [])
        if not host["health_status"].get("failed_active_health_check")
    }


@pytest.fixture
async def second_game(stage: Stage) -> Container:
    """What `--scale game=2` adds, once Envoy has found it by its name."""
    containers = stage.containers["game"]
    if len(containers) == 1:
        await asyncio.to_thread(stage.wait_healthy, stage.start("game"))

    async def known() -> bool:
        found = await asyncio.to_thread(healthy_endpoints, stage, "game")
        return found == {container.address for container in containers if container.process is not None}

    await until(known, "Envoy's view of all containers", 10.0)
    return containers[1]


async def test_two_containers_of_game_share_the_sessions(
    stage: Stage, game: oofgg.Game, second_game: Container
) -> None:
    hostnames = {container.hostname for container in stage.containers["game"]}
    placed: set[str] = set()
    async with oofgg.Client(stage.envoy, game=game.game_id) as ada:
        await register(ada, "ada")
        deadline = time.monotonic() + VISIBLE_SECONDS
        while placed != hostnames:
            assert time.monotonic() < deadline, f"all sessions were placed on {placed}"
            session = await ada.sessions.create(min_seats=2, max_seats=2)
            placed.add(session.node)

            async def joins(session: oofgg.Session = session) -> bool:
                try:
                    joined = await ada.sessions.join(session)
                except oofgg.errors.FailedPrecondition as refused:
                    if (refused.reason, refused.metadata.get("node")) != ("WRONG_NODE", session.node):
                        raise
                    await asyncio.sleep(0.25)  # a player may write twenty times a second
                    return False
                return joined.node == session.node

            await until(joins, "a seat on the session's node")
            await asyncio.sleep(0.25)  # Envoy's workers learn up to a second later than its list of endpoints
    assert second_game.hostname in placed


async def test_a_stopped_container_leaves_the_other_at_work(
    stage: Stage, game: oofgg.Game, second_game: Container
) -> None:
    first = stage.containers["game"][0]
    await asyncio.to_thread(stage.stop, first)
    _, node = await play_match(stage.envoy, game.game_id)
    assert node == second_game.hostname


def documented(heading: str) -> list[str]:
    """The commands of the page about compose below a heading, one a line."""
    page = (ROOT / "docs/operations/compose.md").read_text()
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [line for block in blocks for line in re.sub(r" \\\n +", " ", block).splitlines()]


async def test_the_documented_way_back_to_a_backup(stage: Stage, tmp_path: Path) -> None:
    async with oofgg.Client(stage.envoy) as client:
        early = await register(client, "early")
    late = ""
    stopped: list[Container] = []
    for line in documented("Backup and restore"):
        words = line.split()
        if line.startswith("docker compose exec -T postgres "):
            command = line.removeprefix("docker compose exec -T postgres ")
            done = await asyncio.to_thread(stage.in_postgres, command, tmp_path)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
        elif line.startswith("install "):
            subprocess.run(line.split(), cwd=tmp_path, check=True, timeout=10)
        elif line.startswith("docker compose stop "):
            stopped = [each for name in words[3:] for each in stage.containers[name] if each.process is not None]
            for container in stopped:
                await asyncio.to_thread(stage.stop, container)
        elif line == "docker compose up -d --wait":
            for container in reversed(stopped):
                stage.launch(container)
            for container in reversed(stopped):
                await asyncio.to_thread(stage.wait_healthy, container)
        else:
            raise AssertionError(f"a command that nobody tests: {line}")
        if "pg_dump" in line:
            (dump,) = tmp_path.iterdir()
            assert dump.stat().st_mode & 0o777 == 0o600
            assert subprocess.run(["git", "check-ignore", "-q", dump.name], cwd=ROOT, check=False).returncode == 0
            async with oofgg.Client(stage.envoy) as client:
                late = await register(client, "late")
    async with oofgg.Client(stage.envoy) as client:
        await client.login(early, PASSWORD)
        with pytest.raises(oofgg.errors.Unauthenticated):
            await client.login(late, PASSWORD)
        await register(client, "after")


def test_nothing_was_written_into_the_image(stage: Stage) -> None:
    built = stage.image.built
    later = [path for path in stage.image.root.rglob("*") if path.lstat().st_ctime > built]
    assert later == []
