"""Which owners a session has had, and where each began: tells a receiver that has seen what is lost.

Every owner works under an epoch that is larger than all before it, even those that were lost with the newest part of
the log, because epochs are taken from the clock. An owner begins where the log it found ended. So a receiver that
stands beyond the beginning of an owner after its own has seen events that are not part of the session any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class Lineage:
    """(epoch, number of the last event before it) of the owners, oldest first; both grow.

    An owner that began no further than a later one is dropped: nobody can stand beyond the one and not the other.
    """

    begins: Sequence[tuple[int, int]]

    @classmethod
    def read(cls, text: str) -> Lineage:
        """From `epoch:head,…` in the order the owners came."""
        begins: list[tuple[int, int]] = []
        for entry in text.split(","):
            epoch, _, head = entry.partition(":")
            while begins and begins[-1][1] >= int(head):
                begins.pop()
            begins.append((int(epoch), int(head)))
        return cls(begins[-_MOST:])

    def text(self) -> str:
        """What `read` takes."""
        return ",".join(f"{epoch}:{head}" for epoch, head in self.begins)

    def diverged(self, epoch: int, after: int) -> bool:
        """Whether a receiver that got event `after` from the owner of `epoch` has seen events that are lost."""
        later = [(began, head) for began, head in self.begins if began > epoch]
        if len(later) == len(self.begins) and len(later) == _MOST:
            return True  # nobody remembers so far back
        return bool(later) and after > later[0][1]
