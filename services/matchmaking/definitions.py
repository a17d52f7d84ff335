"""What a developer says about queues, on the wire."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import Message

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.clock import Clock
from pkg.db.database import Connection, Database
from pkg.errors import Aborted, Reason, invalid_field
from pkg.games import GameDirectory, game_not_found
from pkg.ids import is_id
from pkg.pagination import decode_token, encode_token, page_size
from pkg.rpc.call import Call
from pkg.rpc.mutations import once_per_call
from services.matchmaking.directory import QueueDirectory, queue_not_found
from services.matchmaking.engine.checks import checked
from services.matchmaking.figures import QueueFigures
from services.matchmaking.messages import queue_message, queue_of
from services.matchmaking.stores.leading import QueueKey
from services.matchmaking.stores.queues import QueueRow, QueueStore

M = TypeVar("M", bound=Message)


class DefinitionServicer:
    """Queues as they are defined."""

    def __init__(
        self,
        database: Database,
        store: QueueStore,
        directory: QueueDirectory,
        figures: QueueFigures,
        games: GameDirectory,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._directory = directory
        self._figures = figures
        self._games = games
        self._clock = clock

    async def create_queue(self, request: pb.CreateQueueRequest, call: Call) -> pb.CreateQueueResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        if not is_id(request.game_id):
            raise game_not_found(request.game_id)
        definition = await self._definition(request, call)

        async def effect(connection: Connection) -> pb.CreateQueueResponse:
            now = self._clock.now()
            row = QueueRow(request.queue.name, 1, _versioned(definition, 1), now, now)
            await self._store.insert(connection, request.game_id, row)
            return pb.CreateQueueResponse(queue=_message(row))

        response = await once_per_call(self._database, call, request, pb.CreateQueueResponse, effect)
        self._directory.forget(QueueKey(request.game_id, request.queue.name))
        return response

    async def update_queue(self, request: pb.UpdateQueueRequest, call: Call) -> pb.UpdateQueueResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        definition = await self._definition(request, call)
        name = request.queue.name

        async def effect(connection: Connection) -> pb.UpdateQueueResponse:
            row = await self._store.lock(connection, request.game_id, name) if is_id(request.game_id) else None
            if row is None:
                raise queue_not_found(name)
            if request.expected_version not in (0, row.version):
                raise Aborted(
                    Reason.CONFLICT,
                    f"The queue has version {row.version}, not {request.expected_version}. Read it again.",
                    version=str(row.version),
                )
            version = row.version + 1
            changed = QueueRow(name, version, _versioned(definition, version), row.create_time, self._clock.now())
            await self._store.update(connection, request.game_id, changed)
            return pb.UpdateQueueResponse(queue=_message(changed))

        response = await once_per_call(self._database, call, request, pb.UpdateQueueResponse, effect)
        self._directory.forget(QueueKey(request.game_id, name))
        return response

    async def delete_queue(self, request: pb.DeleteQueueRequest, call: Call) -> pb.DeleteQueueResponse:
        await self._games.require_access(call.caller, request.game_id, call)

        async def effect(connection: Connection) -> pb.DeleteQueueResponse:
            if not is_id(request.game_id) or not await self._store.delete(connection, request.game_id, request.queue):
                raise queue_not_found(request.queue)
            return pb.DeleteQueueResponse()

        response = await once_per_call(self._database, call, request, pb.DeleteQueueResponse, effect)
        self._directory.forget(QueueKey(request.game_id, request.queue))
        return response

    async def get_queue(self, request: pb.GetQueueRequest, call: Call) -> pb.GetQueueResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        key = QueueKey(request.game_id, request.queue)
        row = (await self._store.some([key])).get(key) if is_id(request.game_id) else None
        if row is None:
            raise queue_not_found(request.queue)
        figures, waiting = await self._figures.of(key)
        estimate = figures.estimate(self._clock.now().timestamp())
        return pb.GetQueueResponse(
            queue=_message(row),
            stats=pb.QueueStats(
                waiting_tickets=waiting,
                waiting_players=figures.players,
                median_wait_seconds=estimate.median if estimate else None,
                p90_wait_seconds=estimate.p90 if estimate else None,
            ),
        )

    async def list_queues(self, request: pb.ListQueuesRequest, call: Call) -> pb.ListQueuesResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        key = decode_token(request.page_token, str)
        size = page_size(request.page_size)
        after = str(key[0]) if key else ""
        found = await self._store.page(request.game_id, after, size + 1) if is_id(request.game_id) else []
        return pb.ListQueuesResponse(
            queues=[_message(row) for row in found[:size]],
            next_page_token=encode_token([found[size - 1].name]) if found[size:] else "",
        )

    async def _definition(self, request: Any, call: Call) -> pb.Queue:
        """A definition without zeros. Raises InvalidArgument for one that makes no sense."""
        queue = checked(queue_of(request.queue))
        game = await self._games.lookup(request.game_id, call)
        if queue.most_players > game.max_seats:
            raise invalid_field(
                "queue.max_team_size",
                f"a match would have {queue.most_players} players; sessions of this game have at most "
                f"{game.max_seats} seats. Make the match smaller, or raise the game's `max_seats`.",
            )
        definition = queue_message(queue)
        definition.description = request.queue.description
        return definition


def _versioned(definition: pb.Queue, version: int) -> bytes:
    definition.version = version
    return definition.SerializeToString()


def _message(row: QueueRow) -> pb.Queue:
    message = pb.Queue.FromString(row.definition)
    message.version = row.version
    message.create_time.FromDatetime(row.create_time)
    message.update_time.FromDatetime(row.update_time)
    return message
