"""Leaderboards over real PostgreSQL and Redis: what a naive model says, windows, results."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkg.errors import AlreadyExists, InvalidArgument, Reason, ResourceExhausted
from services.scoring.leaderboards.feed import ResultFeed, Scored
from services.scoring.leaderboards.places import LEAST, MOST, place_of, standing_at
from services.scoring.leaderboards.rules import Leaderboard, Operator, Submitters
from services.scoring.leaderboards.submitting import Job, Repeat
from services.scoring.leaderboards.windows import Schedule, WindowKind
from tests.integration.scoring.boards import USERS, Boards, open_boards, seen


@pytest.fixture
def postgres_schemas() -> tuple[str, ...]:
    return ("scoring",)


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
