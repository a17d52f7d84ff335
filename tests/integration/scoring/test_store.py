"""Projection and queries over real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from oofgg.events.v1 import match_pb2
from pkg.db.database import Database, open_database
from pkg.events.outbox import Event
from pkg.ids import new_id
from services.scoring.history.store import MatchStore
from services.scoring.leaderboards.entries import EntryStore
from services.scoring.leaderboards.feed import ResultFeed
from services.scoring.leaderboards.store import LeaderboardStore, SeasonStore
from services.scoring.matches import MatchFilter
from services.scoring.projection import MatchProjection
from services.scoring.ratings.store import RatingStore
from services.scoring.rebuilding.from_history import Rebuilding
from services.scoring.standings.boards import Board
from services.scoring.standings.store import StandingStore, position_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GAME = new_id()


@dataclass(frozen=True, slots=True)
class Scoring:
    database: Database
    matches: MatchStore
    standings: StandingStore
    projection: MatchProjection

    async def apply(self, event: match_pb2.MatchFinished) -> None:
        async with self.database.transaction() as connection:
            told = Event(event.match_id, event.DESCRIPTOR.full_name, event.match_id, event.SerializeToString(), NOW)
            await self.projection.apply(connection, told)


@pytest.fixture
async def scoring(postgres_url: str) -> AsyncIterator[Scoring]:
    async with open_database(postgres_url, "scoring", size=8) as database:
        matches, standings = MatchStore(database), StandingStore(database)
        feed = ResultFeed(LeaderboardStore(database), SeasonStore(database), EntryStore(database))
        projection = MatchProjection(matches, standings, RatingStore(database), feed, new_id)
        yield Scoring(database, matches, standings, projection)


def finished(
    *seats: tuple[str, int, int],
    minute: int = 0,
    state: match_pb2.ResultState.ValueType = match_pb2.RESULT_STATE_AGREED,
) -> match_pb2.MatchFinished:
    """Of (user id, placement, score) each."""
    event = match_pb2.MatchFinished(
        match_id=new_id(), game_id=GAME, label="duel", attributes={"map": "hill"}, result_state=state
    )
    for number, (user_id, placement, score) in enumerate(seats, 1):
        event.participants.add(
            seat=number, user_id=user_id, username=f"name at {minute}", placement=placement, score=score
        )
    event.finish_time.FromDatetime(NOW + timedelta(minutes=minute))
    return event


async def test_a_match_counts_once_however_often_it_comes(scoring: Scoring) -> None:
    ada, bob = new_id(), new_id()
    event = finished((ada, 1, 2), (bob, 2, 1))
    for _ in range(3):
        await scoring.apply(event)
    await asyncio.gather(*(scoring.apply(event) for _ in range(5)))
    standing = await scoring.standings.of_player(GAME, ada)
    assert standing is not None
    assert (standing.wins, standing.losses, standing.draws, standing.score) == (1, 0, 0, 2)
    match = await scoring.matches.by_id(event.match_id)
    assert match is not None
    assert [p.user_id for p in match.participants] == [ada, bob]
    assert match.attributes == {"map": "hill"}


async def test_matches_of_the_same_players_at_the_same_time_all_count(scoring: Scoring) -> None:
    players = [new_id() for _ in range(4)]
    events = []
    for number in range(40):
        chosen = random.Random(number).sample(players, 4)
        events.append(finished(*((user, place, 1) for place, user in enumerate(chosen, 1))))
    await asyncio.gather(*(scoring.apply(event) for event in events))
    found = [await scoring.standings.of_player(GAME, user) for user in players]
    assert sum(standing.wins for standing in found if standing) == 40
    assert [standing.score for standing in found if standing] == [40] * 4


async def test_the_history_says_in_which_order_ratings_moved(scoring: Scoring) -> None:
    players = [new_id() for _ in range(4)]
    events = [
        finished(*((user, place, 1) for place, user in enumerate(random.Random(number).sample(players, 2), 1)))
        for number in range(60)
    ]
    await asyncio.gather(*(scoring.apply(event) for event in events))
    folded = await Rebuilding(scoring.database).verify(GAME, ["standings", "ratings"], lambda _: None)
    assert (folded.matches, folded.differences.lines) == (60, [])


async def test_disputed_matches_are_history_and_move_nothing(scoring: Scoring) -> None:
    ada, bob = new_id(), new_id()
    event = finished((ada, 0, 0), (bob, 0, 0), state=match_pb2.RESULT_STATE_DISPUTED)
    await scoring.apply(event)
    assert await scoring.matches.by_id(event.match_id) is not None
    assert await scoring.standings.of_player(GAME, ada) is None


async def test_the_latest_name_stays(scoring: Scoring) -> None:
    ada, bob = new_id(), new_id()
    for minute in (1, 3, 2):
        await scoring.apply(finished((ada, 1, 1), (bob, 2, 0), minute=minute))
    standing = await scoring.standings.of_player(GAME, ada)
    assert standing is not None
    assert (standing.username, standing.wins) == ("name at 3", 3)


@pytest.mark.parametrize("board", list(Board))
async def test_pages_and_places_agree_with_a_plain_sort(scoring: Scoring, board: Board) -> None:
    players = [new_id() for _ in range(12)]
    choose = random.Random(7)
    for _ in range(30):
        one, two = choose.sample(players, 2)
        await scoring.apply(finished((one, 1, choose.randint(-2, 2)), (two, 2, choose.randint(-2, 2))))
    everybody = [s for user in players if (s := await scoring.standings.of_player(GAME, user))]
    expected = sorted(everybody, key=lambda standing: (standing.key(board), standing.user_id))

    listed, after = [], None
    while page := await scoring.standings.page(GAME, board, after, 5):
        listed += page
        after = position_of(page[-1], board)
    assert listed == expected
    for index, standing in enumerate(expected):
        position, rank = await scoring.standings.place(GAME, board, position_of(standing, board))
        assert position == index + 1
        assert rank == 1 + sum(other.key(board) < standing.key(board) for other in everybody)
    assert await scoring.standings.total(GAME) == len(everybody)


async def test_history_pages_latest_first(scoring: Scoring) -> None:
    ada, bob, eve = new_id(), new_id(), new_id()
    events = [finished((ada, 1, 0), (bob if n % 2 else eve, 2, 0), minute=n // 2) for n in range(7)]
    for event in events:
        await scoring.apply(event)
    expected = sorted(events, key=lambda e: (e.finish_time.seconds, e.match_id), reverse=True)
    for user_id, wanted in (
        (None, expected),
        (ada, expected),
        (bob, [e for e in expected if e.participants[1].user_id == bob]),
        (new_id(), []),
    ):
        listed, after = [], None
        while page := await scoring.matches.page(GAME, MatchFilter(user_id=user_id), after, 2):
            listed += page
            after = (page[-1].finish_time, page[-1].match_id)
        assert [match.match_id for match in listed] == [event.match_id for event in wanted]
