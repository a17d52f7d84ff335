"""What a relay concludes from what readers are shown of its first transaction."""

from __future__ import annotations

import pytest

from pkg.events.publisher import Shown, shown_to_readers
from pkg.events.tail import Tail

WRITTEN = {0: Tail(7, 20), 1: Tail(9, 30)}


@pytest.mark.parametrize(
    ("shown", "conclusion"),
    [
        ({0: Tail(7, 21), 1: Tail(9, 31)}, Shown.YES),
        ({0: Tail(8, 25), 1: Tail(12, 40)}, Shown.YES),
        ({0: Tail(7, 21), 1: Tail(5, 12)}, Shown.NOT_YET),
        ({0: Tail(3, 8), 1: Tail(5, 12)}, Shown.NOT_YET),
        ({0: Tail(7, 21), 1: Tail(5, 31)}, Shown.PASSED_OVER),
        ({0: Tail(3, 8), 1: Tail(5, 31)}, Shown.PASSED_OVER),
    ],
    ids=["shown", "others came since", "not come so far", "in no partition", "passed over", "passed over in one"],
)
def test_only_readers_that_have_come_past_a_record_can_have_passed_it_over(
    shown: dict[int, Tail], conclusion: Shown
) -> None:
    assert shown_to_readers(WRITTEN, shown) is conclusion
