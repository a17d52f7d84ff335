"""A time limit does what `asyncio.timeout` does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from pkg.time_limit import time_limit

Limit = Callable[[float], AbstractAsyncContextManager[object]]


@asynccontextmanager
async def ours(seconds: float) -> AsyncIterator[None]:
    with time_limit(seconds):
        yield


@pytest.fixture(autouse=True)
def shared_timers_for_what_is_not_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pkg.time_limit._SHORT_SECONDS", 0.05)


@pytest.fixture(params=[ours, asyncio.timeout], ids=["ours", "asyncio's"])
def limit(request: pytest.FixtureRequest) -> Limit:
    made: Limit = request.param
    return made


# One that shares its timer, one that has its own, and two that are over as they begin.
SECONDS = pytest.mark.parametrize("seconds", [0.1, 0.02, 0.0, -1.0])


@SECONDS
async def test_what_takes_longer_is_ended(limit: Limit, seconds: float) -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        async with limit(seconds):
            try:
                await asyncio.sleep(30)
            finally:
                ended = True

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await work()
    assert ended
    assert max(0.0, seconds) <= time.monotonic() - began + 0.001 < 15
    assert not _current().cancelling()


async def test_what_is_in_time_goes_on(limit: Limit) -> None:
    for seconds in (0.06, 0.01):
        async with limit(seconds):
            await asyncio.sleep(0)
    await asyncio.sleep(0.2)  # past both
    assert not _current().cancelling()


async def test_what_is_raised_inside_comes_out(limit: Limit) -> None:
    for seconds in (5.0, 0.04):
        with pytest.raises(ZeroDivisionError):
            async with limit(seconds):
                raise ZeroDivisionError


@pytest.mark.parametrize("seconds", [5.0, 0.04])
async def test_a_cancellation_from_outside_stays_one(limit: Limit, seconds: float) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with limit(seconds):
            inside.set()
            await asyncio.sleep(30)

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("outer", "inner"), [(0.02, 5.0), (0.1, 5.0), (0.02, 0.04)])
async def test_the_outer_of_two_ends_both(limit: Limit, outer: float, inner: float) -> None:
    claimed = False

    async def work() -> None:
        nonlocal claimed
        async with limit(outer):
            try:
                async with limit(inner):
                    await asyncio.sleep(30)
            except TimeoutError:
                claimed = True

    with pytest.raises(TimeoutError):
        await work()
    assert not claimed, "the inner one took it for its own"


async def test_limits_of_many_tasks_end_each_its_own(limit: Limit) -> None:
    async def work(sleeps: float) -> str:
        try:
            async with limit(0.2):
                await asyncio.sleep(sleeps)
        except TimeoutError:
            return "late"
        return "in time"

    told = await asyncio.gather(*(work(sleeps) for sleeps in (0.0, 30.0, 0.05, 30.0)))
    assert told == ["in time", "late", "in time", "late"]


def test_every_loop_has_its_own() -> None:
    async def late() -> None:
        with time_limit(0.1):
            await asyncio.sleep(30)

    for _ in range(2):
        with pytest.raises(TimeoutError):
            asyncio.run(late())


async def test_loops_of_two_threads_do_not_mix() -> None:
    def elsewhere() -> None:
        asyncio.run(one())

    async def one() -> None:
        for _ in range(200):
            with time_limit(5.0):
                await asyncio.sleep(0)

    await asyncio.gather(asyncio.to_thread(elsewhere), one())


def test_it_needs_a_task() -> None:
    with pytest.raises(RuntimeError), time_limit(5.0):
        pass


def _current() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task
