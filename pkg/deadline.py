"""How long the call being served may still take, for whoever waits on a backend on its behalf.

A backend that hangs has to become a clear UNAVAILABLE while the caller still listens, so a wait gets a share of what
is left and never all of it.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Final

# Moment (time.monotonic) at which the caller stops listening; None outside of calls with a deadline.
call_deadline: ContextVar[float | None] = ContextVar("call_deadline", default=None)

_SHARE: Final = 0.8
_LEAST_SECONDS: Final = 0.02


def within(most: float) -> float:
    """Seconds to wait: at most `most`, and less when the call being served has less left."""
    deadline = call_deadline.get()
    if deadline is None:
        return most
    return min(most, max(_LEAST_SECONDS, (deadline - time.monotonic()) * _SHARE))
