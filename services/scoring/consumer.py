"""What scoring does with events."""

from __future__ import annotations

from oofgg.events.v1 import match_pb2
from pkg.db.database import Connection
from pkg.events.outbox import Event
from services.scoring.projection import MatchProjection

MATCH_FINISHED = match_pb2.MatchFinished.DESCRIPTOR.full_name


class MatchConsumer:
    """Takes finished matches in; events of other types are none of its business."""

    def __init__(self, projection: MatchProjection) -> None:
        self._projection = projection

    async def apply(self, connection: Connection, event: Event) -> None:
        """Runs once per event, in the transaction that notes it. Raises ValueError or DecodeError for nonsense."""
        if event.type == MATCH_FINISHED:
            await self._projection.apply(connection, event)
