"""The channels of a session keep what they promise, and no more."""

from __future__ import annotations

import pytest

from services.game.engine.order import LatestBoard, Private, Tail, VolatileRing


def test_a_tail_numbers_from_its_head_and_pages_by_size() -> None:
    tail = Tail(5)
    tail.extend([b"six", b"seven", b"eight"])
    assert (tail.first, tail.head, tail.size) == (6, 8, 13)
    assert tail.page(5, 8, at_least_one=False) == (b"sixseven", 7)
    assert tail.page(7, 100, at_least_one=False) == (b"eight", 8)
    assert tail.page(5, 2, at_least_one=False) == (b"", 5)
    assert tail.page(5, 2, at_least_one=True) == (b"six", 6)
    assert tail.behind(6) == (2, 10)
    assert tail.behind(8) == (0, 0)


@pytest.mark.parametrize(
    ("after", "held"), [(4, False), (5, True), (8, True), (9, False)], ids=["lost", "oldest", "head", "future"]
)
def test_a_tail_knows_from_where_a_receiver_can_go_on(after: int, held: bool) -> None:
    tail = Tail(0, max_events=3)
    tail.extend([b"x"] * 8)
    assert tail.first == 6
    assert tail.holds(after) is held


def test_a_tail_is_bounded_by_events_and_by_bytes() -> None:
    tail = Tail(max_events=10, max_bytes=100)
    for size in (1, 50, 60, 3, 99, 100):
        tail.extend([bytes(size)])
        assert tail.size <= 100
    assert tail.first == tail.head == 6
    tail.extend([b""] * 50)
    assert tail.head - tail.first + 1 == 10


def test_a_page_is_shared_only_by_receivers_it_fits() -> None:
    tail = Tail()
    tail.extend([b"aaaa", b"bbbb"])
    assert tail.page(0, 100, at_least_one=False) == (b"aaaabbbb", 2)
    assert tail.page(0, 5, at_least_one=False) == (b"aaaa", 1)
    tail.extend([b"cccc"])
    assert tail.page(0, 100, at_least_one=False) == (b"aaaabbbbcccc", 3)


def test_a_board_keeps_the_newest_value_in_the_order_of_change() -> None:
    board = LatestBoard()
    for seat, key, value in ((1, "x", b"old"), (2, "x", b"two"), (1, "y", b"why"), (1, "x", b"new")):
        board.put(seat, key, value)
    assert [piece for _, piece in board.newer(0, place=9)] == [b"two", b"why", b"new"]
    assert [piece for _, piece in board.newer(2, place=9)] == [b"why", b"new"]
    assert [piece for _, piece in board.newer(0, place=1)] == [b"two"]
    board.drop(1)
    assert [piece for _, piece in board.newer(0, place=9)] == [b"two"]


def test_a_sender_cannot_fill_the_board() -> None:
    board = LatestBoard(max_keys=4, max_bytes=100)
    board.put(2, "mine", b"kept")
    for number in range(50):
        board.put(1, str(number), bytes(30))
    assert len(board) == 4  # three of 30 bytes, and the other sender's
    board.put(1, "huge", bytes(1000))
    assert [piece for _, piece in board.newer(0, place=2)] == [bytes(1000)]
    board.put(1, "small", b"x")
    assert [piece for _, piece in board.newer(0, place=2)] == [b"x"]


def test_a_ring_forgets_the_oldest_and_counts_them() -> None:
    ring = VolatileRing(max_events=3, max_bytes=10)
    for value in (b"a", b"b", b"c", b"d", b"e"):
        ring.put(1, value)
    assert ring.since(0, place=2) == ([b"c", b"d", b"e"], 2)
    assert ring.since(4, place=2) == ([b"e"], 0)
    assert ring.since(0, place=1) == ([], 2), "its own"
    ring.put(1, bytes(9))
    assert ring.since(0, place=2) == ([b"e", bytes(9)], 4)


def test_what_is_for_some_is_hidden_from_the_others_and_from_who_had_the_place_later() -> None:
    tail = Tail(max_events=4)
    tail.extend([b"one.", b"two.", b"three."], {2: Private(frozenset({1, 3}), b"-2-")})
    assert tail.page(0, 100, at_least_one=False, place=1) == (b"one.two.three.", 3)
    assert tail.page(0, 100, at_least_one=False, place=2) == (b"one.-2-three.", 3)
    assert tail.page(1, 5, at_least_one=False, place=2) == (b"-2-", 2)
    assert tail.page(0, 100, at_least_one=False, place=3, since=1) == (b"one.two.three.", 3)
    assert tail.page(0, 100, at_least_one=False, place=3, since=2) == (b"one.-2-three.", 3)
    tail.extend([b"4", b"5", b"6"])
    assert tail.page(2, 100, at_least_one=False, place=9) == (b"three.456", 6)


def test_values_and_fleeting_events_for_some_reach_no_others() -> None:
    board, ring = LatestBoard(), VolatileRing()
    board.put(1, "x", b"secret", frozenset({1, 2}))
    board.put(1, "y", b"open")
    assert board.newer(0, place=2) == [(1, b"secret"), (2, b"open")]
    assert board.newer(0, place=3) == [(2, b"open")]
    board.drop(2)
    assert board.newer(0, place=2) == [(2, b"open")], "the place may be someone else's now"
    ring.put(1, b"secret", frozenset({1, 2}))
    assert ring.since(0, place=2) == ([b"secret"], 0)
    assert ring.since(0, place=3) == ([], 0)
