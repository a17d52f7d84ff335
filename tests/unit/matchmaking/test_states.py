"""What becomes of tickets has the numbers of the protos."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import pytest

from oofgg.v1 import matchmaking_pb2 as pb
from services.matchmaking.stores.states import TicketReason, TicketState


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [(TicketState, pb.TicketState, "TICKET_STATE_"), (TicketReason, pb.TicketReason, "TICKET_REASON_")],
    ids=["states", "reasons"],
)
def test_the_numbers_are_those_of_the_protos(ours: type[IntEnum], theirs: Any, prefix: str) -> None:
    named = {f"{prefix}{one.name}": one.value for one in ours}
    assert {f"{prefix}UNSPECIFIED": 0, **named} == dict(theirs.items())
