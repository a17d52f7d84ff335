"""Whether a receiver has seen events that are lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.game.engine.lineage import Lineage


def test_owners_that_follow_each_other_without_loss_diverge_from_nobody() -> None:
    lineage = Lineage.read("10:0,20:5,30:9")
    assert not lineage.diverged(10, 5)
    assert not lineage.diverged(20, 9)
    assert not lineage.diverged(30, 100)


def test_who_stands_beyond_the_beginning_of_a_later_owner_has_seen_what_is_lost() -> None:
    lineage = Lineage.read("10:0,20:5")
    assert lineage.diverged(10, 6)
    assert not lineage.diverged(20, 6)
    # The owner of epoch 15 was lost with what it wrote.
    assert lineage.diverged(15, 6)
    assert not lineage.diverged(15, 5)


def test_who_comes_from_before_all_that_is_remembered_begins_again() -> None:
    lineage = Lineage.read(",".join(f"{epoch}:{epoch}" for epoch in range(1, 200)))
    assert lineage.diverged(1, 0)
    assert not lineage.diverged(150, 151)


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=30).map(lambda heads: [0, *heads]),
    st.integers(0, 31),
    st.integers(0, 25),
)
def test_it_is_what_looking_at_every_owner_says(heads: list[int], epoch: int, after: int) -> None:
    lineage = Lineage.read(",".join(f"{number}:{head}" for number, head in enumerate(heads, 1)))
    expected = any(after > head for number, head in enumerate(heads, 1) if number > epoch)
    assert lineage.diverged(epoch, after) == expected
    assert Lineage.read(lineage.text()) == lineage
