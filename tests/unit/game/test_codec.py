"""Pieces, joined, are valid messages; and the engine's constants are the protocol's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oofgg.v1 import session_pb2 as pb
from services.game.budget import Budget, BudgetLimits, Budgets
from services.game.codec import (
    RESULT_STATES,
    STATES,
    PieceEncoder,
    session_message,
    split_pieces,
    timestamp,
    trailer,
)
from services.game.engine.facts import ResultChanged, State, StateChanged
from services.game.engine.order import LATEST, RELIABLE, VOLATILE
from services.game.engine.results import ResultState, SeatResult
from tests.unit.game.model import room

NOW = 1_700_000_000.123456


@pytest.mark.parametrize("response", [pb.PlayResponse, pb.WatchResponse], ids=["play", "watch"])
@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 20_000, 65_536])
def test_joined_pieces_are_a_response(response: type[pb.PlayResponse | pb.WatchResponse], size: int) -> None:
    encoder = PieceEncoder()
    command = pb.Command(number=7, key="k", kind="move", payload=bytes(size))
    made = room()
    pieces = [
        encoder.message(3, 0, 1, NOW, command, None),
        encoder.message(0, 3, 2, NOW, command, frozenset({1, 2})),
        encoder.change(4, NOW, StateChanged(State.FINISHED)),
        encoder.change(5, NOW, ResultChanged(ResultState.AGREED, (SeatResult(1, 0, 1, -5),))),
        encoder.reset(6, NOW, made.session),
    ]
    joined = b"".join(pieces)
    assert split_pieces(joined) == pieces
    message = response.FromString(joined + trailer(300, 70_000))
    assert (message.flush, message.ack_command) == (300, 70_000)
    first, second, state, result, reset = message.events
    assert (first.seq, first.seat, first.message.command, first.message.kind) == (3, 1, 7, "move")
    assert first.event_time.ToMicroseconds() == 1_700_000_000_123_456
    assert (second.seq, second.after_seq, second.message.key) == (0, 3, "k")
    assert state.state.state == pb.SESSION_STATE_FINISHED
    assert result.result.result.seats[0].score == -5
    assert reset.log_reset.session == session_message(made.session)


def test_no_news_is_no_bytes() -> None:
    assert trailer(0, 0) == b""
    assert pb.PlayResponse.FromString(trailer(0, 5)) == pb.PlayResponse(ack_command=5)


def test_play_and_watch_have_the_same_fields() -> None:
    fields = [
        {(field.name, field.number, field.type) for field in message.DESCRIPTOR.fields}
        for message in (pb.PlayResponse, pb.WatchResponse)
    ]
    assert fields[0] == fields[1]


def test_the_engines_constants_are_the_protocols() -> None:
    assert (RELIABLE, LATEST, VOLATILE) == (
        pb.DELIVERY_CLASS_RELIABLE,
        pb.DELIVERY_CLASS_LATEST,
        pb.DELIVERY_CLASS_VOLATILE,
    )
    assert set(STATES) == set(State)
    assert set(RESULT_STATES) == set(ResultState)


@pytest.mark.parametrize("seconds", [0.0, 0.9999996, 12.5, NOW])
def test_times_are_exact_to_the_microsecond(seconds: float) -> None:
    assert timestamp(seconds).ToMicroseconds() == round(seconds * 1_000_000)


def test_a_budget_fills_with_time_up_to_its_burst() -> None:
    budget = Budget(BudgetLimits(10, 20, 1000, 4000), 0.0)
    assert budget.spend(20, 0, 0.0) == 0
    assert budget.spend(1, 0, 0.0) == pytest.approx(0.1)
    assert budget.spend(9, 0, 1.0) == 0
    assert budget.spend(20, 4000, 100.0) == 0
    assert budget.spend(0, 500, 100.0) == pytest.approx(0.5)
    assert budget.spend(0, 400, 101.0) == 0
    assert not budget.is_full(101.0)
    assert budget.is_full(200.0)


def test_budgets_outlive_streams_and_bound_all_together() -> None:
    each, together = BudgetLimits(10, 20, 1000, 4000), BudgetLimits(15, 30, 10_000, 10_000)
    budgets = Budgets(each, together, 0.0)
    assert budgets.spend("ada", 20, 0, 0.0) == 0
    assert budgets.spend("ada", 5, 0, 0.0) == pytest.approx(0.5), "coming back does not fill it"
    assert budgets.spend("bob", 20, 0, 0.0) == pytest.approx(1.0), "what all may send is spent"
    assert budgets.spend("eve", 1, 100, 0.0) == 0, "who sends little does not wait for those who send much"
    for number in range(1_000):
        budgets.spend(f"passer-by {number}", 0, 0, float(number * 100))
    assert len(budgets._own) <= 64


@given(
    seq=st.integers(0, 2**63 - 1),
    after_seq=st.integers(0, 2**63 - 1),
    seat=st.integers(1, 512),
    now=st.floats(0, 4e9),
    number=st.integers(0, 2**64 - 1),
    key=st.text(max_size=64),
    kind=st.text(max_size=64),
    payload=st.binary(max_size=300),
    audience=st.none() | st.frozensets(st.integers(1, 512), max_size=5),
)
def test_a_command_is_encoded_as_protobuf_does_it(
    seq: int, after_seq: int, seat: int, now: float, number: int, key: str, kind: str, payload: bytes,
    audience: frozenset[int] | None,
) -> None:  # fmt: skip
    command = pb.Command(number=number, key=key, kind=kind, payload=payload)
    heard = None if audience is None else audience | {seat}
    message = pb.Message(key=key, payload=payload, kind=kind, command=number)
    if heard is not None:
        message.to_seats.extend(sorted(heard - {seat}) or [seat])
    event = pb.Event(seq=seq, after_seq=after_seq, seat=seat, event_time=timestamp(now), message=message)
    encoder = PieceEncoder()
    expected = pb.PlayResponse(events=[event]).SerializeToString()
    assert encoder.message(seq, after_seq, seat, now, command, heard) == expected
    assert encoder.message(seq, after_seq, seat, now, command, heard) == expected
