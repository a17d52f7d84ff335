"""Rows by key for many callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest

from pkg.db.lookups import Lookup
from pkg.deadline import call_deadline
from pkg.errors import Reason, Unavailable, backend_unavailable

WITHIN = 20.0


class Table:
    """Rows that are fetched when the test lets them."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def fetch(self, keys: list[str]) -> Mapping[str, str]:
        self.asked.append(keys)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {key: key.upper() for key in keys if key != "none"}


async def settled() -> None:
    """Lets all tasks go as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_comes_meanwhile_shares_the_next_statement() -> None:
    table = Table()
    lookup = Lookup(table.fetch)
    first = asyncio.create_task(lookup.get("a"))
    await settled()
    others = [asyncio.create_task(lookup.get(key)) for key in ("b", "c", "none", "b")]
    await settled()
    assert table.asked == [["a"]], "what is under way was asked before"
    table.gate.set()
    async with asyncio.timeout(WITHIN):
        assert await first == "A"
        assert await asyncio.gather(*others) == ["B", "C", None, "B"]
    assert len(table.asked) == 2
    assert await lookup.get("d") == "D"
    assert table.asked[-1] == ["d"]


async def test_a_statement_holds_only_so_many_keys() -> None:
    table = Table()
    lookup = Lookup(table.fetch)
    calls = [asyncio.create_task(lookup.get(f"k{number}")) for number in range(600)]
    await settled()
    table.gate.set()
    async with asyncio.timeout(WITHIN):
        assert await asyncio.gather(*calls) == [f"K{number}" for number in range(600)]
    assert max(len(keys) for keys in table.asked) <= 256
    assert sum(len(keys) for keys in table.asked) == 600


async def test_a_fault_reaches_everybody_and_is_over_then() -> None:
    table = Table()
    lookup = Lookup(table.fetch)
    first = asyncio.create_task(lookup.get("a"))
    await settled()
    others = [asyncio.create_task(lookup.get(key)) for key in ("b", "c")]
    await settled()
    table.error = backend_unavailable("PostgreSQL")
    table.gate.set()
    async with asyncio.timeout(WITHIN):
        outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    table.error = None
    assert await lookup.get("d") == "D"


async def test_a_caller_that_gives_up_takes_nobody_along() -> None:
    table = Table()
    lookup = Lookup(table.fetch)
    leader = asyncio.create_task(lookup.get("a"))
    await settled()
    next_leader, other = (asyncio.create_task(lookup.get(key)) for key in ("b", "c"))
    await settled()
    leader.cancel()
    await settled()
    next_leader.cancel()
    await settled()
    table.gate.set()
    async with asyncio.timeout(WITHIN):
        assert await other == "C"
        outcomes = await asyncio.gather(leader, next_leader, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert await lookup.get("d") == "D"


async def test_a_short_deadline_is_its_own_callers_alone() -> None:
    table = Table()
    lookup = Lookup(table.fetch)

    async def hurried() -> str | None:
        call_deadline.set(time.monotonic() + 0.05)
        return await lookup.get("a")

    leader = asyncio.create_task(hurried())
    await settled()
    patient = asyncio.create_task(lookup.get("b"))
    async with asyncio.timeout(WITHIN):
        with pytest.raises(Unavailable) as refused:
            await leader
        assert refused.value.reason is Reason.BACKEND_UNAVAILABLE
        table.gate.set()
        assert await patient == "B"
