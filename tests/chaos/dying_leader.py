"""A node of matchmaking that ends, or pauses, at a step: `python -m tests.chaos.dying_leader SIGNAL STEP`.

At the first time it comes to STEP; never where that is empty. Its settings come from the environment.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from typing import Any, Final

from services.matchmaking.leading.publishing import Publishing
from services.matchmaking.seating import Seating
from services.matchmaking.stores.leading import LeaderStore
from services.serve import run

# What is called, and whether the process ends before the call or after it.
STEPS: Final[dict[str, tuple[Any, str, str]]] = {
    "a match is found, not claimed": (LeaderStore, "claim", "before"),
    "tickets are claimed, no session is asked for": (LeaderStore, "claim", "after"),
    "the session is there, its tickets do not know": (Seating, "open", "after"),
    "tickets are matched, nothing is published": (LeaderStore, "settle", "after"),
    "the event is in the outbox, and not noted so": (LeaderStore, "published", "before"),
    "all is done": (Publishing, "drain", "after"),
}


def end_at(step: str, how: signal.Signals) -> None:
    """Has this process end, or pause, at a step."""
    owner, name, moment = STEPS[step]
    real = getattr(owner, name)

    @functools.wraps(real)
    async def watched(*arguments: Any, **options: Any) -> Any:
        if moment == "before":
            os.kill(os.getpid(), how)
        result = await real(*arguments, **options)
        if moment == "after":
            os.kill(os.getpid(), how)
        return result

    setattr(owner, name, watched)


if __name__ == "__main__":
    if sys.argv[2]:
        end_at(sys.argv[2], signal.Signals[sys.argv[1]])
    sys.exit(run(["matchmaking"]))
