"""Entries that are removed, one by one and with their account, stay away from leaderboards."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from pkg.errors import Reason
from pkg.ids import new_id
from services.scoring.forget import AccountConsumer
from services.scoring.leaderboards.ranks import Moves
from services.scoring.leaderboards.removing import remove
from services.scoring.leaderboards.rules import Leaderboard, Operator
from services.scoring.leaderboards.windows import Schedule, WindowKind
from tests.integration.scoring.boards import USERS, Boards


@pytest.fixture
def postgres_schemas() -> tuple[str, ...]:
    return ("scoring",)


async def test_a_deleted_account_leaves_and_stays_away(boards: Boards) -> None:
    from oofgg.events.v1 import identity_pb2
    from pkg.events.outbox import Event

    board = await boards.make()
    for user in USERS[:3]:
        await boards.submit(board, user, 1)
    await boards.everybody(boards.reader, board)
    stale = await boards.members(board)
    await boards.changes.tend()
    deleted = identity_pb2.AccountDeleted(user_id=USERS[0])
    deleted.delete_time.FromDatetime(boards.clock.now())
    event = Event(new_id(), "oofgg.events.v1.AccountDeleted", USERS[0], deleted.SerializeToString(), boards.clock.now())
    async with boards.database.transaction() as connection:
        await AccountConsumer(boards.entries, new_id).apply(connection, event)
    await boards.changes.tend()
    # A builder that read the row before cannot bring it back, nor can a server.
    await boards.ranks.apply({boards.spot(board): Moves(members=[b"".join(stale)])})
    assert [one.entry.user_id for one in await boards.everybody(boards.reader, board)] == USERS[1:3]
    assert (await boards.submit(board, USERS[0], 5)).refusal is Reason.ACCOUNT_NOT_FOUND
    assert await boards.differences(board) == []


async def removed(boards: Boards, board: Leaderboard, user_id: str, *, told: bool = True) -> bool:
    """Whether there was an entry to remove; without `told` the process dies before it tells Redis."""
    async with boards.database.transaction() as connection:
        removal = await remove(connection, boards.entries, (*boards.spot(board), user_id))
    if removal is not None and told:
        await boards.changes.removed(removal)
    return removal is not None


@pytest.mark.parametrize("told", [pytest.param(True, id="at once"), pytest.param(False, id="later, by somebody else")])
async def test_an_entry_is_removed_and_may_come_back(boards: Boards, told: bool) -> None:
    board = await boards.make(operator=Operator.SUM, max_attempts=1)
    for score, user in enumerate(USERS[:3], 1):
        await boards.submit(board, user, score)
    await boards.everybody(boards.reader, board)
    stale = await boards.members(board)
    await boards.changes.tend()
    assert await removed(boards, board, USERS[2], told=told)
    assert not await removed(boards, board, USERS[2])
    if not told:
        async with boards.database.acquire() as connection:
            await connection.execute("update leaderboard_change set due_time = now() where not applied")
        await boards.changes.tend()
    await boards.ranks.apply({boards.spot(board): Moves(members=[b"".join(stale)])})  # of somebody who read it before
    for reader in (boards.reader, boards.without_redis):
        assert [one.entry.user_id for one in await boards.everybody(reader, board)] == [USERS[1], USERS[0]]
    assert await boards.differences(board) == []
    again = await boards.submit(board, USERS[2], 9)
    assert again.entry is not None
    assert (again.entry.score, again.entry.attempts) == (9, 1)
    for reader in (boards.reader, boards.without_redis):
        assert [one.entry.user_id for one in await boards.everybody(reader, board)] == [USERS[2], USERS[1], USERS[0]]
    assert await boards.differences(board) == []


async def test_removals_and_scores_at_the_same_time_leave_redis_right(boards: Boards) -> None:
    board = await boards.make(operator=Operator.LAST)
    for user in USERS[:4]:
        await boards.submit(board, user, 1)
    await boards.everybody(boards.reader, board)
    chosen = random.Random(6)

    async def something(number: int) -> None:
        user = chosen.choice(USERS[:4])
        if number % 3 == 0:
            await removed(boards, board, user, told=number % 2 == 0)
        else:
            await boards.submit(board, user, number)

    for begin in range(0, 240, 6):
        await asyncio.gather(*(something(number) for number in range(begin, begin + 6)))
        if begin % 24 == 0:
            async with boards.database.acquire() as connection:
                await connection.execute("update leaderboard_change set due_time = now() where not applied")
            await boards.changes.tend()
    async with boards.database.acquire() as connection:
        await connection.execute("update leaderboard_change set due_time = now() where not applied")
    await boards.changes.tend()
    assert await boards.differences(board) == []


async def test_a_window_that_was_counted_is_counted_again_without_the_entry(boards: Boards) -> None:
    board = await boards.make(operator=Operator.SUM, schedule=Schedule(WindowKind.DAILY))
    for user in USERS[:2]:
        await boards.submit(board, user, 1)
    key = (*boards.spot(board), USERS[0])
    boards.clock.time += timedelta(days=2)
    await boards.archive.tend()
    async with boards.database.transaction() as connection:
        assert await remove(connection, boards.entries, key) is not None
    await boards.archive.tend()
    (season,) = await boards.seasons.page(board.leaderboard_id, None, 10)
    assert season.entries == 1
