"""Between the messages of LeaderboardService and its rules."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from oofgg.v1 import errors_pb2
from oofgg.v1 import leaderboard_pb2 as pb
from pkg.errors import NotFound, Reason, invalid_field
from pkg.pagination import foreign_token
from services.scoring.leaderboards.entries import Spot
from services.scoring.leaderboards.places import PLACE_BYTES, user_bytes, users_in
from services.scoring.leaderboards.rules import Entry, Leaderboard, Operator, Outcome, Ranked, Submitters
from services.scoring.leaderboards.store import Season
from services.scoring.leaderboards.windows import EPOCH, Window, WindowKind, checked_schedule

_OPERATORS: Final = {
    pb.LEADERBOARD_OPERATOR_BEST: Operator.BEST,
    pb.LEADERBOARD_OPERATOR_LAST: Operator.LAST,
    pb.LEADERBOARD_OPERATOR_SUM: Operator.SUM,
    pb.LEADERBOARD_OPERATOR_INCREMENT: Operator.INCREMENT,
}
_SUBMITTERS: Final = {
    pb.LEADERBOARD_SUBMITTERS_PLAYERS: Submitters.PLAYERS,
    pb.LEADERBOARD_SUBMITTERS_SERVERS: Submitters.SERVERS,
    pb.LEADERBOARD_SUBMITTERS_RESULTS: Submitters.RESULTS,
}
_KINDS: Final = {
    pb.LEADERBOARD_WINDOW_KIND_ALL_TIME: WindowKind.ALL_TIME,
    pb.LEADERBOARD_WINDOW_KIND_DAILY: WindowKind.DAILY,
    pb.LEADERBOARD_WINDOW_KIND_WEEKLY: WindowKind.WEEKLY,
    pb.LEADERBOARD_WINDOW_KIND_MONTHLY: WindowKind.MONTHLY,
    pb.LEADERBOARD_WINDOW_KIND_CRON: WindowKind.CRON,
}
# Leaderboard, seconds since the epoch, place.
_TOKEN_BYTES: Final = 16 + 8 + PLACE_BYTES
_OPERATOR_NUMBERS: Final = {operator: number for number, operator in _OPERATORS.items()}
_SUBMITTER_NUMBERS: Final = {submitters: number for number, submitters in _SUBMITTERS.items()}
_KIND_NUMBERS: Final = {kind: number for number, kind in _KINDS.items()}


def parse_board(message: pb.Leaderboard, game_id: str, leaderboard_id: str, now: datetime) -> Leaderboard:
    """A leaderboard as a message says it, new at this moment. Raises InvalidArgument for its window."""
    window = message.window
    kind = _KINDS.get(window.kind, WindowKind.ALL_TIME)
    return Leaderboard(
        leaderboard_id=leaderboard_id,
        game_id=game_id,
        name=message.name,
        description=message.description,
        ascending=message.order == pb.LEADERBOARD_ORDER_ASCENDING,
        operator=_OPERATORS.get(message.operator, Operator.BEST),
        schedule=checked_schedule(kind, window.time_zone, window.cron, "leaderboard.window"),
        submitters=_SUBMITTERS.get(message.submitters, Submitters.SERVERS),
        min_score=message.min_score if message.HasField("min_score") else None,
        max_score=message.max_score if message.HasField("max_score") else None,
        max_attempts=message.max_attempts,
        kept_windows=message.kept_windows,
        version=1,
        create_time=now,
        update_time=now,
    )


def board_message(board: Leaderboard) -> pb.Leaderboard:
    """A leaderboard for the wire."""
    schedule = board.schedule
    message = pb.Leaderboard(
        name=board.name,
        description=board.description,
        order=pb.LEADERBOARD_ORDER_ASCENDING if board.ascending else pb.LEADERBOARD_ORDER_DESCENDING,
        operator=_OPERATOR_NUMBERS[board.operator],
        window=pb.LeaderboardWindow(
            kind=_KIND_NUMBERS[schedule.kind], time_zone=schedule.time_zone, cron=schedule.cron
        ),
        submitters=_SUBMITTER_NUMBERS[board.submitters],
        min_score=board.min_score,
        max_score=board.max_score,
        max_attempts=board.max_attempts,
        kept_windows=board.kept_windows,
        version=board.version,
    )
    _stamp(message.create_time, board.create_time)
    _stamp(message.update_time, board.update_time)
    return message


# These are filled field by field where they are in their response: half of what it costs to make and then to add them.


def fill_entry(message: pb.LeaderboardEntry, rank: int, entry: Entry) -> None:
    """Puts an entry into a message that is empty."""
    message.rank = rank
    message.user_id = entry.user_id
    message.username = entry.username
    message.score = entry.score
    message.subscore = entry.subscore
    message.attempts = entry.attempts
    message.metadata = entry.metadata
    _stamp(message.update_time, entry.update_time)


def fill_entries(messages: Any, ranked: Iterable[Ranked]) -> None:
    """Adds entries to a field for many."""
    for rank, entry in ranked:
        fill_entry(messages.add(), rank, entry)


def fill_result(message: pb.SubmissionResult, outcome: Outcome) -> None:
    """Puts what became of one of many submissions into a message that is empty: its entry in numbers alone."""
    entry = outcome.entry
    if entry is None:
        message.refusal = reason_number(outcome.refusal or Reason.INTERNAL)
        return
    values = message.entry
    values.user_id = entry.user_id
    values.score = entry.score
    values.subscore = entry.subscore
    values.attempts = entry.attempts
    message.changed = outcome.changed


def season_message(season: Season, now: datetime) -> pb.LeaderboardSeason:
    """A window for the wire. That of all time begins at the epoch."""
    window = season.window
    message = pb.LeaderboardSeason(ended=window.over(now), entries=season.entries)
    _stamp(message.start_time, window.start)
    if window.end is not None:
        _stamp(message.end_time, window.end)
    if season.archive_time is not None:
        _stamp(message.archive_time, season.archive_time)
    return message


def window_message(window: Window, now: datetime) -> pb.LeaderboardSeason:
    """A window of which nothing is counted, for the wire."""
    return season_message(Season(window), now)


def reason_number(reason: Reason) -> errors_pb2.ErrorReason.ValueType:
    """A reason on the wire."""
    return errors_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}")


def moment_of(request: Any) -> datetime | None:
    """The `window_time` of a request, if it has one. Raises InvalidArgument."""
    if not request.HasField("window_time"):
        return None
    try:
        moment: datetime = request.window_time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise invalid_field("window_time", "is no time") from None
    return moment


def no_entry(user_id: str) -> NotFound:
    """The error for a player who is not there."""
    return NotFound(
        Reason.ENTRY_NOT_FOUND, "This player has no entry in this window of the leaderboard.", user_id=user_id[:64]
    )


def encode_place(spot: Spot, place: bytes) -> str:
    """The token of the page behind a place."""
    start = spot[1] - EPOCH
    seconds = start.days * 86_400 + start.seconds
    return base64.urlsafe_b64encode(user_bytes(spot[0]) + seconds.to_bytes(8, "big", signed=True) + place).decode()


def decode_place(token: str) -> tuple[Spot, bytes] | None:
    """The window and place in a token; None for the first page. Raises InvalidArgument(INVALID_PAGE_TOKEN)."""
    if not token:
        return None
    try:
        key = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        if len(key) != _TOKEN_BYTES:
            raise foreign_token()
        start = EPOCH + timedelta(seconds=int.from_bytes(key[16:24], "big", signed=True))
    except (ValueError, OverflowError):
        raise foreign_token() from None
    return (users_in(key[:16])[0], start), key[24:]


def _stamp(into: Timestamp, time: datetime) -> None:
    """As FromDatetime, which is four fifths of what an entry costs."""
    since = time - EPOCH
    into.seconds = since.days * 86_400 + since.seconds
    into.nanos = since.microseconds * 1_000
