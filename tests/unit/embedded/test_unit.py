"""Starting, watching and giving up, with the smallest of programs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkg.embedded import unit
from pkg.embedded.errors import EmbeddedError
from pkg.embedded.processes import Command, Lifeline
from pkg.embedded.unit import Unit


class Script:
    """A shell script as a supervised program."""

    name = "script"
    version = ""
    start_timeout = 5.0
    stop_timeout = 5.0

    def __init__(self, text: str, ready: Path) -> None:
        self.text = text
        self.prepared: list[bool] = []
        self._ready = ready

    def ports(self) -> dict[str, int]:
        return {}

    def prepare(self, again: bool) -> Command:
        self.prepared.append(again)
        self._ready.unlink(missing_ok=True)
        return Command(["/bin/sh", "-c", self.text])

    def ready(self, pid: int) -> bool:
        return self._ready.exists()


class Observer:
    def __init__(self) -> None:
        self.starts = 0
        self.failure: EmbeddedError | None = None
        self.changed = threading.Condition()

    def spawned(self) -> None:
        pass

    def started(self, _unit: Unit, _seconds: float) -> None:
        with self.changed:
            self.starts += 1
            self.changed.notify_all()

    def failed(self, _unit: Unit, error: EmbeddedError) -> None:
        with self.changed:
            self.failure = error
            self.changed.notify_all()

    def until_failed(self) -> str:
        with self.changed:
            assert self.changed.wait_for(lambda: self.failure is not None, 20)
        return str(self.failure)


@pytest.fixture
def lifeline() -> Iterator[Lifeline]:
    line = Lifeline()
    yield line
    line.close()


def test_a_program_that_never_starts_is_given_up_with_its_last_words(tmp_path: Path, lifeline: Lifeline) -> None:
    program, observer = Script("echo no such luck; exit 3", tmp_path / "ready"), Observer()
    running = Unit(program, tmp_path / "log", lifeline, observer.spawned, observer.started, observer.failed)
    running.start()
    message = observer.until_failed()
    running.stop()
    assert "script did not start: ended with status 3" in message
    assert "no such luck" in message
    assert program.prepared == [False] * unit.FIRST_ATTEMPTS
    assert observer.starts == 0


def test_a_program_that_crashes_again_and_again_is_given_up(
    tmp_path: Path, lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit, "BACKOFF_FIRST", 0.01)
    ready = tmp_path / "ready"
    program, observer = Script(f"touch {ready}; sleep 0.15; kill -9 $$", ready), Observer()
    running = Unit(program, tmp_path / "log", lifeline, observer.spawned, observer.started, observer.failed)
    running.start()
    message = observer.until_failed()
    running.stop()
    assert "script was ended by SIGKILL; that was the 6th time within 60 s" in message
    assert observer.starts == unit.CRASHES_ALLOWED + 1
    assert program.prepared == [False] + [True] * unit.CRASHES_ALLOWED


def test_a_program_that_ignores_its_signal_is_killed(tmp_path: Path, lifeline: Lifeline) -> None:
    ready = tmp_path / "ready"
    program, observer = Script(f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done", ready), Observer()
    program.stop_timeout = 0.3
    running = Unit(program, tmp_path / "log", lifeline, observer.spawned, observer.started, observer.failed)
    running.start()
    with observer.changed:
        assert observer.changed.wait_for(lambda: observer.starts == 1, 10)
    running.stop()
    assert running.pid is None
    assert observer.failure is None


def test_logs_do_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit, "LOG_LIMIT_BYTES", 100)
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * 101)
    unit.trim(log)
    assert log.stat().st_size == 0
    assert (tmp_path / "a.log.1").stat().st_size == 101


def test_the_tail_of_a_log_can_be_read_at_a_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n" + "begins so" + "x" * 5000 + "the cause\n")
    shown = unit.tail(log)
    assert "begins so" in shown
    assert shown.endswith("the cause")
    assert len(shown) < 700
