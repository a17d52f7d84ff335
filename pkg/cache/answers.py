"""The deadline of commands to Redis, and what their failures become."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import RedisError

from pkg.errors import backend_unavailable
from pkg.time_limit import time_limit


@asynccontextmanager
async def answers(within: float = 2.0) -> AsyncIterator[None]:
    """Raises Unavailable(BACKEND_UNAVAILABLE) unless Redis answers well within so many seconds."""
    try:
        with time_limit(within):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise backend_unavailable("Redis") from error
