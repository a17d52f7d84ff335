"""Lost records are always found, and a reader that is merely slow never takes what it has not read for lost."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pkg.events.loss import Spot, gaps, passed_over, resume_offset
from pkg.events.positions import Position
from pkg.events.records import Numbers

T = TypeVar("T")


def drive(call: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        call.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise AssertionError("it waits")


class Topic:
    """A partition in memory: offset → numbers of the record there. Transaction markers take offsets too."""

    def __init__(self) -> None:
        self.records: dict[int, Numbers] = {}
        self.beginning = 0
        self.end = 0

    @property
    def tail(self) -> Spot:
        offset = max(self.records, default=-1)
        return Spot(offset, self.records[offset].number if self.records else 0)

    def append(self, number: int, markers: int) -> None:
        self.records[self.end] = Numbers(number, self.tail.number, 1)
        self.end += 1 + markers

    async def first(self, start: int, stop: int) -> Spot | None:
        found = min((offset for offset in self.records if start <= offset < stop), default=None)
        return None if found is None else Spot(found, self.records[found].number)

    async def last(self, stop: int) -> Spot | None:
        found = max((offset for offset in self.records if offset < stop), default=None)
        return None if found is None else Spot(found, self.records[found].number)

    def resume(self, below: int, seen: int) -> int | None:
        return drive(resume_offset(self, beginning=self.beginning, below=below, seen_number=seen))


class ReadingATopic(RuleBasedStateMachine):
    """A relay that publishes, a broker that may lose its newest records, a reader at whatever pace."""

    def __init__(self) -> None:
        super().__init__()
        self.topic = Topic()
        self.published = 0
        self.expired = 0
        self.losses = 0
        self.position = Position(0, 0)
        self.applied: set[int] = set()
        self.went_back = 0
        self.look = Spot(-1, 0)

    @rule(count=st.integers(1, 40), markers=st.integers(0, 2))
    def publish(self, count: int, markers: int) -> None:
        self.resume_publishing(markers)
        for _ in range(count):
            self.published += 1
            self.topic.append(self.published, markers)

    @rule(offsets=st.integers(1, 60))
    def abort_a_transaction(self, offsets: int) -> None:
        """What was aborted is shown to nobody, and takes offsets."""
        self.topic.end += offsets

    @rule(share=st.floats(0, 1), markers=st.integers(0, 2))
    def lose_the_newest(self, share: float, markers: int) -> None:
        kept = sorted(self.topic.records)[: int(len(self.topic.records) * share)]
        if len(kept) == len(self.topic.records):
            return
        self.losses += 1
        self.topic.records = {offset: self.topic.records[offset] for offset in kept}
        self.topic.end = kept[-1] + 1 + markers if kept else self.topic.beginning

    @rule(share=st.floats(0, 1), count=st.integers(1, 10), offsets=st.integers(0, 200))
    def lose_and_come_back_before_anyone_looks(self, share: float, count: int, offsets: int) -> None:
        """So that the reader may stand behind the last record, and before the end."""
        self.lose_the_newest(share, 0)
        self.publish(count, 0)
        self.abort_a_transaction(offsets)

    @rule(markers=st.integers(0, 2))
    def resume_publishing(self, markers: int) -> None:
        """The relay publishes again what the topic lost."""
        if self.topic.records or not self.topic.beginning:
            for number in range(self.topic.tail.number + 1, self.published + 1):
                self.topic.append(number, markers)
        else:
            for number in range(self.expired + 1, self.published + 1):
                self.topic.append(number, markers)

    @rule(share=st.floats(0, 1))
    def expire_the_oldest(self, share: float) -> None:
        """Retention removes only what was read long ago."""
        read = [offset for offset, told in self.topic.records.items() if told.number in self.applied]
        gone = [offset for offset in sorted(read)[: int(len(read) * share)] if offset < self.topic.tail.offset]
        for offset in gone:
            self.expired = max(self.expired, self.topic.records.pop(offset).number)
        self.topic.beginning = min(self.topic.records, default=self.topic.beginning)

    @rule(most=st.integers(1, 30))
    def read(self, most: int) -> None:
        if self.position.next_offset > self.topic.end or self.position.next_offset < self.topic.beginning:
            self.position = Position(self.topic.beginning, self.position.seen_number)
            return
        offsets = [offset for offset in sorted(self.topic.records) if offset >= self.position.next_offset][:most]
        begin = 0
        for index in gaps(self.position.seen_number, [self.topic.records[offset] for offset in offsets]):
            self.apply(offsets[begin:index])
            if self.go_back(offsets[index]):
                return
            begin = index
        self.apply(offsets[begin:])

    @rule()
    def look_at_the_end(self) -> None:
        self.look = self.topic.tail

    @rule()
    def conclude(self) -> None:
        """From the last look, however long ago that was."""
        if passed_over(self.position, self.look.offset, self.look.number):
            self.go_back(self.look.offset + 1)

    def apply(self, offsets: list[int]) -> None:
        for offset in offsets:
            number = self.topic.records[offset].number
            self.applied.add(number)
            self.position = Position(offset + 1, max(self.position.seen_number, number))

    def go_back(self, below: int) -> bool:
        offset = self.topic.resume(below, self.position.seen_number)
        if offset is None:
            return False
        assert offset < self.position.next_offset or offset < below
        self.position = Position(offset, self.position.seen_number)
        self.went_back += 1
        return True

    @precondition(lambda self: not self.losses)
    @invariant()
    def slowness_is_never_taken_for_loss(self) -> None:
        assert not self.went_back

    def teardown(self) -> None:
        """However it came to this, the reader ends with all that is in the topic, in a bounded number of rounds."""
        self.resume_publishing(0)
        for _ in range(2 * len(self.topic.records) + 10):
            self.read(30)
            self.look_at_the_end()
            self.conclude()
        assert {told.number for told in self.topic.records.values()} <= self.applied
        assert self.applied == set(range(1, self.published + 1))


TestReadingATopic = ReadingATopic.TestCase


@pytest.mark.parametrize(
    ("next_offset", "seen", "lost"),
    [(0, 0, False), (5, 5, False), (9, 5, False), (10, 5, True), (10, 10, False), (99, 0, True)],
    ids=["has not begun", "is on its way", "comes to it next", "is behind it", "has seen it", "is far behind it"],
)
def test_the_last_record_is_lost_only_for_a_reader_that_has_passed_its_offset(
    next_offset: int, seen: int, lost: bool
) -> None:
    assert passed_over(Position(next_offset, seen), 9, 10) is lost


@given(
    holes=st.lists(st.integers(0, 3), min_size=1, max_size=300),
    seen=st.integers(0, 300),
    retained=st.integers(0, 299),
)
def test_reading_resumes_before_all_that_is_missing_and_not_much_earlier(
    holes: list[int], seen: int, retained: int
) -> None:
    topic = Topic()
    for number, markers in enumerate(holes, 1):
        topic.append(number, markers)
    for offset in sorted(topic.records)[: min(retained, len(holes) - 1)]:
        del topic.records[offset]
    topic.beginning = min(topic.records)
    missing = [offset for offset, told in topic.records.items() if told.number > seen]
    found = topic.resume(topic.end, seen)
    if not missing:
        assert found is None
        return
    assert found is not None
    assert found <= min(missing)
    again = [offset for offset in topic.records if found <= offset < min(missing)]
    assert len(again) <= 4 * 4 * len(missing) + 16


@given(
    published=st.integers(1, 60),
    markers=st.integers(0, 2),
    read=st.integers(0, 60),
    kept=st.floats(0, 1),
    new=st.integers(1, 10),
    offsets=st.integers(0, 200),
)
def test_what_a_broker_lost_is_read_wherever_it_comes_back(
    published: int, markers: int, read: int, kept: float, new: int, offsets: int
) -> None:
    case = ReadingATopic()
    case.publish(published, markers)
    for _ in range(read):
        case.read(1)
    case.lose_and_come_back_before_anyone_looks(kept, new, offsets)
    case.teardown()
