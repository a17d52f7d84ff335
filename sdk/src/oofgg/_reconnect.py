"""What to do when a stream breaks."""

from __future__ import annotations

from dataclasses import dataclass, field

from oofgg._backoff import Backoff
from oofgg.errors import (
    Cancelled,
    DeadlineExceeded,
    Internal,
    OofggError,
    OutOfRange,
    Reason,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unknown,
)

# What a connection that was cut shows as, when the platform has said nothing.
_CUT = (Cancelled, DeadlineExceeded, Internal, Unavailable, Unknown)
# A stream that lasted this long was a good one.
_GOOD_SECONDS = 2.0
_MOST_RENEWALS = 2


@dataclass(frozen=True, slots=True)
class Retry:
    """How to open the next stream."""

    delay: float
    node: str | None = None
    """The node to ask for, if another one was named."""
    renew: bool = False
    """With a new access token."""
    restart: bool = False
    """From the session's current state instead of the last event."""


@dataclass
class ReconnectPolicy:
    """Decides, for one session. Times are of one monotonic clock, in seconds."""

    patience: float
    """Time without a stream after which it is given up."""
    backoff: Backoff = field(default_factory=Backoff)
    _down_since: float | None = None
    _renewals: int = 0

    def worked(self, seconds: float) -> None:
        """A stream was open for this long."""
        self._down_since = None
        self._renewals = 0
        if seconds >= _GOOD_SECONDS:
            self.backoff.reset()

    def next(self, error: OofggError, now: float) -> Retry:
        """What to do after this error. Raises it when there is nothing to be done."""
        if self._down_since is None:
            self._down_since = now
        if now - self._down_since > self.patience:
            raise error
        if error.reason is Reason.WRONG_NODE:
            first = self.backoff.attempts == 0
            delay = self.backoff.delay()
            return Retry(0.0 if first else delay, node=error.metadata.get("node", ""))
        if isinstance(error, Unauthenticated) and error.reason in (Reason.TOKEN_EXPIRED, Reason.TOKEN_INVALID):
            self._renewals += 1
            if self._renewals > _MOST_RENEWALS:
                raise error
            return Retry(self.backoff.delay(), renew=True)
        if isinstance(error, OutOfRange) and error.reason is Reason.RESUME_TOO_OLD:
            return Retry(self.backoff.delay(), restart=True)
        if (
            isinstance(error, Unavailable | ResourceExhausted)
            or error.reason is Reason.DEADLINE
            or (error.reason is Reason.UNSPECIFIED and isinstance(error, _CUT))
        ):
            # Any node will do: the one that ran the session may be gone.
            return Retry(self.backoff.delay(error.retry_after), node="" if isinstance(error, Unavailable) else None)
        raise error


def has_no_seat(error: BaseException) -> bool:
    """Whether this says that the caller has no seat in the session, or none that it may give up."""
    return isinstance(error, OofggError) and error.reason in (
        Reason.REPLACED,
        Reason.SESSION_STATE,
        Reason.SESSION_NOT_FOUND,
        Reason.NOT_A_PARTICIPANT,
    )
