"""What services ask the catalogue about a game, remembered for a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkg.auth.caller import Caller, CallerRole
from pkg.clock import Clock
from pkg.errors import NotFound, PermissionDenied, Reason
from pkg.ids import is_id
from pkg.internal.v1 import catalog_pb2
from pkg.remembering import Remembered
from pkg.rpc.call import Call
from pkg.rpc.channel import ServiceChannel

_LOOKUP: Final = catalog_pb2.DESCRIPTOR.services_by_name["GameDirectoryService"].methods_by_name["LookupGame"]
_DEADLINE_SECONDS: Final = 2.0
# A changed or deleted game is noticed after this long at most.
_REMEMBER_SECONDS: Final = 5.0
_REMEMBERED_GAMES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Quotas:
    """What a game is allowed; 0 for no limit."""

    players: int = 0
    sessions: int = 0
    calls_per_second: int = 0


NO_QUOTAS: Final = Quotas()


@dataclass(frozen=True, slots=True)
class GameRecord:
    """A game as other services need it. `match_history_topic` is empty when it is turned off."""

    game_id: str
    owner_user_id: str
    max_seats: int
    match_history_topic: str
    single_login: bool
    quotas: Quotas


class GameDirectory:
    """Looks games up in `catalog`."""

    def __init__(self, channel: ServiceChannel, clock: Clock) -> None:
        self._channel = channel
        self._known: Remembered[str, GameRecord] = Remembered(_REMEMBERED_GAMES, _REMEMBER_SECONDS, clock.monotonic)

    async def lookup(self, game_id: str, call: Call | None = None) -> GameRecord:
        """The game. Raises NotFound(GAME_NOT_FOUND), or Unavailable when `catalog` does not answer."""
        known = self._known.get(game_id, None)
        if known is not None:
            return known
        if not is_id(game_id):
            raise game_not_found(game_id)
        answer = await self._channel.call(
            _LOOKUP,
            catalog_pb2.LookupGameRequest(game_id=game_id),
            catalog_pb2.LookupGameResponse,
            within=_DEADLINE_SECONDS,
            on_behalf_of=call,
        )
        record = GameRecord(
            answer.game_id,
            answer.owner_user_id,
            answer.max_seats,
            answer.match_history_topic,
            answer.single_login,
            Quotas(answer.quota_players, answer.quota_sessions, answer.quota_calls_per_second),
        )
        return self._known.put(game_id, record)

    async def require_access(self, caller: Caller, game_id: str, call: Call | None = None) -> None:
        """Lets in the game's own players, its API keys and its developer.

        Raises PermissionDenied (WRONG_GAME or NOT_OWNER), or NotFound(GAME_NOT_FOUND).
        """
        if caller.role is CallerRole.DEVELOPER and not caller.game_id:
            if (await self.lookup(game_id, call)).owner_user_id != caller.user_id:
                raise PermissionDenied(Reason.NOT_OWNER, f"Game {game_id} belongs to another developer.")
        else:
            caller.require_game(game_id)


def game_not_found(game_id: str) -> NotFound:
    """The error for a game that there is not."""
    return NotFound(Reason.GAME_NOT_FOUND, f"There is no game {game_id[:64]}.", game_id=game_id[:64])
