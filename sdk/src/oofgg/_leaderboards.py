"""Leaderboards: the calls, and their way to the wire and back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from oofgg._calls import new_request_id
from oofgg._convert import short, time, to_json, whole, wire_time
from oofgg._leaderboard_types import (
    Around,
    Leaderboard,
    LeaderboardEntry,
    Rank,
    Score,
    ScoreOperator,
    ScoreOrder,
    Season,
    Submitted,
    Submitters,
    Window,
    WindowKind,
)
from oofgg._resources import _PAGE, _Resource, paged
from oofgg.errors import Reason
from oofgg.v1 import errors_pb2
from oofgg.v1 import leaderboard_pb2 as pb

_MOST_SCORES = 100


class Leaderboards(_Resource):
    """Who is best. Every game has `wins` (then fewer losses) and `score`, from its results, and those it defines."""

    async def create(
        self,
        name: str,
        *,
        description: str = "",
        order: ScoreOrder = ScoreOrder.DESCENDING,
        operator: ScoreOperator = ScoreOperator.BEST,
        window: Window | None = None,
        submitters: Submitters = Submitters.SERVERS,
        min_score: int | None = None,
        max_score: int | None = None,
        max_attempts: int = 0,
        kept_windows: int = 0,
        game_id: str | None = None,
    ) -> Leaderboard:
        """Defines a leaderboard; without a window, for all time. For the game's developer and its API keys.

        Raises AlreadyExists(LEADERBOARD_NAME_TAKEN), InvalidArgument.
        """
        wanted = pb.Leaderboard(
            name=name,
            description=description,
            order=pb.LeaderboardOrder.Value(f"LEADERBOARD_ORDER_{order}"),
            operator=pb.LeaderboardOperator.Value(f"LEADERBOARD_OPERATOR_{operator}"),
            window=_wire_window(window or Window()),
            submitters=_wire_submitters(submitters),
            min_score=min_score,
            max_score=max_score,
            max_attempts=max_attempts,
            kept_windows=kept_windows,
        )
        request = pb.CreateLeaderboardRequest(
            game_id=self._game(game_id), leaderboard=wanted, request_id=new_request_id()
        )
        response = await self._caller.call(self._stubs.leaderboards.CreateLeaderboard, request)
        return _leaderboard(response.leaderboard)

    async def update(
        self,
        name: str,
        *,
        description: str | None = None,
        submitters: Submitters | None = None,
        min_score: int | None = None,
        max_score: int | None = None,
        max_attempts: int | None = None,
        kept_windows: int | None = None,
        lift_caps: bool = False,
        game_id: str | None = None,
    ) -> Leaderboard:
        """Changes what is given and leaves the rest; `lift_caps` takes away the caps that are not given.

        In force within ten seconds. Raises NotFound(LEADERBOARD_NOT_FOUND), InvalidArgument.
        """
        given: dict[str, Any] = {
            "description": description,
            "submitters": None if submitters is None else _wire_submitters(submitters),
            "min_score": min_score,
            "max_score": max_score,
            "max_attempts": max_attempts,
            "kept_windows": kept_windows,
        }
        paths = [field for field, value in given.items() if value is not None]
        if lift_caps:
            paths += [cap for cap in ("min_score", "max_score") if given[cap] is None]
        request = pb.UpdateLeaderboardRequest(
            game_id=self._game(game_id),
            leaderboard=pb.Leaderboard(name=name, **given),
            update_mask=FieldMask(paths=paths),
            request_id=new_request_id(),
        )
        response = await self._caller.call(self._stubs.leaderboards.UpdateLeaderboard, request)
        return _leaderboard(response.leaderboard)

    async def delete(self, name: str, *, game_id: str | None = None) -> None:
        """Deletes a leaderboard with all of its entries."""
        request = pb.DeleteLeaderboardRequest(
            game_id=self._game(game_id), leaderboard=name, request_id=new_request_id()
        )
        await self._caller.call(self._stubs.leaderboards.DeleteLeaderboard, request)

    def all(self, *, game_id: str | None = None) -> AsyncIterator[Leaderboard]:
        """The leaderboards that the game has defined, by name."""
        game = self._game(game_id)

        async def page(token: str) -> tuple[Iterable[Leaderboard], str]:
            request = pb.ListLeaderboardsRequest(game_id=game, page_size=_PAGE, page_token=token)
            response = await self._caller.call(self._stubs.leaderboards.ListLeaderboards, request)
            return map(_leaderboard, response.leaderboards), response.next_page_token

        return paged(page)

    async def info(self, name: str, *, game_id: str | None = None) -> Leaderboard:
        """How a leaderboard is defined, and its current window. Raises NotFound(LEADERBOARD_NOT_FOUND)."""
        request = pb.GetLeaderboardInfoRequest(game_id=self._game(game_id), leaderboard=name)
        response = await self._caller.call(self._stubs.leaderboards.GetLeaderboardInfo, request)
        return _leaderboard(response.leaderboard, _season(response.season))

    async def submit(
        self,
        leaderboard: str,
        score: int,
        *,
        subscore: int = 0,
        metadata: Mapping[str, Any] | None = None,
        user_id: str = "",
        username: str = "",
        game_id: str | None = None,
    ) -> Submitted:
        """Submits the caller's score; a game's server names the player. Returns the entry as it is then, with its rank.

        Raises ResourceExhausted(ATTEMPTS_EXHAUSTED), PermissionDenied, InvalidArgument for a score beyond the caps.
        """
        request = pb.SubmitScoreRequest(
            game_id=self._game(game_id),
            score=_wire_score(Score(leaderboard, score, subscore, user_id, username, metadata)),
            request_id=new_request_id(),
        )
        response = await self._caller.call(self._stubs.leaderboards.SubmitScore, request)
        return Submitted(entry(response.entry), response.changed)

    async def submit_many(self, scores: Iterable[Score], *, game_id: str | None = None) -> list[Submitted]:
        """Submits scores, a hundred in a call, and tells what became of each. Of equal ones the first was earlier.

        A player without attempts does not keep the others out; what else is wrong with one refuses all of its call.
        """
        game, left, found = self._game(game_id), iter(scores), list[Submitted]()
        while some := list(islice(left, _MOST_SCORES)):
            request = pb.SubmitScoresRequest(
                game_id=game, scores=[_wire_score(score) for score in some], request_id=new_request_id()
            )
            response = await self._caller.call(self._stubs.leaderboards.SubmitScores, request)
            found += [_submitted(result) for result in response.results]
        return found

    async def remove(
        self, leaderboard: str, user_id: str, *, at: datetime | None = None, game_id: str | None = None
    ) -> None:
        """Takes a player's entry off a leaderboard; the player may submit again. For the game's developer and its API
        keys.

        Raises NotFound(ENTRY_NOT_FOUND) where there is none.
        """
        request = pb.RemoveEntryRequest(
            game_id=self._game(game_id),
            leaderboard=leaderboard,
            user_id=user_id,
            window_time=_moment(at),
            request_id=new_request_id(),
        )
        await self._caller.call(self._stubs.leaderboards.RemoveEntry, request)

    def get(
        self, leaderboard: str = "wins", *, at: datetime | None = None, game_id: str | None = None
    ) -> AsyncIterator[LeaderboardEntry]:
        """The entries, best first; with `at`, of the window in which that moment lies."""
        game, moment = self._game(game_id), _moment(at)

        async def page(token: str) -> tuple[Iterable[LeaderboardEntry], str]:
            request = pb.GetLeaderboardRequest(
                game_id=game, leaderboard=leaderboard, page_size=_PAGE, page_token=token, window_time=moment
            )
            response = await self._caller.call(self._stubs.leaderboards.GetLeaderboard, request)
            return map(entry, response.entries), response.next_page_token

        return paged(page)

    async def around(
        self,
        leaderboard: str,
        user_id: str = "",
        *,
        size: int = 20,
        at: datetime | None = None,
        game_id: str | None = None,
    ) -> Around:
        """Up to `size` (100) entries around a player, the caller by default. Raises NotFound(ENTRY_NOT_FOUND)."""
        request = pb.GetAroundRequest(
            game_id=self._game(game_id),
            leaderboard=leaderboard,
            user_id=user_id,
            page_size=size,
            window_time=_moment(at),
        )
        response = await self._caller.call(self._stubs.leaderboards.GetAround, request)
        return Around(tuple(map(entry, response.entries)), response.total, _season(response.season))

    async def rank(
        self,
        user_id: str = "",
        *,
        leaderboard: str = "wins",
        at: datetime | None = None,
        game_id: str | None = None,
    ) -> Rank:
        """A player's entry, the caller's by default. Raises NotFound(ENTRY_NOT_FOUND) where there is none."""
        request = pb.GetRankRequest(
            game_id=self._game(game_id), leaderboard=leaderboard, user_id=user_id, window_time=_moment(at)
        )
        response = await self._caller.call(self._stubs.leaderboards.GetRank, request)
        return Rank(entry(response.entry), response.total)

    async def entries(
        self,
        leaderboard: str,
        user_ids: Iterable[str],
        *,
        at: datetime | None = None,
        game_id: str | None = None,
    ) -> list[LeaderboardEntry]:
        """The entries of these players, such as friends, best first, with their ranks among all. 100 at most."""
        request = pb.GetEntriesRequest(
            game_id=self._game(game_id), leaderboard=leaderboard, user_ids=user_ids, window_time=_moment(at)
        )
        response = await self._caller.call(self._stubs.leaderboards.GetEntries, request)
        return [entry(found) for found in response.entries]

    def seasons(self, leaderboard: str, *, game_id: str | None = None) -> AsyncIterator[Season]:
        """The windows in which somebody has played, latest first. Read one with `get(…, at=season.start_time)`."""
        game = self._game(game_id)

        async def page(token: str) -> tuple[Iterable[Season], str]:
            request = pb.ListSeasonsRequest(game_id=game, leaderboard=leaderboard, page_size=_PAGE, page_token=token)
            response = await self._caller.call(self._stubs.leaderboards.ListSeasons, request)
            return map(_season, response.seasons), response.next_page_token

        return paged(page)


def entry(wire: pb.LeaderboardEntry) -> LeaderboardEntry:
    """An entry from the wire."""
    return LeaderboardEntry(
        wire.rank,
        wire.user_id,
        wire.username,
        wire.wins,
        wire.losses,
        wire.draws,
        wire.score,
        time(wire, "update_time"),
        wire.subscore,
        wire.attempts,
        json.loads(wire.metadata) if wire.metadata else {},
    )


def _leaderboard(wire: pb.Leaderboard, season: Season | None = None) -> Leaderboard:
    kind = short(WindowKind, pb.LeaderboardWindowKind, wire.window.kind, "LEADERBOARD_WINDOW_KIND_")
    return Leaderboard(
        name=wire.name,
        description=wire.description,
        order=short(ScoreOrder, pb.LeaderboardOrder, wire.order, "LEADERBOARD_ORDER_"),
        operator=short(ScoreOperator, pb.LeaderboardOperator, wire.operator, "LEADERBOARD_OPERATOR_"),
        window=Window(kind, wire.window.time_zone, wire.window.cron),
        submitters=short(Submitters, pb.LeaderboardSubmitters, wire.submitters, "LEADERBOARD_SUBMITTERS_"),
        min_score=wire.min_score if wire.HasField("min_score") else None,
        max_score=wire.max_score if wire.HasField("max_score") else None,
        max_attempts=wire.max_attempts,
        kept_windows=wire.kept_windows,
        version=wire.version,
        create_time=time(wire, "create_time"),
        update_time=time(wire, "update_time"),
        season=season,
    )


def _season(wire: pb.LeaderboardSeason) -> Season:
    return Season(
        time(wire, "start_time"), time(wire, "end_time"), wire.ended, time(wire, "archive_time"), wire.entries
    )


def _submitted(wire: pb.SubmissionResult) -> Submitted:
    if wire.HasField("entry"):
        return Submitted(entry(wire.entry), wire.changed)
    return Submitted(None, False, short(Reason, errors_pb2.ErrorReason, wire.refusal, "ERROR_REASON_"))


def _moment(at: datetime | None) -> Timestamp | None:
    return None if at is None else wire_time(at)


def _wire_score(score: Score) -> pb.ScoreSubmission:
    return pb.ScoreSubmission(
        leaderboard=score.leaderboard,
        score=whole(score.score, "the score"),
        subscore=whole(score.subscore, "the subscore"),
        user_id=score.user_id,
        username=score.username,
        metadata=to_json(score.metadata) if score.metadata else "",
    )


def _wire_window(window: Window) -> pb.LeaderboardWindow:
    return pb.LeaderboardWindow(
        kind=pb.LeaderboardWindowKind.Value(f"LEADERBOARD_WINDOW_KIND_{window.kind}"),
        time_zone=window.time_zone,
        cron=window.cron,
    )


def _wire_submitters(submitters: Submitters) -> pb.LeaderboardSubmitters.ValueType:
    return pb.LeaderboardSubmitters.Value(f"LEADERBOARD_SUBMITTERS_{submitters}")
