"""RatingService on the wire."""

from __future__ import annotations

from oofgg.v1 import rating_pb2 as pb
from pkg.errors import invalid_field
from pkg.games import GameDirectory
from pkg.ids import is_id
from pkg.rpc.call import Call
from services.scoring.ratings.rules import RatingRules, beginning
from services.scoring.ratings.store import Rated, RatingStore


class RatingServicer:
    """How good somebody is."""

    def __init__(self, ratings: RatingStore, games: GameDirectory) -> None:
        self._ratings = ratings
        self._games = games

    async def get_ratings(self, request: pb.GetRatingsRequest, call: Call) -> pb.GetRatingsResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        for index, user_id in enumerate(request.user_ids):
            if not is_id(user_id):
                raise invalid_field(f"user_ids[{index}]", "is not the id of an account")
        rules = await self._ratings.rules(request.game_id, request.queue)
        found = await self._ratings.of_players(request.game_id, request.queue, set(request.user_ids))
        unknown = Rated(beginning(rules), None)
        return pb.GetRatingsResponse(
            ratings=[_rating(user_id, found.get(user_id, unknown), rules) for user_id in request.user_ids]
        )

    async def get_rating_rules(self, request: pb.GetRatingRulesRequest, call: Call) -> pb.GetRatingRulesResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        return pb.GetRatingRulesResponse(rules=_rules(await self._ratings.rules(request.game_id, request.queue)))

    async def set_rating_rules(self, request: pb.SetRatingRulesRequest, call: Call) -> pb.SetRatingRulesResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        told = request.rules
        rules = RatingRules.filled(
            mu=told.mu,
            sigma=told.sigma,
            beta=told.beta,
            tau=told.tau,
            provisional_matches=told.provisional_matches,
        )
        await self._ratings.set_rules(request.game_id, request.queue, rules)
        return pb.SetRatingRulesResponse(rules=_rules(rules))


def _rules(rules: RatingRules) -> pb.RatingRules:
    return pb.RatingRules(
        mu=rules.mu, sigma=rules.sigma, beta=rules.beta, tau=rules.tau, provisional_matches=rules.provisional_matches
    )


def _rating(user_id: str, rated: Rated, rules: RatingRules) -> pb.Rating:
    rating = rated.rating
    message = pb.Rating(
        user_id=user_id,
        mu=rating.mu,
        sigma=rating.sigma,
        ordinal=rating.ordinal,
        matches=rating.matches,
        provisional=rating.is_provisional(rules),
    )
    if rated.update_time is not None:
        message.update_time.FromDatetime(rated.update_time)
    return message
