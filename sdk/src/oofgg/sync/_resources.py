"""Games, sessions and history, blocking: as in `oofgg._resources`, which has the rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from oofgg import _resources
from oofgg._events import Event
from oofgg._types import (
    ApiKey,
    ApiKeyInfo,
    Game,
    GameSettings,
    Match,
    MatchNews,
    MatchOutcome,
    Outcome,
    Rating,
    RatingRules,
    ResultState,
    SeatResult,
    Session,
    SessionState,
)
from oofgg.sync._loop import Portal


class Games:
    """A developer's games."""

    def __init__(self, portal: Portal, games: _resources.Games) -> None:
        self._portal = portal
        self._games = games

    def create(self, name: str, *, description: str = "", settings: GameSettings | None = None) -> Game:
        """Makes a game. Raises AlreadyExists(GAME_NAME_TAKEN)."""
        return self._portal.call(self._games.create(name, description=description, settings=settings))

    def get(self, game_id: str | None = None) -> Game:
        """Reads a game; the client's own by default. Raises NotFound."""
        return self._portal.call(self._games.get(game_id))

    def list(self) -> Iterator[Game]:
        """The caller's games, newest first."""
        return self._portal.iterate(self._games.list())

    def update(
        self,
        game_id: str | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        settings: GameSettings | None = None,
    ) -> Game:
        """Changes what is given and leaves the rest."""
        return self._portal.call(self._games.update(game_id, name=name, description=description, settings=settings))

    def delete(self, game_id: str | None = None) -> None:
        """Deletes a game: nobody can log in to it or open a session in it any more."""
        self._portal.call(self._games.delete(game_id))

    def create_api_key(self, name: str, *, game_id: str | None = None, expire_time: datetime | None = None) -> ApiKey:
        """Makes an API key for a game's servers, good until `expire_time` (aware). It is shown this once."""
        return self._portal.call(self._games.create_api_key(name, game_id=game_id, expire_time=expire_time))

    def list_api_keys(self, *, game_id: str | None = None) -> Iterator[ApiKeyInfo]:
        """A game's API keys that were not revoked, newest first."""
        return self._portal.iterate(self._games.list_api_keys(game_id=game_id))

    def revoke_api_key(self, key: str | ApiKey | ApiKeyInfo) -> None:
        """Ends a key and the tokens it was exchanged for. Raises NotFound(API_KEY_NOT_FOUND)."""
        self._portal.call(self._games.revoke_api_key(key))


class Sessions:
    """Game sessions. To play in one, see `Client.play`."""

    def __init__(self, portal: Portal, sessions: _resources.Sessions) -> None:
        self._portal = portal
        self._sessions = sessions

    def create(
        self,
        *,
        label: str = "",
        attributes: Mapping[str, str] | None = None,
        min_seats: int = 0,
        max_seats: int = 0,
        max_spectators: int = 0,
        flush_window_ms: int | None = None,
        queue: str = "",
        game_id: str | None = None,
    ) -> Session:
        """Opens a session, which starts when `min_seats` (0: two) are taken, and takes `max_seats` (0: as many as it
        starts with). It has no seats yet: join it, or play. A `queue`, whose ratings its result moves, is for the
        game's developer or server.
        """
        return self._portal.call(
            self._sessions.create(
                label=label,
                attributes=attributes,
                min_seats=min_seats,
                max_seats=max_seats,
                max_spectators=max_spectators,
                flush_window_ms=flush_window_ms,
                queue=queue,
                game_id=game_id,
            )
        )

    def get(self, session_id: str) -> Session:
        """Reads a session. Raises NotFound."""
        return self._portal.call(self._sessions.get(session_id))

    def list(
        self, *, state: SessionState | None = None, label: str = "", game_id: str | None = None
    ) -> Iterator[Session]:
        """Sessions of the game that are not over, newest first."""
        return self._portal.iterate(self._sessions.list(state=state, label=label, game_id=game_id))

    def join(self, session: str | Session, *, team: int = 0) -> Session:
        """Takes a seat, or keeps the one the caller has. Raises FailedPrecondition(SESSION_FULL or SESSION_STATE)."""
        return self._portal.call(self._sessions.join(session, team=team))

    def take_seat(self, session: str | Session, team: int = 0) -> tuple[Session, int]:
        """As `join`; returns the session and the number of the caller's seat."""
        return self._portal.call(self._sessions.take_seat(session, team))

    def leave(self, session: str | Session) -> None:
        """Gives the seat up."""
        self._portal.call(self._sessions.leave(session))

    def update(
        self,
        session: str | Session,
        *,
        label: str | None = None,
        set_attributes: Mapping[str, str] | None = None,
        remove_attributes: Iterable[str] = (),
        expected_version: int | None = None,
    ) -> Session:
        """Changes label and attributes, for all to see as a SessionChange. For its creator and the game's developer.

        With `expected_version`, such as `session.version`, only if nobody else changed it: Aborted(CONFLICT) otherwise.
        """
        return self._portal.call(
            self._sessions.update(
                session,
                label=label,
                set_attributes=set_attributes,
                remove_attributes=remove_attributes,
                expected_version=expected_version,
            )
        )

    def start(self, session: str | Session) -> Session:
        """Starts before all seats are taken, or goes on after a pause. For its creator and the game's developer."""
        return self._portal.call(self._sessions.start(session))

    def pause(self, session: str | Session) -> Session:
        """Interrupts it: a state that all see; who plays fair waits. For its creator and the game's developer."""
        return self._portal.call(self._sessions.pause(session))

    def kick(self, session: str | Session, seat: int, *, reason: str = "", may_return: bool = False) -> None:
        """Removes a participant, for good unless `may_return`. For the session's creator and the game's developer."""
        self._portal.call(self._sessions.kick(session, seat, reason=reason, may_return=may_return))

    def close(self, session: str | Session) -> None:
        """Ends a session without a result. For its creator and the game's developer."""
        self._portal.call(self._sessions.close(session))

    def finish(
        self,
        session: str | Session,
        result: Mapping[int, int] | Iterable[SeatResult],
        *,
        scores: Mapping[int, int] | None = None,
    ) -> Outcome:
        """States the result: a place per seat (`{1: 1, 2: 2}`: seat 1 won), perhaps with scores, or SeatResults.

        The word of a game's developer (a client with `api_key`) counts at once; players have to agree.
        """
        return self._portal.call(self._sessions.finish(session, result, scores=scores))

    def backfill(self, session: str | Session, seats: Mapping[int, int | Iterable[str]]) -> int:
        """Looks for players for free seats of a session that came from a queue with `backfill`, until they are found.

        `seats` are by team: how many, or the roles that are missing there. Asking again replaces what was asked for;
        nothing ends the search. Returns how many seats are looked for now. For the session's creator and the game's
        developer.
        """
        return self._portal.call(self._sessions.backfill(session, seats))

    def replay(self, session_id: str) -> Iterator[Event]:
        """What was said and done in a finished session, in order, as the caller got it; the game's developer gets all.

        Raises NotFound(REPLAY_NOT_FOUND) when it is not kept any more, PermissionDenied(NOT_A_PARTICIPANT).
        """
        return self._portal.iterate(self._sessions.replay(session_id))


class Ratings:
    """How good players are, per queue; `queue` is empty for sessions that players opened themselves."""

    def __init__(self, portal: Portal, ratings: _resources.Ratings) -> None:
        self._portal = portal
        self._ratings = ratings

    def get(self, user_ids: Iterable[str], *, queue: str = "", game_id: str | None = None) -> list[Rating]:
        """The ratings of 1 to 100 players, in their order. Who has not played has the one everybody begins with."""
        return self._portal.call(self._ratings.get(user_ids, queue=queue, game_id=game_id))

    def rules(self, *, queue: str = "", game_id: str | None = None) -> RatingRules:
        """How a queue rates. For the game's developer."""
        return self._portal.call(self._ratings.rules(queue=queue, game_id=game_id))

    def set_rules(self, rules: RatingRules, *, queue: str = "", game_id: str | None = None) -> RatingRules:
        """Decides how a queue rates, from its next result on. For the game's developer."""
        return self._portal.call(self._ratings.set_rules(rules, queue=queue, game_id=game_id))


class History:
    """Finished matches, a moment after they finish."""

    def __init__(self, portal: Portal, history: _resources.History) -> None:
        self._portal = portal
        self._history = history

    def list(
        self,
        *,
        user_id: str = "",
        opponent: str = "",
        outcome: MatchOutcome | None = None,
        result_state: ResultState | None = None,
        queue: str | None = None,
        label: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        game_id: str | None = None,
    ) -> Iterator[Match]:
        """Matches of the game, latest first: all, or those of one player, against an opponent, with an outcome.

        `queue` "" are matches without one; `since` is included, `until` is not, and both are aware.
        """
        return self._portal.iterate(
            self._history.list(
                user_id=user_id,
                opponent=opponent,
                outcome=outcome,
                result_state=result_state,
                queue=queue,
                label=label,
                since=since,
                until=until,
                game_id=game_id,
            )
        )

    def watch(self, *, position: str = "", from_start: bool = False, game_id: str | None = None) -> Iterator[MatchNews]:
        """Matches as they finish, each once and in one order; for the game's developer or server. Never ends by itself.

        Begins after `position` (of the last MatchNews dealt with: keep it), with the first match kept, or with what
        finishes from now on. A dropped connection is opened again.
        """
        return self._portal.iterate(self._history.watch(position=position, from_start=from_start, game_id=game_id))

    def export(self, *, since: datetime | None = None, game_id: str | None = None) -> Iterator[str]:
        """Matches as newline-delimited JSON, latest first, in pieces of whole lines; for the game's developer.

        Raises OofggError when it breaks: begin again then.
        """
        return self._portal.iterate(self._history.export(since=since, game_id=game_id))

    def get(self, match_id: str) -> Match:
        """Reads a match; its id is that of its session. Raises NotFound."""
        return self._portal.call(self._history.get(match_id))
