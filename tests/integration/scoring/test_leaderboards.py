"""Leaderboards over real PostgreSQL and Redis: what a naive model says, and what failures do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkg.errors import AlreadyExists, InvalidArgument, Reason, ResourceExhausted
from pkg.ids import new_id
from services.scoring.forget import AccountConsumer
from services.scoring.leaderboards.feed import ResultFeed, Scored
from services.scoring.leaderboards.places import LEAST, MOST, Standing, member_of, place_of, standing_at
from services.scoring.leaderboards.ranks import Moves, Ranks
from services.scoring.leaderboards.removing import remove
from services.scoring.leaderboards.rules import Leaderboard, Operator, Ranked, Submitters
from services.scoring.leaderboards.submitting import Job, Repeat
from services.scoring.leaderboards.windows import Schedule, WindowKind
from tests.integration.scoring.boards import Boards, open_boards

USERS = [new_id() for _ in range(6)]


@pytest.fixture
def postgres_schemas() -> tuple[str, ...]:
    return ("scoring",)


@pytest.fixture
async def boards(postgres_url: str, redis_url: str) -> AsyncIterator[Boards]:
    async with open_boards(postgres_url, redis_url) as opened:
        yield opened


@dataclass
class Row:
    """An entry of the model."""

    score: int
    subscore: int
    turn: int
    attempts: int
    metadata: str


class Model:
    """A leaderboard as one would write it on paper: a dictionary, and a sort when somebody asks."""

    def __init__(self, board: Leaderboard) -> None:
        self.board = board
        self.rows: dict[str, Row] = {}
        self.turn = 0

    def submit(self, user: str, score: int, subscore: int, metadata: str) -> Reason | None:
        board, row = self.board, self.rows.get(user)
        if row is None:
            first = 1 if board.operator is Operator.INCREMENT else score
            self.turn += 1
            self.rows[user] = Row(first, subscore, self.turn, 1, metadata)
            return None
        if board.max_attempts and row.attempts >= board.max_attempts:
            return Reason.ATTEMPTS_EXHAUSTED
        old, new = (row.score, row.subscore), (score, subscore)
        if board.operator is Operator.SUM:
            new = (row.score + score, row.subscore + subscore)
        elif board.operator is Operator.INCREMENT:
            new = (row.score + 1, row.subscore + subscore)
        elif board.operator is Operator.BEST and not (new < old if board.ascending else new > old):
            row.attempts += 1
            return None
        if not all(LEAST <= number <= MOST for number in new):
            return Reason.SCORE_OUT_OF_RANGE
        row.attempts += 1
        row.metadata = metadata
        if new != old or board.operator is Operator.INCREMENT:
            self.turn += 1
            row.score, row.subscore, row.turn = *new, self.turn
        return None

    def ranked(self) -> list[tuple[int, str, int, int, int, str]]:
        sign = 1 if self.board.ascending else -1
        order = sorted(self.rows, key=lambda user: (sign * self.rows[user].score, sign * self.rows[user].subscore,
                                                    self.rows[user].turn))  # fmt: skip
        return [(rank, user, row.score, row.subscore, row.attempts, row.metadata)
                for rank, user in enumerate(order, 1) for row in [self.rows[user]]]  # fmt: skip


def seen(entries: Sequence[Ranked]) -> list[tuple[int, str, int, int, int, str]]:
    return [(one.rank, one.entry.user_id, one.entry.score, one.entry.subscore, one.entry.attempts, one.entry.metadata)
            for one in entries]  # fmt: skip


numbers = st.one_of(st.integers(-2, 2), st.sampled_from([LEAST, MOST, 2**53, 2**53 + 1]))
scores = st.tuples(st.sampled_from(USERS), numbers, numbers, st.sampled_from(["", '{"a":1}', '{"b":2}']))
batches = st.lists(st.lists(scores, min_size=1, max_size=4), max_size=8)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.sampled_from(list(Operator)), st.booleans(), st.integers(0, 3), batches, st.integers(1, 4))
async def test_a_leaderboard_is_what_a_naive_model_says(
    boards: Boards,
    operator: Operator,
    ascending: bool,
    max_attempts: int,
    played: list[list[tuple[str, int, int, str]]],
    size: int,
) -> None:
    board = await boards.make(operator=operator, ascending=ascending, max_attempts=max_attempts)
    model = Model(board)
    for batch in played:
        written = await boards.send(
            *(boards.submission(board, user, score, subscore, metadata) for user, score, subscore, metadata in batch)
        )
        assert [outcome.refusal for outcome in written.outcomes] == [model.submit(*score) for score in batch]
    expected = model.ranked()
    for reader in (boards.reader, boards.without_redis):
        assert seen(await boards.everybody(reader, board, size)) == expected
        for rank, user, *_ in expected:
            part = await reader.around(board, boards.window(board), user, size)
            assert part is not None
            first = max(0, min(rank - 1 - (size - 1) // 2, len(expected) - size))
            assert (seen(part.entries), part.total) == (expected[first : first + size], len(expected))
            assert part.more == (first + size < len(expected))
        chosen = USERS[:size]
        part = await reader.of_users(board, boards.window(board), chosen)
        assert seen(part.entries) == [row for row in expected if row[1] in chosen]
    assert await boards.differences(board) in ([], None)
    if expected:
        rows = await boards.entries.by_keys([(*boards.spot(board), user) for _, user, *_ in expected])
        for entry in rows.values():  # SQL and Python write places alike
            standing = standing_at(entry.place, ascending=ascending)
            assert (standing.score, standing.subscore) == (entry.score, entry.subscore)
            assert place_of(standing, ascending=ascending) == entry.place


async def test_concurrent_submissions_all_count(boards: Boards) -> None:
    board = await boards.make(operator=Operator.SUM)
    await asyncio.gather(*(boards.submit(board, USERS[n % 3], 1, n) for n in range(120)))
    found = await boards.everybody(boards.reader, board)
    assert [one.entry.score for one in found] == [40, 40, 40]
    assert sum(one.entry.subscore for one in found) == sum(range(120))
    assert await boards.differences(board) == []


async def test_earlier_wins_a_tie_and_keeps_its_turn(boards: Boards) -> None:
    board = await boards.make(operator=Operator.LAST)
    for user in USERS[:3]:
        await boards.submit(board, user, 7)
    await boards.submit(board, USERS[0], 7)  # the same again is not later
    assert [one.entry.user_id for one in await boards.everybody(boards.reader, board)] == USERS[:3]
    await boards.submit(board, USERS[0], 8)
    await boards.submit(board, USERS[0], 7)  # but this is
    assert [one.entry.user_id for one in await boards.everybody(boards.reader, board)] == [*USERS[1:3], USERS[0]]


async def test_the_same_request_id_counts_once(boards: Boards) -> None:
    board = await boards.make(operator=Operator.INCREMENT)
    one = boards.submission(board, USERS[0], 0)
    answers = await asyncio.gather(*(boards.send(one, request_id="r") for _ in range(10)))
    answers.append(await boards.send(one, request_id="r"))
    assert sum(answer.kept is None for answer in answers) == 1
    assert {answer.kept for answer in answers if answer.kept is not None} == {b"[1]"}
    assert [row.entry.score for row in await boards.everybody(boards.reader, board)] == [1]
    other = Job([one], Repeat("caller", "rpc", "r", b"something else"), lambda _: b"", tell_ranks=False)
    with pytest.raises(InvalidArgument) as caught:
        await boards.submitting.submit(other)
    assert caught.value.reason is Reason.REQUEST_ID_REUSED


async def test_two_processes_with_the_same_request_id(boards: Boards, postgres_url: str, redis_url: str) -> None:
    board = await boards.make(operator=Operator.INCREMENT)
    async with open_boards(postgres_url, redis_url) as others:
        for number in range(20):
            one = boards.submission(board, USERS[0], 0)
            await asyncio.gather(
                *(process.send(one, request_id=f"r{number}") for process in (boards, others) for _ in range(2))
            )
    assert [row.entry.score for row in await boards.everybody(boards.reader, board)] == [20]


async def test_one_bad_call_does_not_spoil_a_group(boards: Boards) -> None:
    board = await boards.make()
    bad = boards.submission(board, USERS[0], 1, metadata="\x00")  # PostgreSQL cannot hold it
    found = await asyncio.gather(
        *(
            boards.send(one)
            for one in (boards.submission(board, USERS[1], 1), bad, boards.submission(board, USERS[2], 1))
        ),
        return_exceptions=True,
    )
    assert [isinstance(one, InvalidArgument) for one in found] == [False, True, False]
    assert len(await boards.everybody(boards.reader, board)) == 2


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


async def test_a_day_ends_and_stays_readable(boards: Boards) -> None:
    board = await boards.make(schedule=Schedule(WindowKind.DAILY, "Europe/Berlin"), kept_windows=2)
    days = []
    for number in range(4):
        days.append(boards.window(board))
        await boards.submit(board, USERS[0], number)
        await boards.submit(board, USERS[1], 10 - number)
        boards.clock.time += timedelta(days=1)
    assert await boards.everybody(boards.reader, board) == []
    part = await boards.reader.page(board, days[0], b"", 10)
    assert seen(part.entries) == [(1, USERS[1], 10, 0, 1, ""), (2, USERS[0], 0, 0, 1, "")]
    await boards.archive.tend()
    seasons = await boards.seasons.page(board.leaderboard_id, None, 10)
    assert [season.window for season in seasons] == [days[3], days[2]]
    assert [(season.entries, season.archive_time is not None) for season in seasons] == [(2, True)] * 2
    assert (await boards.reader.page(board, days[0], b"", 10)).entries == []
    part = await boards.reader.page(board, days[3], b"", 10)
    assert part.total == 2
    for name in ("ranks", "index"):  # Redis forgets them by itself
        key = f"board:{{{board.leaderboard_id}:{int(days[3].start.timestamp())}}}:{name}"
        assert 0 < await boards.client.ttl(key) <= 3600 * 25
    with pytest.raises(InvalidArgument):
        boards.directory.window(board, boards.clock.now() + timedelta(days=1))
    before = await boards.client.dbsize()
    long_ago = boards.directory.window(board, boards.clock.now() - timedelta(days=999))
    assert (await boards.reader.page(board, long_ago, b"", 10)).entries == []
    assert await boards.client.dbsize() == before  # windows that nobody played in take no room


async def test_attempts_begin_anew_with_the_window(boards: Boards) -> None:
    board = await boards.make(schedule=Schedule(WindowKind.CRON, "UTC", "0 18 * * 5"), max_attempts=1)
    assert (await boards.submit(board, USERS[0], 1)).refusal is None
    assert (await boards.submit(board, USERS[0], 9)).refusal is Reason.ATTEMPTS_EXHAUSTED
    boards.clock.time = datetime(2026, 3, 6, 18, tzinfo=UTC)
    assert (await boards.submit(board, USERS[0], 9)).refusal is None


async def test_results_feed_the_window_in_which_they_finished(boards: Boards) -> None:
    board = await boards.make(
        schedule=Schedule(WindowKind.DAILY), submitters=Submitters.RESULTS, operator=Operator.SUM, max_score=50
    )
    await boards.make(game_id=board.game_id, name="other")
    feed = ResultFeed(boards.store, boards.seasons, boards.entries)
    yesterday = boards.clock.now() - timedelta(days=1)
    for finish, score in ((boards.clock.now(), 10), (boards.clock.now(), 20), (yesterday, 5), (yesterday, 51)):
        async with boards.database.transaction() as connection:
            await feed.count(connection, board.game_id, finish, [Scored(user, "n", score) for user in USERS[:2]])
    await boards.changes.tend()
    assert [one.entry.score for one in await boards.everybody(boards.reader, board)] == [30, 30]
    part = await boards.reader.page(board, boards.directory.window(board, yesterday), b"", 10)
    assert [one.entry.score for one in part.entries] == [5, 5]
    assert await boards.differences(board) == []


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


async def test_a_deleted_leaderboard_is_swept(boards: Boards) -> None:
    board = await boards.make()
    await boards.submit(board, USERS[0], 1)
    async with boards.database.transaction() as connection:
        await boards.store.delete(connection, board.leaderboard_id, boards.clock.now())
    await boards.make(game_id=board.game_id)  # the name is free at once, and the new one is empty
    boards.clock.time += timedelta(minutes=2)
    await boards.archive.tend()
    assert await boards.members(board) == []
    async with boards.database.acquire() as connection:
        for table in ("leaderboard", "leaderboard_window", "leaderboard_entry"):
            found = await connection.fetchval(
                f"select count(*) from {table} where leaderboard_id = $1", board.leaderboard_id
            )
            assert found == 0, table


async def test_names_are_unique_and_few(boards: Boards) -> None:
    board = await boards.make()
    with pytest.raises(AlreadyExists) as taken:
        await boards.make(game_id=board.game_id)
    assert taken.value.reason is Reason.LEADERBOARD_NAME_TAKEN
    await asyncio.gather(*(boards.make(game_id=board.game_id, name=f"n{n}") for n in range(99)))
    with pytest.raises(ResourceExhausted) as full:
        await boards.make(game_id=board.game_id, name="one-too-many")
    assert full.value.reason is Reason.QUOTA_EXCEEDED


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
