"""What is known of queues, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.errors import NotFound, Unavailable, backend_unavailable
from pkg.ids import new_id
from services.matchmaking.directory import QueueDirectory
from services.matchmaking.stores.leading import QueueKey
from services.matchmaking.stores.queues import QueueRow, QueueStore


class Turned:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


class Rows:
    """Queues, as long as the database answers."""

    def __init__(self) -> None:
        self.rows: dict[QueueKey, QueueRow] = {}
        self.away = False

    async def some(self, keys: list[QueueKey]) -> dict[QueueKey, QueueRow]:
        if self.away:
            raise backend_unavailable("PostgreSQL")
        return {key: self.rows[key] for key in keys if key in self.rows}


async def test_a_queue_stays_what_it_was_while_the_database_is_away() -> None:
    rows, clock = Rows(), Turned()
    directory = QueueDirectory(cast("QueueStore", cast("Any", rows)), clock)
    key = QueueKey(new_id(), "duel")
    row = QueueRow("duel", 1, pb.Queue(name="duel", min_teams=2).SerializeToString(), clock.now(), clock.now())
    rows.rows[key] = row
    assert (await directory.get(key)).min_teams == 2
    rows.rows[key] = QueueRow("duel", 2, pb.Queue(name="duel", min_teams=4).SerializeToString(), *(clock.now(),) * 2)
    assert (await directory.get(key)).min_teams == 2, "remembered for a moment"
    rows.away, clock.seconds = True, 10.0
    assert (await directory.get(key)).min_teams == 2
    with pytest.raises(Unavailable):
        await directory.get(QueueKey(key.game_id, "unknown"))
    rows.away, clock.seconds = False, 20.0
    assert (await directory.get(key)).min_teams == 4
    del rows.rows[key]
    clock.seconds = 30.0
    with pytest.raises(NotFound):
        await directory.get(key)
