"""Tickets and matches between the wire, Redis and the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oofgg.v1 import matchmaking_pb2 as pb
from oofgg.v1 import session_pb2
from pkg.internal.v1 import ticket_pb2 as kept_pb
from services.matchmaking.engine.queues import Queue
from services.matchmaking.engine.tickets import Opening, OpenTeam, Player, Proposal, Ticket
from services.matchmaking.stores.tickets import TicketRecord


def player_of(message: pb.TicketPlayer, rating: float = 0.0) -> Player:
    """A player as the engine knows it."""
    known = message.attributes
    return Player(
        message.user_id,
        message.username,
        rating,
        dict(known.texts),
        {name: tuple(values.values) for name, values in known.lists.items()},
        dict(known.numbers),
        dict(known.latencies_ms),
        tuple(known.roles),
    )


def player_message(player: Player) -> pb.TicketPlayer:
    """The same back."""
    message = pb.TicketPlayer(user_id=player.user_id, username=player.username)
    known = message.attributes
    known.texts.update(player.texts)
    for name, values in player.lists.items():
        known.lists[name].values.extend(values)
    known.numbers.update(player.numbers)
    known.latencies_ms.update(player.latencies)
    known.roles.extend(player.roles)
    return message


def stored_ticket(
    ticket_id: str,
    game_id: str,
    queues: Sequence[str],
    players: Iterable[pb.TicketPlayer],
    ratings: Mapping[str, Sequence[float]],
) -> kept_pb.StoredTicket:
    """A ticket as it is kept."""
    return kept_pb.StoredTicket(
        ticket=pb.Ticket(ticket_id=ticket_id, game_id=game_id, queues=queues, players=players),
        ratings=[kept_pb.QueueRatings(queue=queue, mu=mu) for queue, mu in ratings.items()],
    )


def without_player(data: bytes, user_id: str) -> kept_pb.StoredTicket:
    """A ticket as it is kept, without one of its players."""
    kept = kept_pb.StoredTicket.FromString(data)
    places = [place for place, player in enumerate(kept.ticket.players) if player.user_id == user_id]
    for place in reversed(places):
        del kept.ticket.players[place]
        for ratings in kept.ratings:
            if place < len(ratings.mu):
                del ratings.mu[place]
    return kept


def ticket_of(data: bytes, enter_ms: int, queue: str) -> Ticket:
    """A ticket as the engine of a queue knows it."""
    kept = kept_pb.StoredTicket.FromString(data)
    mu = next((ratings.mu for ratings in kept.ratings if ratings.queue == queue), ())
    players = kept.ticket.players
    rated = mu if len(mu) == len(players) else [0.0] * len(players)
    return Ticket(
        kept.ticket.ticket_id,
        tuple(player_of(player, rating) for player, rating in zip(players, rated, strict=True)),
        enter_ms / 1000,
    )


def opening_of(session_id: str, data: bytes, enter_ms: int) -> Opening:
    """A session that looks for players as the engine knows it."""
    kept = kept_pb.StoredOpening.FromString(data)
    mu = kept.mu if len(kept.mu) == len(kept.players) else [0.0] * len(kept.players)
    return Opening(
        session_id,
        tuple(OpenTeam(team.team, team.seats, tuple(team.roles)) for team in kept.seats if team.seats),
        tuple(player_of(player, rating) for player, rating in zip(kept.players, mu, strict=True)),
        enter_ms / 1000,
        dict(kept.attributes),
    )


def stored_match(proposal: Proposal, queue: Queue, now: float) -> kept_pb.StoredMatch:
    """A proposed match as it is kept. `now` is in seconds since the epoch."""
    template = queue.session
    opening = proposal.opening
    match = kept_pb.StoredMatch(
        queue_version=queue.version,
        tickets=[
            kept_pb.StoredMatchTicket(
                ticket_id=ticket.ticket_id, wait_seconds=max(0.0, round(now - ticket.enter_time, 3))
            )
            for ticket in proposal.tickets
        ],
        opening_session_id=opening.session_id if opening else "",
        max_seats=max(len(proposal.placed), queue.most_players),
        label=template.label or queue.name,
        flush_window_ms=template.flush_window_ms,
        max_spectators=template.max_spectators,
        propose_time_ms=int(now * 1000),
    )
    info = match.match
    info.queue = queue.name
    info.bots = proposal.bots
    info.attributes.update(template.attributes)
    info.attributes.update(proposal.attributes)
    if proposal.bots:
        info.attributes["bots"] = str(proposal.bots)
    for placed in sorted(proposal.placed, key=lambda each: each.team):
        info.players.add(
            user_id=placed.player.user_id,
            username=placed.player.username,
            team=placed.team,
            role=placed.role,
            ticket_id=placed.ticket_id,
        )
        if queue.rated:
            match.mu.append(placed.player.rating)
        if queue.backfill:
            match.players.append(player_message(placed.player))
    return match


def ticket_message(
    message: pb.Ticket, record: TicketRecord, queues: Mapping[str, Queue], estimate: float | None
) -> pb.Ticket:
    """What is kept of a ticket, completed to what its players see. `queues` are those it waits in, as far as known."""
    message.state = record.state  # type: ignore[assignment]  # the same numbers
    message.reason = record.reason  # type: ignore[assignment]
    message.version = record.version
    message.create_time.FromMilliseconds(record.enter_ms)
    if record.state == pb.TICKET_STATE_QUEUED:
        waits = [queues[name].max_wait for name in message.queues if name in queues]
        if waits:
            message.expire_time.FromMilliseconds(record.enter_ms + int(max(waits) * 1000))
        if estimate is not None:
            message.estimated_wait_seconds = round(estimate, 1)
        if record.why is not None:
            message.candidates = record.why.candidates
            for rule, count in sorted(record.why.exclusions.items(), key=lambda each: -each[1]):
                message.exclusions.add(rule=rule, tickets=count)
    match = record.match
    if match is not None:
        if record.state in (pb.TICKET_STATE_PROPOSED, pb.TICKET_STATE_ACCEPTED):
            message.accepted_players = record.accepted
            message.proposed_players = match.players
            if match.deadline_ms:
                message.answer_deadline_time.FromMilliseconds(match.deadline_ms)
        elif record.state == pb.TICKET_STATE_MATCHED:
            message.match.CopyFrom(kept_pb.StoredMatch.FromString(match.data).match)
    return message


def settled(match: kept_pb.StoredMatch, session_id: str, node: str, join_deadline: Any) -> kept_pb.StoredMatch:
    """A match with its session."""
    info = match.match
    info.session_id = session_id
    info.placement.CopyFrom(session_pb2.Placement(node=node))
    info.join_deadline_time.CopyFrom(join_deadline)
    return match
