"""What a test of broken pipes stands on: programs, and what there must be of every match in the end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import asyncpg

from pkg.events.topics import MATCH_HISTORY_PREFIX, MATCH_RESULTS, spec_of
from pkg.testing.brokers import Broker
from tests.integration.events.outboxes import committed, id_of
from tests.kafka.programs import Program, environment

_SETTLE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2
_PARTITIONS: Final = spec_of(MATCH_RESULTS).partitions
_PARTS: Final = """
    select array_agg(parts::int) from (
        select count(*) as parts from scoring.position where topic = $1 and holder is not null and lease_until > now()
        group by holder) as held
"""
_EVENTS_OF_GAME: Final = """
    select array_agg(event_id::text) from game.outbox o join game.result r on o.key = r.session_id::text
    where r.game_id = $1
"""
_RESULTS: Final = "select count(*) from game.result"
_UNSETTLED: Final = """
    select (select count(*) from game.outbox where number is null) as untold,
        (select count(*) from scoring.outbox where number is null) as unpublished,
        (select count(*) from game.result) - (select count(*) from scoring.match) as unprojected,
        (select count(*) from scoring.dead_letter) as dead
"""
# Each of these is 0 unless a match was left out or counted twice.
_DIFFERENCES: Final = """
    with played as (
        select game_id, user_id, count(*) as matches, count(*) filter (where placement = 1) as wins, sum(score) as score
        from scoring.participant group by game_id, user_id)
    select
        (select count(*) from played full join scoring.standing s using (game_id, user_id)
            where (played.wins, played.matches - played.wins, played.score) is distinct from (s.wins, s.losses, s.score)
        ) as standings,
        (select count(*) from played full join scoring.rating r using (game_id, user_id)
            where played.matches is distinct from r.matches) as ratings,
        (select count(*) from game.result full join scoring.match m on m.match_id = session_id
            where session_id is null or m.match_id is null) as matches,
        (select count(*) from game.result full join game.outbox on key = session_id::text
            where session_id is null or key is null) as events,
        (select 2 * count(*) from game.result) - (select count(*) from scoring.participant) as participants
"""


class Field:
    """The database, the broker, and the programs of a test."""

    def __init__(self, postgres_url: str, redis_url: str, broker: Broker, logs: Path, games: list[str]) -> None:
        self.broker = broker
        self.games = games
        self._postgres_url = postgres_url
        self._redis_url = redis_url
        self._logs = logs
        self._programs: list[Program] = []

    def program(self, name: str, *command: str) -> Program:
        """A program that does not run yet."""
        settings = environment(name, self._postgres_url, self._redis_url, self.broker.bootstrap)
        made = Program(list(command), settings, self._logs / f"{name}.log")
        self._programs.append(made)
        return made

    def end(self) -> None:
        """Ends all programs."""
        for program in self._programs:
            program.kill()

    async def ask(self, question: str, *values: Any) -> Any:
        """The first row that a statement finds."""
        connection = await asyncpg.connect(self._postgres_url, timeout=10, command_timeout=10)
        try:
            return await connection.fetchrow(question, *values)
        finally:
            await connection.close(timeout=10)

    async def results(self) -> int:
        """Results that were written."""
        return int((await self.ask(_RESULTS))[0])

    async def grown(self, by: int) -> None:
        """Waits for so many more results."""
        wanted = await self.results() + by
        deadline = time.monotonic() + _SETTLE_SECONDS
        while await self.results() < wanted:
            assert time.monotonic() < deadline, "no results are written"
            await asyncio.sleep(_POLL_SECONDS)

    async def shared_among(self, readers: int) -> None:
        """Waits until so many projections have equal parts of the results' partitions."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            parts = (await self.ask(_PARTS, MATCH_RESULTS))[0]
            if parts and len(parts) == readers and len(set(parts)) == 1 and sum(parts) == _PARTITIONS:
                return
            assert time.monotonic() < deadline, f"partitions are shared as {parts}"
            await asyncio.sleep(_POLL_SECONDS)

    async def settled(self) -> None:
        """Waits until everything that was written has arrived everywhere, for as long as that gets on."""
        deadline, least = time.monotonic() + _SETTLE_SECONDS, None
        while any((left := dict(await self.ask(_UNSETTLED))).values()):
            if least is None or sum(left.values()) < least:
                deadline, least = time.monotonic() + _SETTLE_SECONDS, sum(left.values())
            assert time.monotonic() < deadline, f"{left}; {[program.said() for program in self._programs]}"
            await asyncio.sleep(_POLL_SECONDS)

    async def each_match_is_everywhere_once(self) -> int:
        """Waits until it is so, and fails when one is somewhere twice. Returns how many matches there are."""
        await self.settled()
        assert set(dict(await self.ask(_DIFFERENCES)).values()) == {0}, dict(await self.ask(_DIFFERENCES))
        count = await self.results()
        events = (await self.ask("select array_agg(event_id::text) from game.outbox"))[0]
        assert await self._on(MATCH_RESULTS, count) == Counter(events)
        for game in self.games:
            events = (await self.ask(_EVENTS_OF_GAME, game))[0]
            assert await self._on(MATCH_HISTORY_PREFIX + game, len(events)) == Counter(events)
        return count

    async def _on(self, topic: str, count: int) -> Counter[str]:
        return Counter(id_of(record) for record in await committed(self.broker.bootstrap, topic, count))
