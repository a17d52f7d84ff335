"""Commands on their way out: every reliable one arrives once and in order, whatever breaks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oofgg import Delivery
from oofgg._outbox import Outbox


def reliable(outbox: Outbox, *texts: str) -> None:
    for text in texts:
        outbox.put(text.encode(), "", Delivery.RELIABLE, "")


def sent(outbox: Outbox) -> list[tuple[int, str]]:
    return [(command.number, command.payload.decode()) for command in outbox.take()]


def test_numbers_grow_in_the_order_of_leaving() -> None:
    outbox = Outbox()
    outbox.reopen(0)
    outbox.put(b"v", "", Delivery.VOLATILE, "")
    outbox.put(b"l", "", Delivery.LATEST, "k")
    reliable(outbox, "a", "b")
    assert sent(outbox) == [(1, "a"), (2, "b"), (3, "l"), (4, "v")]
    assert sent(outbox) == []


def test_a_new_process_goes_on_after_what_the_seat_has_sent_before() -> None:
    outbox = Outbox()
    outbox.reopen(41)
    reliable(outbox, "a")
    assert sent(outbox) == [(42, "a")]


def test_what_is_not_safe_is_sent_again_under_its_number() -> None:
    outbox = Outbox()
    outbox.reopen(0)
    reliable(outbox, "a", "b", "c")
    assert sent(outbox) == [(1, "a"), (2, "b"), (3, "c")]
    outbox.acknowledge(1)
    reliable(outbox, "d")
    outbox.reopen(2)
    assert outbox.unsafe == 2
    assert sent(outbox) == [(3, "c"), (4, "d")]
    outbox.acknowledge(4)
    assert outbox.unsafe == 0


def test_latest_values_replace_each_other_and_come_back_after_a_break() -> None:
    outbox = Outbox()
    outbox.reopen(0)
    for value in (b"1", b"2"):
        outbox.put(value, "", Delivery.LATEST, "x")
    outbox.put(b"3", "", Delivery.LATEST, "y")
    assert sent(outbox) == [(1, "2"), (2, "3")]
    outbox.reopen(0)
    assert [text for _, text in sent(outbox)] == ["2", "3"]


def test_volatile_does_not_outlive_a_break() -> None:
    outbox = Outbox()
    outbox.put(b"v", "", Delivery.VOLATILE, "")
    outbox.reopen(0)
    assert sent(outbox) == []


def test_it_is_bounded() -> None:
    outbox = Outbox()
    count = 0
    while outbox.has_room(1):
        reliable(outbox, "x")
        count += 1
    assert count == 256
    for number in range(1000):
        outbox.put(b"x", "", Delivery.LATEST, str(number))
        outbox.put(b"x", "", Delivery.VOLATILE, "")
    assert sum(1 for _ in iter(outbox.take, [])) <= 3
    large = Outbox()
    assert large.has_room(2 << 20), "one always fits"
    reliable(large, "x" * (1 << 20))
    assert not large.has_room(1)
    large.take()
    large.acknowledge(1)
    assert large.has_room(1)


def test_a_request_is_bounded() -> None:
    outbox = Outbox()
    reliable(outbox, *["x" * 65_536] * 8)
    assert len(outbox.take()) == 2


@given(st.lists(st.sampled_from(["put", "take", "lose", "keep", "break"]), max_size=60))
def test_the_server_accepts_each_once_and_in_order(steps: list[str]) -> None:
    """`lose`: a request is lost with its stream; `keep`: it is accepted, its acknowledgement perhaps not."""
    outbox, accepted, last, put = Outbox(), [], 0, 0
    outbox.reopen(0)
    under_way: list[tuple[int, str]] = []
    for step in steps:
        if step == "put":
            reliable(outbox, str(put))
            put += 1
        elif step == "take":
            under_way += sent(outbox)
        elif step == "keep":
            for number, text in under_way:
                if number > last:
                    accepted.append(text)
                    last = number
            under_way = []
        elif step == "lose":
            under_way = []
            outbox.reopen(last)
        else:
            outbox.reopen(last)
            under_way = []
    outbox.reopen(last)
    accepted += [text for number, text in sent(outbox) if number > last]
    assert accepted == [str(number) for number in range(put)]
