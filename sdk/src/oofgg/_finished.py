"""A finished match as it is on Kafka, in the SDK's own types."""

from __future__ import annotations

from oofgg import _convert as convert
from oofgg import _types as types
from oofgg.events.v1 import match_pb2


def finished_match(wire: match_pb2.MatchFinished) -> types.Match:
    """The match in an event; `client.history.get` answers the same."""
    state = convert.short(types.ResultState, match_pb2.ResultState, wire.result_state, "RESULT_STATE_")
    winners = {_side(player) for player in wire.participants if player.placement == 1}
    return types.Match(
        match_id=wire.match_id,
        game_id=wire.game_id,
        result_state=state,
        participants=tuple(
            types.MatchParticipant(
                seat=player.seat,
                user_id=player.user_id,
                username=player.username,
                team=player.team,
                placement=player.placement,
                score=player.score,
                outcome=_outcome(player, len(winners), disputed=state is types.ResultState.DISPUTED),
                rating_change=_rating_change(player),
                stats=dict(player.stats),
            )
            for player in wire.participants
        ),
        label=wire.label,
        attributes=dict(wire.attributes),
        start_time=convert.time(wire, "start_time"),
        finish_time=convert.time(wire, "finish_time"),
        queue=wire.queue,
    )


def _side(player: match_pb2.MatchParticipant) -> tuple[str, int]:
    return ("team", player.team) if player.team else ("seat", player.seat)


def _outcome(player: match_pb2.MatchParticipant, winners: int, *, disputed: bool) -> types.MatchOutcome:
    """First place alone, or with one's team alone, wins; a shared first place is a draw: as the platform counts."""
    if disputed:
        return types.MatchOutcome.UNSPECIFIED
    if player.placement != 1:
        return types.MatchOutcome.LOSS
    return types.MatchOutcome.WIN if winners == 1 else types.MatchOutcome.DRAW


def _rating_change(player: match_pb2.MatchParticipant) -> types.RatingChange | None:
    if not player.HasField("rating_change"):
        return None
    change = player.rating_change
    return types.RatingChange(_rating(change.before, player.user_id), _rating(change.after, player.user_id))


def _rating(wire: match_pb2.Rating, user_id: str) -> types.Rating:
    return types.Rating(
        user_id=user_id,
        mu=wire.mu,
        sigma=wire.sigma,
        ordinal=wire.mu - 3 * wire.sigma,
        matches=wire.matches,
        provisional=wire.provisional,
    )
