"""Waiting for background work: until somebody says there is some, or until it is time to look anyway."""

from __future__ import annotations

import asyncio


async def woken(wake: asyncio.Event, *, within: float) -> bool:
    """Whether the event was set within so many seconds. Leaves clearing it to the caller, who knows when it looks."""
    try:
        async with asyncio.timeout(within):
            await wake.wait()
    except TimeoutError:
        return False
    return True
