"""GameService, and the directory for other services, on the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from google.protobuf.message import Message

from oofgg.v1 import game_pb2 as pb
from pkg.auth.caller import Caller, CallerRole
from pkg.clock import Clock
from pkg.db.database import Connection, Database
from pkg.errors import PermissionDenied, Reason
from pkg.games import Quotas, game_not_found
from pkg.ids import NewId, is_id
from pkg.internal.v1 import catalog_pb2
from pkg.pagination import decode_time_token, encode_time_token, page_size
from pkg.rpc.call import Call
from pkg.rpc.mutations import once_per_call
from services.catalog.games import DEFAULT_MAX_SEATS, Game, apply_update, clean_name
from services.catalog.store import GameStore

M = TypeVar("M", bound=Message)


class GameServicer:
    """Games for their developers and players."""

    def __init__(
        self, games: GameStore, database: Database, clock: Clock, new_id: NewId, wake_topics: Callable[[], None]
    ) -> None:
        self._games = games
        self._database = database
        self._clock = clock
        self._new_id = new_id
        self._wake_topics = wake_topics

    async def create_game(self, request: pb.CreateGameRequest, call: Call) -> pb.CreateGameResponse:
        call.caller.require_console()
        now = self._clock.now()
        game = Game(
            game_id=self._new_id(),
            name=clean_name(request.name, "name"),
            description=request.description,
            owner_user_id=call.caller.user_id,
            max_seats=request.settings.max_seats or DEFAULT_MAX_SEATS,
            match_history_topic_disabled=request.settings.match_history_topic_disabled,
            create_time=now,
            update_time=now,
            single_login=request.settings.single_login,
        )

        async def effect(connection: Connection) -> pb.CreateGameResponse:
            await self._games.insert(connection, game)
            await self._games.want_topic(connection, game)
            return pb.CreateGameResponse(game=_message(game))

        response = await once_per_call(self._database, call, request, pb.CreateGameResponse, effect)
        self._wake_topics()
        return response

    async def get_game(self, request: pb.GetGameRequest, call: Call) -> pb.GetGameResponse:
        caller = call.caller
        game = await self._games.by_id(request.game_id) if is_id(request.game_id) else None
        if game is None:
            raise game_not_found(request.game_id)
        if caller.game_id:
            caller.require_game(game.game_id)
        elif caller.role is not CallerRole.ADMIN:
            _require_owner(caller, game)
        return pb.GetGameResponse(game=_message(game))

    async def list_games(self, request: pb.ListGamesRequest, call: Call) -> pb.ListGamesResponse:
        call.caller.require_console()
        size = page_size(request.page_size)
        owner = None if call.caller.role is CallerRole.ADMIN else call.caller.user_id
        games = await self._games.page(owner, decode_time_token(request.page_token), size + 1)
        more = encode_time_token(games[size - 1].create_time, games[size - 1].game_id) if games[size:] else ""
        return pb.ListGamesResponse(games=[_message(game) for game in games[:size]], next_page_token=more)

    async def update_game(self, request: pb.UpdateGameRequest, call: Call) -> pb.UpdateGameResponse:
        async def effect(connection: Connection) -> pb.UpdateGameResponse:
            game = await self._own_game(connection, request.game.game_id, call.caller)
            changed = apply_update(game, _parse(request.game, game), request.update_mask.paths, self._clock.now())
            await self._games.update(connection, changed)
            await self._games.want_topic(connection, changed)
            return pb.UpdateGameResponse(game=_message(changed))

        response = await once_per_call(self._database, call, request, pb.UpdateGameResponse, effect)
        self._wake_topics()
        return response

    async def set_game_quotas(self, request: pb.SetGameQuotasRequest, call: Call) -> pb.SetGameQuotasResponse:
        call.caller.require_console()
        told = request.quotas
        async with self._database.transaction() as connection:
            game = await self._games.lock(connection, request.game_id) if is_id(request.game_id) else None
            if game is None:
                raise game_not_found(request.game_id)
            quotas = Quotas(told.players, told.sessions, told.calls_per_second)
            await self._games.set_quotas(connection, game.game_id, quotas)
        return pb.SetGameQuotasResponse(game=_message(replace(game, quotas=quotas)))

    async def delete_game(self, request: pb.DeleteGameRequest, call: Call) -> pb.DeleteGameResponse:
        async def effect(connection: Connection) -> pb.DeleteGameResponse:
            game = await self._own_game(connection, request.game_id, call.caller)
            await self._games.delete(connection, game.game_id, self._clock.now())
            return pb.DeleteGameResponse()

        return await once_per_call(self._database, call, request, pb.DeleteGameResponse, effect)

    async def _own_game(self, connection: Connection, game_id: str, caller: Caller) -> Game:
        caller.require_console()
        game = await self._games.lock(connection, game_id) if is_id(game_id) else None
        if game is None:
            raise game_not_found(game_id)
        _require_owner(caller, game)
        return game


class GameDirectoryServicer:
    """Games for other services."""

    def __init__(self, games: GameStore, defaults: Quotas) -> None:
        """`defaults` hold for games about which no admin has said anything else."""
        self._games = games
        self._defaults = defaults

    async def lookup_game(self, request: catalog_pb2.LookupGameRequest, _: Call) -> catalog_pb2.LookupGameResponse:
        game = await self._games.by_id(request.game_id) if is_id(request.game_id) else None
        if game is None:
            raise game_not_found(request.game_id)
        return catalog_pb2.LookupGameResponse(
            game_id=game.game_id,
            owner_user_id=game.owner_user_id,
            max_seats=game.max_seats,
            match_history_topic=game.match_history_topic,
            single_login=game.single_login,
            quota_players=game.quotas.players or self._defaults.players,
            quota_sessions=game.quotas.sessions or self._defaults.sessions,
            quota_calls_per_second=game.quotas.calls_per_second or self._defaults.calls_per_second,
        )

    async def count_games(self, request: catalog_pb2.CountGamesRequest, _: Call) -> catalog_pb2.CountGamesResponse:
        return catalog_pb2.CountGamesResponse(
            games=await self._games.count(request.owner_user_id) if is_id(request.owner_user_id) else 0
        )


def _require_owner(caller: Caller, game: Game) -> None:
    if caller.user_id != game.owner_user_id:
        raise PermissionDenied(Reason.NOT_OWNER, f"Game {game.game_id} belongs to another developer.")


def _parse(message: pb.Game, base: Game) -> Game:
    """`base` with all that a message can say about a game."""
    return replace(
        base,
        name=message.name,
        description=message.description,
        max_seats=message.settings.max_seats or DEFAULT_MAX_SEATS,
        match_history_topic_disabled=message.settings.match_history_topic_disabled,
        single_login=message.settings.single_login,
    )


def _message(game: Game) -> pb.Game:
    message = pb.Game(
        game_id=game.game_id,
        name=game.name,
        description=game.description,
        owner_user_id=game.owner_user_id,
        settings=pb.GameSettings(
            max_seats=game.max_seats,
            match_history_topic_disabled=game.match_history_topic_disabled,
            single_login=game.single_login,
        ),
        quotas=pb.GameQuotas(
            players=game.quotas.players,
            sessions=game.quotas.sessions,
            calls_per_second=game.quotas.calls_per_second,
        ),
        match_history_topic=game.match_history_topic,
    )
    message.create_time.FromDatetime(game.create_time)
    message.update_time.FromDatetime(game.update_time)
    return message
