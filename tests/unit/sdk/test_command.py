"""What `send` refuses by itself: the server would close the stream for it."""

from __future__ import annotations

import pytest

from oofgg import Delivery
from oofgg._command import command, receivers


@pytest.mark.parametrize(
    ("kind", "key"), [("line\nbreak", ""), ("\0", ""), ("", "\x01"), ("", "\x85"), ("x" * 65, ""), ("", "x" * 65)]
)
def test_a_kind_or_key_that_the_server_refuses_is_refused_before_it_is_sent(kind: str, key: str) -> None:
    with pytest.raises(ValueError, match=r"control character|at most 64"):
        command("hi", kind, Delivery.LATEST, key)


def test_more_seats_than_a_command_may_name_are_refused_before_it_is_sent() -> None:
    assert receivers(range(1, 513)) == list(range(1, 513))
    with pytest.raises(ValueError, match="at most 512"):
        receivers(range(1, 514))


def test_kinds_and_keys_in_any_script_are_sent() -> None:
    assert command("hi", "größe 移動", Delivery.LATEST, "位置") == (b"hi", "größe 移動")
