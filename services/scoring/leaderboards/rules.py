"""Leaderboards: what a developer decides about them, and who may submit what."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from pkg.errors import InvalidArgument, PermissionDenied, Reason, invalid_field
from services.scoring.leaderboards.windows import Schedule, Window

MOST_BOARDS: Final = 100
RESERVED: Final = ("wins", "score")

_NAME: Final = re.compile(r"[a-z0-9_.-]{1,64}")
_CHANGEABLE: Final = ("description", "submitters", "min_score", "max_score", "max_attempts", "kept_windows")
_FIXED: Final = ("name", "order", "operator", "window")


class Operator(StrEnum):
    """What becomes of an entry when its player submits again."""

    BEST = "best"
    LAST = "last"
    SUM = "sum"
    INCREMENT = "increment"


class Submitters(StrEnum):
    """Whose scores a leaderboard takes."""

    PLAYERS = "players"
    SERVERS = "servers"
    RESULTS = "results"


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """A leaderboard as it is defined. Caps are None, attempts and kept windows 0 for any number."""

    leaderboard_id: str
    game_id: str
    name: str
    description: str
    ascending: bool
    operator: Operator
    schedule: Schedule
    submitters: Submitters
    min_score: int | None
    max_score: int | None
    max_attempts: int
    kept_windows: int
    version: int
    create_time: datetime
    update_time: datetime


# Tuples, since there are many of them at a time.


class Submission(NamedTuple):
    """A score on its way into a window of a leaderboard."""

    board: Leaderboard
    window: Window
    user_id: str
    username: str
    score: int
    subscore: int
    metadata: str
    submit_time: datetime


class Entry(NamedTuple):
    """A player's entry in a window."""

    user_id: str
    username: str
    score: int
    subscore: int
    attempts: int
    metadata: str
    update_time: datetime
    place: bytes


class Outcome(NamedTuple):
    """What became of a submission: an entry, or why there is none."""

    entry: Entry | None
    changed: bool = False
    refusal: Reason | None = None


class Ranked(NamedTuple):
    """An entry and its rank, from 1; 0 while it is not known."""

    rank: int
    entry: Entry


def check_new(board: Leaderboard) -> None:
    """Raises InvalidArgument for a definition that makes no sense."""
    if not _NAME.fullmatch(board.name):
        raise invalid_field("leaderboard.name", "must be 1 to 64 of a–z, 0–9, `_`, `-` and `.`")
    if board.name in RESERVED:
        raise invalid_field("leaderboard.name", f"{board.name} is a leaderboard that every game has")
    _check_caps(board)


def apply_update(board: Leaderboard, new: Leaderboard, paths: Sequence[str], now: datetime) -> Leaderboard:
    """The leaderboard with the fields that the mask names taken from `new`, one version later.

    Raises InvalidArgument for an empty mask or a path that cannot be changed.
    """
    if not paths:
        raise invalid_field("update_mask", f"must name at least one of {', '.join(_CHANGEABLE)}")
    for path in paths:
        if path.partition(".")[0] in _FIXED:
            raise invalid_field("update_mask", f"`{path}` was decided when it was made; make another leaderboard")
        if path not in _CHANGEABLE:
            raise invalid_field("update_mask", f"`{path}` is not one of {', '.join(_CHANGEABLE)}")
    changed = replace(board, **{path: getattr(new, path) for path in paths}, version=board.version + 1, update_time=now)
    _check_caps(changed)
    return changed


def check_submitter(board: Leaderboard, *, server: bool, own: bool) -> None:
    """Who may submit: a game's `server` (API key or developer) or a player, who may for oneself (`own`) alone.

    Raises PermissionDenied(ACCESS_DENIED).
    """
    if board.submitters is Submitters.RESULTS:
        raise PermissionDenied(
            Reason.ACCESS_DENIED, f"“{board.name}” takes the scores of results only.", leaderboard=board.name
        )
    if server:
        return
    if board.submitters is Submitters.SERVERS:
        raise PermissionDenied(
            Reason.ACCESS_DENIED, f"“{board.name}” takes scores from the game's servers only.", leaderboard=board.name
        )
    if not own:
        raise PermissionDenied(Reason.ACCESS_DENIED, "A player submits own scores only.", leaderboard=board.name)


def within_caps(board: Leaderboard, score: int) -> bool:
    """Whether the leaderboard takes such a score."""
    return (board.min_score is None or score >= board.min_score) and (
        board.max_score is None or score <= board.max_score
    )


def check_score(board: Leaderboard, score: int, field: str) -> None:
    """Raises InvalidArgument naming `field.score` for a score that the leaderboard does not take."""
    if not within_caps(board, score):
        raise invalid_field(
            f"{field}.score", f"“{board.name}” takes scores from {_shown(board.min_score)} to {_shown(board.max_score)}"
        )


def check_metadata(metadata: str, field: str) -> None:
    """Raises InvalidArgument for what is neither empty nor a JSON object."""
    if not metadata:
        return
    try:
        found = json.loads(metadata, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _no_object(field) from error
    if not isinstance(found, dict):
        raise _no_object(field)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _no_object(field: str) -> InvalidArgument:
    return invalid_field(field, "must be a JSON object")


def _check_caps(board: Leaderboard) -> None:
    if board.min_score is not None and board.max_score is not None and board.min_score > board.max_score:
        raise invalid_field("leaderboard.max_score", "must not be less than min_score")


def _shown(cap: int | None) -> str:
    return "any" if cap is None else f"{cap:,}"
