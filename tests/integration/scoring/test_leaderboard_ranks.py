"""Leaderboards in Redis: what they say, and what becomes of it when Redis loses or never hears something."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from pkg.ids import new_id
from services.scoring.leaderboards.places import Standing, member_of, place_of
from services.scoring.leaderboards.ranks import Moves, Ranks
from services.scoring.leaderboards.rules import Operator
from tests.integration.scoring.boards import USERS, Boards, open_boards, seen


@pytest.fixture
def postgres_schemas() -> tuple[str, ...]:
    return ("scoring",)


async def test_redis_emptied_is_filled_again(boards: Boards) -> None:
    board = await boards.make()
    for number, user in enumerate(USERS):
        await boards.submit(board, user, number)
    expected = await boards.everybody(boards.reader, board)
    assert len(await boards.members(board)) == len(USERS)
    await boards.client.flushdb()
    assert await boards.differences(board) is None
    assert await boards.everybody(boards.reader, board) == expected
    assert len(await boards.members(board)) == len(USERS)
    await boards.client.flushdb()  # a writer notices, too
    await boards.submit(board, USERS[0], 100)
    part = await boards.reader.of_users(board, boards.window(board), [USERS[0]])
    assert part.entries[0].rank == 1
    assert await boards.differences(board) == []
    (key,) = [key async for key in boards.client.scan_iter("*:ranks")]
    await boards.client.delete(key)  # half of it is lost
    assert len(await boards.everybody(boards.reader, board)) == len(USERS)
    assert await boards.differences(board) == []


async def test_writers_and_builders_at_once(boards: Boards) -> None:
    board = await boards.make(operator=Operator.SUM)
    users = [new_id() for _ in range(40)]

    async def write() -> None:
        for number in range(200):
            await boards.submit(board, users[number % 40], number)

    async def build() -> None:
        for _ in range(15):
            await boards.builder.build(boards.spot(board), boards.window(board), force=True)

    await asyncio.gather(write(), write(), build())
    assert await boards.builder.build(boards.spot(board), boards.window(board))
    assert await boards.differences(board) == []
    assert seen(await boards.everybody(boards.reader, board)) == seen(
        await boards.everybody(boards.without_redis, board)
    )


async def test_what_redis_was_not_told_is_made_up_for(boards: Boards) -> None:
    board = await boards.make()
    for user in USERS[:3]:
        await boards.submit(board, user, 1)
    await boards.everybody(boards.reader, board)
    await boards.changes.tend()
    # A process that dies between the commit and Redis: written, noted, never told.
    async with boards.database.transaction() as connection:
        one = boards.submission(board, USERS[2], 9)
        await boards.entries.submit(connection, [one])
        await boards.entries.note(connection, [(*boards.spot(board), USERS[2])], 0.0)
    found = await boards.differences(board)
    assert found is not None
    assert [USERS[2] in line and "(9, 0)" in line for line in found] == [True]
    await boards.changes.tend()
    assert await boards.differences(board) == []
    assert (await boards.everybody(boards.reader, board))[0].entry.user_id == USERS[2]


async def test_looks_of_all_sizes_at_one_moment_get_what_they_asked_for(boards: Boards) -> None:
    board = await boards.make()
    users = [new_id() for _ in range(70)]
    await boards.send(*(boards.submission(board, user, number) for number, user in enumerate(users)))
    await boards.everybody(boards.reader, board)
    window = boards.window(board)
    asked = [(user, size) for user in (users[0], users[33], users[-1]) for size in (1, 3, 10, 11, 60, 100)]
    looks = await asyncio.gather(*(boards.reader.around(board, window, user, size) for user, size in asked))
    for (user, size), part in zip(asked, looks, strict=True):
        assert part is not None
        assert part == await boards.without_redis.around(board, window, user, size)
        assert len(part.entries) == min(size, len(users))


async def test_who_has_moved_is_found_before_redis_knows(boards: Boards) -> None:
    board = await boards.make()
    for number, user in enumerate(USERS):
        await boards.submit(board, user, 10 * number)
    await boards.everybody(boards.reader, board)
    # The last becomes the second; Redis is not told.
    async with boards.database.transaction() as connection:
        await boards.entries.submit(connection, [boards.submission(board, USERS[0], 45)])
    window = boards.window(board)
    expected = await boards.without_redis.around(board, window, USERS[0], 3)
    assert expected is not None
    assert [one.entry.user_id for one in expected.entries] == [USERS[5], USERS[0], USERS[4]]
    assert await boards.reader.around(board, window, USERS[0], 3) == expected
    # To others it is where it was looked for that counts: whole rows, in their order, of those who are there now.
    first = await boards.reader.page(board, window, b"", 3)
    assert [(one.rank, one.entry.score) for one in first.entries] == [(1, 50), (2, 45), (3, 40)]


async def test_redis_that_lost_its_newest_second_is_told_again(boards: Boards) -> None:
    board = await boards.make()
    await boards.submit(board, USERS[0], 1)
    await boards.submit(board, USERS[1], 2)
    await boards.everybody(boards.reader, board)
    await boards.changes.tend()
    # As if it had started again without the second submission.
    members = await boards.members(board)
    ranks, index = [f"board:{{{board.leaderboard_id}:0}}:{name}" for name in ("ranks", "index")]
    await boards.client.zrem(ranks, members[0])
    await boards.client.execute_command("HDEL", index, members[0][24:])  # type: ignore[no-untyped-call]
    await boards.changes.tend()
    assert await boards.differences(board) != []
    async with boards.database.acquire() as connection:
        await connection.execute("delete from leaderboard_redis")
    boards.changes._run_id = None
    await boards.changes.tend()
    assert await boards.differences(board) == []


async def test_ranks_of_another_database_are_forgotten(boards: Boards) -> None:
    board = await boards.make()
    await boards.submit(board, USERS[0], 1)
    await boards.everybody(boards.reader, board)
    await boards.changes.tend()
    assert len(await boards.members(board)) == 1
    await boards.client.set("boards:database", "of before a restore")
    boards.changes._run_id = None  # as at the start of a process
    await boards.changes.tend()
    assert await boards.members(board) == []
    assert len(await boards.everybody(boards.reader, board)) == 1


async def test_an_older_write_that_comes_late_changes_nothing(boards: Boards) -> None:
    board = await boards.make(operator=Operator.LAST)
    first = (await boards.submit(board, USERS[0], 5)).entry
    await boards.everybody(boards.reader, board)
    await boards.submit(board, USERS[0], 3)
    assert first is not None
    assert await boards.ranks.apply({boards.spot(board): Moves(members=[member_of(first.place, USERS[0])])})
    assert await boards.differences(board) == []


async def test_the_verifier_finds_what_was_planted(boards: Boards) -> None:
    board = await boards.make()
    for number, user in enumerate(USERS):
        await boards.submit(board, user, number)
    await boards.everybody(boards.reader, board)
    ranks = f"board:{{{board.leaderboard_id}:0}}:ranks"
    stranger = new_id()
    planted = member_of(place_of(Standing(99, 0, 1), ascending=False), stranger)
    await boards.client.zadd(ranks, {planted: 0})
    found = await boards.differences(board)
    assert found == [f"Redis counts {len(USERS) + 1:,} players, PostgreSQL {len(USERS):,}"] or (
        found is not None and stranger in found[0]
    )
    await boards.client.zrem(ranks, planted)
    gone = (await boards.members(board))[2]
    await boards.client.zrem(ranks, gone)
    found = await boards.differences(board)
    assert found is not None
    assert len(found) == 1
    assert "Redis nothing" in found[0]
    assert await boards.builder.build(boards.spot(board), boards.window(board), force=True)
    assert await boards.differences(board) == []


async def test_without_redis_scores_are_taken_and_read(boards: Boards, postgres_url: str) -> None:
    board = await boards.make()
    async with open_boards(postgres_url, "redis://127.0.0.1:1/0") as lonely:
        written = await lonely.send(lonely.submission(board, USERS[0], 4), tell_ranks=True)
        assert written.outcomes[0].changed
        assert written.ranks == {}
        found = await lonely.everybody(lonely.reader, board)
        assert [(one.rank, one.entry.score) for one in found] == [(1, 4)]
        part = await lonely.reader.around(board, lonely.window(board), USERS[1], 5)
        assert part is None
    # Redis was told nothing. When it is there again, whoever has it makes up for that.
    await boards.everybody(boards.reader, board)
    assert await boards.differences(board) == []


async def test_a_redis_that_does_not_answer_is_left_alone_for_a_moment(boards: Boards) -> None:
    board = await boards.make()
    async with open_boards_without_redis(boards) as ranks:
        assert not ranks.away
        assert await ranks.read([(boards.spot(board), "page", b"", 5)]) == [None]
        assert ranks.away
        boards.clock.time += timedelta(seconds=3)
        assert not ranks.away


class open_boards_without_redis:  # noqa: N801
    """Ranks on a server that is not there, with the clock of these."""

    def __init__(self, boards: Boards) -> None:
        self._boards = boards

    async def __aenter__(self) -> Ranks:
        from pkg.cache.client import open_redis

        self._client = open_redis("redis://127.0.0.1:1/0")
        return Ranks(await self._client.__aenter__(), self._boards.clock)

    async def __aexit__(self, *_: object) -> None:
        await self._client.__aexit__(None, None, None)
