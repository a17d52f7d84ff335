"""What happened in a queue, for Kafka: from Redis into the outbox, each once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from oofgg.events.v1 import matchmaking_pb2 as events_pb
from oofgg.v1 import matchmaking_pb2 as pb
from pkg.db.database import Database
from pkg.events.outbox import Event, append_all
from pkg.events.topics import MATCHMAKING
from pkg.internal.v1 import ticket_pb2 as kept_pb
from services.matchmaking.stores.leading import LeaderStore, QueueKey
from services.matchmaking.stores.tickets import MatchRecord, TicketRecord, TicketStore

_FORMED: Final = events_pb.MatchFormed.DESCRIPTOR.full_name
_ENDED: Final = events_pb.TicketEnded.DESCRIPTOR.full_name


class Publishing:
    """Writes events of queues to the outbox."""

    def __init__(self, database: Database, store: LeaderStore, tickets: TicketStore) -> None:
        self._database = database
        self._store = store
        self._tickets = tickets

    async def drain(self, key: QueueKey) -> None:
        """Publishes what has happened since the last time.

        Publishing again what was not noted as published has no effect. Raises Unavailable.
        """
        while happened := await self._store.happened(key):
            matches = await self._store.matches(key, [each.subject for each in happened if each.kind == "M"])
            ended = [each.subject for each in happened if each.kind == "T"]
            tickets = dict(zip(ended, await self._tickets.read(key.game_id, ended), strict=True))
            events = [_formed(key.game_id, match) for match in matches.values()]
            events += [_ended(ticket_id, ticket) for ticket_id, ticket in tickets.items() if ticket is not None]
            if events:
                async with self._database.transaction() as connection:
                    await append_all(connection, events, MATCHMAKING)
            await self._store.published(key, [each.position for each in happened])


def _formed(game_id: str, record: MatchRecord) -> Event:
    kept = kept_pb.StoredMatch.FromString(record.data)
    match = kept.match
    waits = {ticket.ticket_id: ticket.wait_seconds for ticket in kept.tickets}
    event = events_pb.MatchFormed(
        session_id=match.session_id,
        game_id=game_id,
        queue=match.queue,
        queue_version=kept.queue_version,
        attributes=match.attributes,
        bots=match.bots,
        backfill=bool(kept.opening_session_id),
    )
    rated = len(kept.mu) == len(match.players)
    for number, player in enumerate(match.players):
        formed = event.players.add(
            user_id=player.user_id,
            username=player.username,
            team=player.team,
            role=player.role,
            ticket_id=player.ticket_id,
            wait_seconds=waits.get(player.ticket_id, 0.0),
        )
        if rated:
            formed.rating = kept.mu[number]
    event.form_time.FromMilliseconds(kept.propose_time_ms)
    when = datetime.fromtimestamp(kept.propose_time_ms / 1000, UTC)
    return Event(record.match_id, _FORMED, match.session_id, event.SerializeToString(), when)


def _ended(ticket_id: str, record: TicketRecord) -> Event:
    ticket = kept_pb.StoredTicket.FromString(record.data).ticket
    event = events_pb.TicketEnded(
        ticket_id=ticket_id,
        game_id=ticket.game_id,
        queues=ticket.queues,
        user_ids=[player.user_id for player in ticket.players],
        reason=_REASONS.get(record.reason, events_pb.TICKET_END_UNSPECIFIED),
    )
    event.create_time.FromMilliseconds(record.enter_ms)
    event.end_time.FromMilliseconds(record.end_ms)
    when = datetime.fromtimestamp(record.end_ms / 1000, UTC)
    return Event(ticket_id, _ENDED, ticket_id, event.SerializeToString(), when)


# The public reasons have the same names where there is one.
_REASONS: Final[dict[int, events_pb.TicketEnd.ValueType]] = {
    number: events_pb.TicketEnd.Value(name.replace("TICKET_REASON", "TICKET_END"))
    for name, number in pb.TicketReason.items()
    if name.replace("TICKET_REASON", "TICKET_END") in events_pb.TicketEnd.keys()  # noqa: SIM118  # not a dict
}
