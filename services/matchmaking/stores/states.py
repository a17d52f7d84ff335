"""What becomes of tickets, in the numbers of the protos, which are also those in Redis."""

from __future__ import annotations

from enum import IntEnum


class TicketState(IntEnum):
    """Where a ticket is. From MATCHED on it is over."""

    QUEUED = 1
    PROPOSED = 2
    ACCEPTED = 3
    MATCHED = 4
    CANCELLED = 5
    EXPIRED = 6
    FAILED = 7


class TicketReason(IntEnum):
    """Why a ticket is over without a match, or back in its queues."""

    CANCELLED_BY_PLAYER = 1
    CANCELLED_BY_DEVELOPER = 2
    DECLINED = 3
    NOT_ANSWERED = 4
    ABANDONED = 5
    WAITED_TOO_LONG = 6
    QUEUE_DELETED = 7
    DOES_NOT_FIT = 8
    OTHERS_DECLINED = 9
    SESSION_FAILED = 10
