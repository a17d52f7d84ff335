"""Tickets from the wire and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from oofgg import _convert
from oofgg._ticket_types import (
    Attribute,
    Exclusion,
    FoundMatch,
    MatchPlayer,
    TicketPlayer,
    TicketReason,
    TicketState,
    TicketStatus,
)
from oofgg.v1 import matchmaking_pb2 as pb


def ticket_status(wire: pb.Ticket) -> TicketStatus:
    return TicketStatus(
        ticket_id=wire.ticket_id,
        game_id=wire.game_id,
        queues=tuple(wire.queues),
        players=tuple(map(_player, wire.players)),
        state=_convert.short(TicketState, pb.TicketState, wire.state, "TICKET_STATE_"),
        reason=_convert.short(TicketReason, pb.TicketReason, wire.reason, "TICKET_REASON_"),
        create_time=_convert.time(wire, "create_time"),
        expire_time=_convert.time(wire, "expire_time"),
        estimated_wait=wire.estimated_wait_seconds if wire.HasField("estimated_wait_seconds") else None,
        exclusions=tuple(Exclusion(each.rule, each.tickets) for each in wire.exclusions),
        candidates=wire.candidates,
        answer_deadline_time=_convert.time(wire, "answer_deadline_time"),
        accepted_players=wire.accepted_players,
        proposed_players=wire.proposed_players,
        match=_match(wire.match) if wire.HasField("match") else None,
        version=wire.version,
    )


def wire_attributes(
    attributes: Mapping[str, Attribute] | None, roles: Iterable[str], latencies: Mapping[str, float] | None
) -> pb.PlayerAttributes:
    """Raises TypeError for an attribute that is no text, number or list of texts, ValueError for one like infinity."""
    wire = pb.PlayerAttributes(roles=_texts("roles", roles))
    for region, latency in (latencies or {}).items():
        wire.latencies_ms[region] = _number(f"latencies[{region!r}]", latency)
    for name, value in (attributes or {}).items():
        what = f"attributes[{name!r}]"
        if isinstance(value, str):
            wire.texts[name] = value
        elif isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
            wire.lists[name].values.extend(_texts(what, value))
        else:
            wire.numbers[name] = _number(what, value)
    return wire


def wire_player(player: TicketPlayer) -> pb.TicketPlayer:
    return pb.TicketPlayer(
        user_id=player.user_id,
        username=player.username,
        attributes=wire_attributes(player.attributes, player.roles, player.latencies),
    )


def _player(wire: pb.TicketPlayer) -> TicketPlayer:
    known = wire.attributes
    attributes: dict[str, Attribute] = {**known.texts, **known.numbers}
    attributes.update((name, tuple(texts.values)) for name, texts in known.lists.items())
    return TicketPlayer(wire.user_id, wire.username, attributes, tuple(known.roles), dict(known.latencies_ms))


def _match(wire: pb.MatchInfo) -> FoundMatch:
    return FoundMatch(
        session_id=wire.session_id,
        queue=wire.queue,
        node=wire.placement.node,
        players=tuple(
            MatchPlayer(each.user_id, each.username, each.team, each.role, each.ticket_id) for each in wire.players
        ),
        attributes=dict(wire.attributes),
        bots=wire.bots,
        join_deadline_time=_convert.time(wire, "join_deadline_time"),
    )


def _texts(what: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise TypeError(f"{what} are texts, not a text")
    found = sorted(values) if isinstance(values, set | frozenset) else list(values)
    for value in found:
        if not isinstance(value, str):
            raise TypeError(f"{what}: {value!r} is no text")
    return found


def _number(what: str, value: object) -> float:
    # A bool is a number to Python. As an attribute it is neither: say "yes" or "no".
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what}: {value!r} is no text, number or list of texts")
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value}")
    return float(value)
