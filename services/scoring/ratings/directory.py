"""RatingDirectoryService on the wire: ratings for other services."""

from __future__ import annotations

from pkg.internal.v1 import rating_pb2 as pb
from pkg.rpc.call import Call
from services.scoring.ratings.rules import beginning
from services.scoring.ratings.store import RatingStore


class RatingDirectory:
    """How good players are, for who brings them together."""

    def __init__(self, ratings: RatingStore) -> None:
        self._ratings = ratings

    async def lookup_ratings(self, request: pb.LookupRatingsRequest, call: Call) -> pb.LookupRatingsResponse:
        response = pb.LookupRatingsResponse()
        for asked in request.queues:
            first = beginning(await self._ratings.rules(asked.game_id, asked.queue)).mu
            found = await self._ratings.of_players(asked.game_id, asked.queue, set(asked.user_ids))
            response.queues.add(
                mu=[found[user_id].rating.mu if user_id in found else first for user_id in asked.user_ids]
            )
        return response
