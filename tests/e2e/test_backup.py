"""A backup taken while people play, and the way back to it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import oofgg
from pkg.embedded import Platform
from pkg.testing.directories import data_directory
from services.up import ROOT, Choices, options
from tests.e2e.matches import PASSWORD, play_match, register, until


@pytest.fixture
def data_dir() -> Iterator[Path]:
    directory = data_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def running(data_dir: Path) -> Iterator[str]:
    """A platform on this directory; where its Envoy is."""
    with Platform(options(Choices(data_dir=data_dir, lift_limits=True))) as platform:
        yield platform.endpoints.envoy


def command(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services", *argv], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


async def history(target: str, game_id: str, player: str) -> dict[str, oofgg.Match]:
    async with oofgg.Client(target, game=game_id) as client:
        await client.login(player, PASSWORD)
        return {match.match_id: match async for match in client.history.list(game_id=game_id)}


@pytest.mark.timeout(240)
async def test_accounts_and_history_are_as_they_were(data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.dump"
    with running(data_dir) as target:
        async with oofgg.Client(target) as studio:
            developer = await register(studio, "studio")
            await studio.become_developer()
            game_id = (await studio.games.create("Duel")).game_id
        await play_match(target, game_id)
        playing = asyncio.create_task(play_match(target, game_id, rounds_pause=0.5))
        saved = await asyncio.to_thread(command, "backup", file, "--data-dir", data_dir)
        assert saved.returncode == 0, saved.stderr
        assert not playing.done(), "the backup was to be made during a match"
        assert file.stat().st_mode & 0o777 == 0o600
        during, _ = await playing
        async with oofgg.Client(target) as late:
            latecomer = await register(late, "late")
        before = await history(target, game_id, developer)
        refused = await asyncio.to_thread(command, "restore", file, "--data-dir", data_dir)
        assert refused.returncode == 1
        assert "already running" in refused.stderr
    assert len(before) == 2

    restored = await asyncio.to_thread(command, "restore", file, "--data-dir", data_dir)
    assert restored.returncode == 0, restored.stderr
    with running(data_dir) as target:
        async with oofgg.Client(target) as late:
            with pytest.raises(oofgg.errors.Unauthenticated):
                await late.login(latecomer, PASSWORD)

        async def told_again() -> bool:
            return during in await history(target, game_id, developer)

        await until(told_again, "the match that is on Kafka alone")
        after = await history(target, game_id, developer)
        assert after == before
        newest, _ = await play_match(target, game_id)
        assert set(await history(target, game_id, developer)) == {*before, newest}


@pytest.mark.timeout(240)
async def test_a_broken_file_changes_nothing(data_dir: Path, tmp_path: Path) -> None:
    with running(data_dir) as target:
        async with oofgg.Client(target) as client:
            name = await register(client, "ada")
    file = tmp_path / "kept.dump"
    assert command("backup", file, "--data-dir", data_dir).returncode == 0, "nothing has to run"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused = command("restore", file, "--data-dir", data_dir)
    assert refused.returncode == 1
    assert "nothing was restored" in refused.stderr
    assert command("restore", tmp_path / "absent", "--data-dir", data_dir).returncode == 1
    with running(data_dir) as target:
        async with oofgg.Client(target) as client:
            await client.login(name, PASSWORD)


def test_there_is_no_backup_of_nothing(tmp_path: Path) -> None:
    refused = command("backup", tmp_path / "x.dump", "--data-dir", tmp_path / "absent")
    assert refused.returncode == 1
    assert not (tmp_path / "x.dump").exists()
