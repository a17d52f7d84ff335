"""Takes entries away: one player's at a game's wish, all of an account that was deleted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from oofgg.v1 import leaderboard_pb2 as pb
from pkg.db.database import Connection, Database
from pkg.db.replies import once
from pkg.errors import invalid_field
from pkg.games import GameDirectory
from pkg.ids import is_id
from pkg.rpc.call import Call
from services.scoring.leaderboards.changes import Changes, Removal, announce
from services.scoring.leaderboards.directory import BoardDirectory
from services.scoring.leaderboards.entries import EntryStore, Key
from services.scoring.leaderboards.messages import moment_of, no_entry
from services.scoring.leaderboards.rules import RESERVED

# Who is writing scores is waited for, and who comes after takes a later turn. So of a removal and a score the one with
# the lower turn was there before, in PostgreSQL and in Redis alike.
HOLD_ENTRIES: Final = "lock table leaderboard_entry in share row exclusive mode"

_REMOVE: Final = """
    delete from leaderboard_entry where leaderboard_id = $1 and window_start = $2 and user_id = $3 returning true
"""
# What was counted is counted again.
_RECOUNT: Final = """
    update leaderboard_window set archive_time = null
    where leaderboard_id = $1 and window_start = $2 and archive_time is not null
"""
# After so long somebody else tells Redis.
_DUE_SECONDS: Final = 3.0


async def note_removal(connection: Connection, entries: EntryStore, keys: Iterable[Key], due_seconds: float) -> Removal:
    """Notes, while entries are held, that these were removed."""
    listed = list(keys)
    turn = await connection.fetchval("select nextval('leaderboard_turn')")
    change_id = await entries.note(connection, listed, due_seconds, turn)
    await announce(connection)
    return Removal(change_id, turn, listed)


async def remove(connection: Connection, entries: EntryStore, key: Key) -> Removal | None:
    """Removes an entry in the caller's transaction; None where there is none."""
    await connection.execute(HOLD_ENTRIES)
    if not await connection.fetchval(_REMOVE, *key):
        return None
    await connection.execute(_RECOUNT, *key[:2])
    return await note_removal(connection, entries, [key], _DUE_SECONDS)


class RemovalServicer:
    """RemoveEntry on the wire."""

    def __init__(
        self,
        database: Database,
        entries: EntryStore,
        changes: Changes,
        directory: BoardDirectory,
        games: GameDirectory,
    ) -> None:
        self._database = database
        self._entries = entries
        self._changes = changes
        self._directory = directory
        self._games = games

    async def remove_entry(self, request: pb.RemoveEntryRequest, call: Call) -> pb.RemoveEntryResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        if request.leaderboard in RESERVED:
            raise invalid_field("leaderboard", f"`{request.leaderboard}` follows from results alone")
        if not is_id(request.user_id):
            raise invalid_field("user_id", "must be the id of an account")
        board = await self._directory.get(request.game_id, request.leaderboard)
        window = self._directory.window(board, moment_of(request))
        removed: list[Removal] = []

        async def effect(connection: Connection) -> pb.RemoveEntryResponse:
            removal = await remove(connection, self._entries, (board.leaderboard_id, window.start, request.user_id))
            if removal is None:
                raise no_entry(request.user_id)
            removed.append(removal)
            return pb.RemoveEntryResponse()

        response = await once(
            self._database,
            caller=call.caller.user_id,
            rpc=call.method,
            request_id=request.request_id,
            request=request,
            response=pb.RemoveEntryResponse,
            effect=effect,
        )
        for removal in removed:
            await self._changes.removed(removal)
        return response
