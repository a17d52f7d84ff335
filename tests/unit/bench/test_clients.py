"""Players on the SDK: when each of them plays again."""

from __future__ import annotations

import asyncio

import pytest

from bench.clients import Job, Player, Seat, firsts

JOB = Job("127.0.0.1:1", "game", 5.0, ())


@pytest.fixture
def player() -> Player:
    return Player(JOB, Seat("s1", "device"))


def test_the_first_event_that_was_sent_after_a_moment_counts(player: Player) -> None:
    for sent, came in ((1.0, 1.1), (2.0, 4.0), (3.0, 4.1)):
        player.heard(sent, came)
    assert player.first_after(1.0) == 4.0
    assert player.first_after(2.0) == 4.1
    assert player.first_after(3.0) is None


async def test_it_waits_for_the_last_player(player: Player) -> None:
    late = Player(JOB, Seat("s2", "device"))
    player.heard(6.0, 6.5)
    waiting = asyncio.create_task(firsts([player, late], {"s1": 5.0, "s2": 7.0}))
    late.heard(6.9, 8.0)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    late.heard(7.1, 8.1)
    assert sorted(await waiting) == [6.5, 8.1]
