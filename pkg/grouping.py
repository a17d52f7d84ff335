"""How long work waits for company, so that what is done once for many costs each of them little.

Whoever is alone does not wait. The more came together last time, the busier the process is, the more is saved by
waiting, and the less is lost: what waits would have stood in the queue for the processor.
"""

from __future__ import annotations

from typing import Final

_SECONDS_EACH: Final = 0.001
_MOST_SECONDS: Final = 0.005


def gather_seconds(last: int) -> float:
    """Seconds to wait for company where so many came together the last time; 0 for one that was alone."""
    return min(_MOST_SECONDS, last * _SECONDS_EACH) if last > 1 else 0.0
