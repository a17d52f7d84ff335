"""A session as fields of a hash: what a restarted or another node reads it back from.

Field names: `facts`, `profile` (what can be changed), `life` (state, times, decision), `seat:<n>`, `vote:<n>` (a
seat's statement), `command:<n>` (its last reliable command); `epoch`, `epochs`, `owner`, `node` and `head` belong
to the store. Values are JSON, so that an operator can read them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from services.game.engine.facts import EndReason, Profile, Seat, SessionFacts, SessionTimes, State
from services.game.engine.results import Ballot, Decision, Result, ResultState, SeatResult
from services.game.engine.sessions import Session

_NAMES: Final = {kind: tuple(each.name for each in fields(kind)) for kind in (Seat, SessionFacts, Profile)}


def facts_field(facts: SessionFacts) -> bytes:
    """The value of `facts`."""
    return _dump(_shallow(facts))


def profile_field(profile: Profile) -> bytes:
    """The value of `profile`."""
    return _dump(_shallow(profile))


def life_field(session: Session) -> bytes:
    """The value of `life`."""
    ballot, decision = session.ballot, session.decision
    return _dump(
        {
            "state": session.state,
            "start_time": session.start_time,
            "finish_time": session.finish_time,
            "ballot": ballot and {"roster": sorted(ballot.roster), "deadline": ballot.deadline},
            "decision": decision and {"state": decision.state, "result": _result(decision.result)},
            "roster": [_shallow(seat) for seat in session.roster],
            "absent": sorted(session.absent),
            "departed": [_shallow(seat) for seat in session.departed.values()],
            "end_reason": session.end_reason,
            "creator_left": session.creator_left,
            "banned": sorted(session.banned),
        }
    )


def seat_field(seat: Seat) -> bytes:
    """The value of `seat:<n>`."""
    return _dump(_shallow(seat))


def vote_field(result: Result) -> bytes:
    """The value of `vote:<n>`."""
    return _dump(_result(result))


def all_fields(session: Session, commands: Mapping[int, int]) -> dict[str, bytes]:
    """Everything, for a session that is new or has to be written again."""
    fields = {
        "facts": facts_field(session.facts),
        "profile": profile_field(session.profile),
        "life": life_field(session),
    }
    for number, seat in session.seats.items():
        fields[f"seat:{number}"] = seat_field(seat)
    if session.ballot is not None:
        for number, result in session.ballot.statements.items():
            fields[f"vote:{number}"] = vote_field(result)
    for number, command in commands.items():
        fields[f"command:{number}"] = b"%d" % command
    return fields


def read_session(fields: Mapping[bytes, bytes], times: SessionTimes) -> tuple[Session, dict[int, int]]:
    """The session in a hash, and the last reliable command of each seat."""
    life = json.loads(fields[b"life"])
    session = Session(
        SessionFacts(**_known(SessionFacts, json.loads(fields[b"facts"]))),
        Profile(**_known(Profile, json.loads(fields[b"profile"]))),
        times,
        state=State(life["state"]),
        start_time=life["start_time"],
        finish_time=life["finish_time"],
        roster=tuple(Seat(**_known(Seat, seat)) for seat in life["roster"]),
        absent=frozenset(life.get("absent", ())),
        departed={seat["number"]: Seat(**_known(Seat, seat)) for seat in life.get("departed", ())},
        end_reason=EndReason(life["end_reason"]),
        creator_left=life["creator_left"],
        banned=frozenset(life["banned"]),
    )
    votes: dict[int, Result] = {}
    commands: dict[int, int] = {}
    for name, value in fields.items():
        kind, _, number = name.partition(b":")
        if kind == b"seat":
            session.seats[int(number)] = Seat(**_known(Seat, json.loads(value)))
        elif kind == b"vote":
            votes[int(number)] = _read_result(json.loads(value))
        elif kind == b"command":
            commands[int(number)] = int(value)
    if ballot := life["ballot"]:
        session.ballot = Ballot(frozenset(ballot["roster"]), ballot["deadline"], votes)
    if decision := life["decision"]:
        result = decision["result"]
        session.decision = Decision(ResultState(decision["state"]), None if result is None else _read_result(result))
    session.seats = dict(sorted(session.seats.items()))
    return session, commands


def _result(result: Result | None) -> list[list[int]] | None:
    return None if result is None else [entry.as_list() for entry in result]


def _read_result(entries: list[list[int]]) -> Result:
    return tuple(map(SeatResult.from_list, entries))


def _shallow(record: Seat | SessionFacts | Profile) -> dict[str, Any]:
    """As `dataclasses.asdict`, which copies deeply and takes ten times as long."""
    return {name: getattr(record, name) for name in _NAMES[type(record)]}


def _known(kind: type[Seat | SessionFacts | Profile], record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that this version knows: a newer one may have written more."""
    names = _NAMES[kind]
    return {name: value for name, value in record.items() if name in names}


def _dump(value: dict[str, Any] | list[list[int]] | None) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
