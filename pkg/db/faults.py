"""What a failed transaction means for whoever would try it again."""

from __future__ import annotations

import asyncpg

from pkg.errors import OofggError, Unavailable


def may_pass(error: BaseException) -> bool:
    """Whether a failure is the moment's: a backend is away, slow, full, or others are in the way."""
    return isinstance(error, Unavailable | OSError | TimeoutError)


def would_fail_again(error: BaseException) -> bool:
    """Whether a failure follows from the input alone, so that another attempt cannot end differently."""
    if isinstance(error, OofggError):
        return not isinstance(error, Unavailable)
    return isinstance(error, ValueError | ArithmeticError | asyncpg.DataError)
