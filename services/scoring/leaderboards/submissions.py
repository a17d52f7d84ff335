"""Scores that are submitted, on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from oofgg.v1 import leaderboard_pb2 as pb
from pkg.auth.caller import Caller, CallerRole
from pkg.clock import Clock
from pkg.db.replies import request_digest
from pkg.errors import NotFound, OofggError, OutOfRange, Reason, ResourceExhausted, invalid_field
from pkg.games import GameDirectory
from pkg.ids import is_id
from pkg.rpc.call import Call
from services.scoring.leaderboards.directory import BoardDirectory
from services.scoring.leaderboards.messages import fill_entry, fill_result
from services.scoring.leaderboards.reading import BoardReader
from services.scoring.leaderboards.rules import (
    RESERVED,
    Leaderboard,
    Outcome,
    Submission,
    check_metadata,
    check_score,
    check_submitter,
)
from services.scoring.leaderboards.submitting import Job, Repeat, Submitting
from services.scoring.leaderboards.windows import Window


class _Submitter:
    """Who submits, and the boards that were looked up for the call."""

    __slots__ = ("boards", "caller", "game_id", "server", "submit_time")

    def __init__(self, game_id: str, caller: Caller, submit_time: datetime) -> None:
        self.game_id = game_id
        self.caller = caller
        self.server = caller.role is CallerRole.DEVELOPER
        self.submit_time = submit_time
        self.boards: dict[str, tuple[Leaderboard, Window]] = {}


class SubmissionServicer:
    """Takes scores from whom a leaderboard takes them."""

    def __init__(
        self,
        submitting: Submitting,
        reader: BoardReader,
        directory: BoardDirectory,
        games: GameDirectory,
        clock: Clock,
    ) -> None:
        self._submitting = submitting
        self._reader = reader
        self._directory = directory
        self._games = games
        self._clock = clock

    async def submit_score(self, request: pb.SubmitScoreRequest, call: Call) -> pb.SubmitScoreResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        submitter = _Submitter(request.game_id, call.caller, self._clock.now())
        await self._look_up(request.score.leaderboard, "score", submitter)
        one = _submission(request.score, "score", submitter)

        made: list[pb.SubmitScoreResponse] = []

        def reply(outcomes: Sequence[Outcome]) -> bytes | None:
            if outcomes[0].entry is None:
                return None
            made[:] = [_response(outcomes[0])]
            return made[0].SerializeToString()

        job = Job([one], _repeat(request, request.request_id, call), reply, tell_ranks=True)
        written = await self._submitting.submit(job)
        if written.kept is not None:
            response = pb.SubmitScoreResponse.FromString(written.kept)
        elif refusal := written.outcomes[0].refusal:
            raise self._refused(refusal, one)
        else:
            response = made[0] if made else _response(written.outcomes[0])
        rank = written.ranks.get(one.user_id, 0)
        response.entry.rank = rank or await self._reader.rank_known(one.board, one.window, one.user_id)
        return response

    async def submit_scores(self, request: pb.SubmitScoresRequest, call: Call) -> pb.SubmitScoresResponse | bytes:
        await self._games.require_access(call.caller, request.game_id, call)
        submitter = _Submitter(request.game_id, call.caller, self._clock.now())
        for number, score in enumerate(request.scores):
            if score.leaderboard not in submitter.boards:
                await self._look_up(score.leaderboard, f"scores[{number}]", submitter)
        submissions = [_submission(score, f"scores[{n}]", submitter) for n, score in enumerate(request.scores)]

        made: list[bytes] = []

        def reply(outcomes: Sequence[Outcome]) -> bytes:
            made[:] = [_results(outcomes).SerializeToString()]
            return made[0]

        job = Job(submissions, _repeat(request, request.request_id, call), reply, tell_ranks=False)
        written = await self._submitting.submit(job)
        if written.kept is not None:
            return written.kept
        return made[0] if made else _results(written.outcomes)

    async def _look_up(self, name: str, field: str, by: _Submitter) -> None:
        if name in RESERVED:
            raise invalid_field(f"{field}.leaderboard", f"`{name}` follows from results alone")
        board = await self._directory.get(by.game_id, name)
        by.boards[name] = board, self._directory.window(board)

    def _refused(self, refusal: Reason, one: Submission) -> OofggError:
        if refusal is Reason.ACCOUNT_NOT_FOUND:
            return NotFound(refusal, "This account was deleted.", user_id=one.user_id)
        if refusal is Reason.SCORE_OUT_OF_RANGE:
            return OutOfRange(refusal, "The sum of the scores would not fit into 64 bits.")
        end = one.window.end
        return ResourceExhausted(
            refusal,
            f"“{one.board.name}” takes {one.board.max_attempts} scores of a player in a window.",
            retry_after=(end - self._clock.now()).total_seconds() if end else None,
            leaderboard=one.board.name,
        )


def _submission(score: pb.ScoreSubmission, field: str, by: _Submitter) -> Submission:
    board, window = by.boards[score.leaderboard]
    user_id = score.user_id or ("" if by.server else by.caller.user_id)
    check_submitter(board, server=by.server, own=user_id == by.caller.user_id)
    if not is_id(user_id):
        raise invalid_field(f"{field}.user_id", "must be the id of an account")
    check_score(board, score.score, field)
    if score.metadata:
        check_metadata(score.metadata, f"{field}.metadata")
    username = score.username if by.server else by.caller.username
    return Submission(board, window, user_id, username, score.score, score.subscore, score.metadata, by.submit_time)


def _response(outcome: Outcome) -> pb.SubmitScoreResponse:
    if outcome.entry is None:
        raise AssertionError("what was refused has no response")
    response = pb.SubmitScoreResponse(changed=outcome.changed)
    fill_entry(response.entry, 0, outcome.entry)
    return response


def _results(outcomes: Sequence[Outcome]) -> pb.SubmitScoresResponse:
    response = pb.SubmitScoresResponse()
    for outcome in outcomes:
        fill_result(response.results.add(), outcome)
    return response


def _repeat(request: pb.SubmitScoreRequest | pb.SubmitScoresRequest, request_id: str, call: Call) -> Repeat | None:
    if not request_id:
        return None
    return Repeat(call.caller.user_id, call.method, request_id, request_digest(request))
