"""Lua scripts: run by their hash, and sent where Redis does not have them.

redis-py's own (`register_script`) asks Redis in each pipeline whether it has them, which is a round trip more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import redis.asyncio as redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from pkg.cache.answers import answers
from pkg.errors import backend_unavailable

Argument = str | bytes | int

SECONDS: Final = 2.0


Call = tuple[Sequence[str], Sequence[Argument]]
"""Keys, all in one hash slot, and arguments."""


async def run(
    client: redis.Redis, script: str, keys: Sequence[str], arguments: Sequence[Argument], *, within: float = SECONDS
) -> Any:
    """The answer of a script (its text). Raises Unavailable(BACKEND_UNAVAILABLE) when Redis is away or refuses."""
    (answer,) = await run_all(client, script, [(keys, arguments)], within=within)
    return answer


async def run_all(client: redis.Redis, script: str, calls: Sequence[Call], *, within: float = SECONDS) -> list[Any]:
    """Its answers to several calls, in one round trip. Raises Unavailable when any failed; others may have been run."""
    found = await run_each(client, script, calls, within=within)
    if failed := next((answer for answer in found if isinstance(answer, RedisError)), None):
        raise backend_unavailable("Redis") from failed
    return found


async def run_each(client: redis.Redis, script: str, calls: Sequence[Call], *, within: float = SECONDS) -> list[Any]:
    """The same, where the answer to a call that failed is its error, a RedisError.

    Raises Unavailable when it is not known what was run.
    """
    if not calls:
        return []
    async with answers(within):
        found = await _send(client, script, calls)
        missing = [number for number, answer in enumerate(found) if isinstance(answer, NoScriptError)]
        if missing:
            await client.script_load(script)
            again = await _send(client, script, [calls[number] for number in missing])
            for number, answer in zip(missing, again, strict=True):
                found[number] = answer
    return found


async def _send(client: redis.Redis, script: str, calls: Sequence[Call]) -> list[Any]:
    sha = _sha(script)
    if len(calls) == 1:  # a pipeline costs more
        ((keys, arguments),) = calls
        try:
            return [await client.execute_command("EVALSHA", sha, len(keys), *keys, *arguments)]  # type: ignore[no-untyped-call]
        except ResponseError as error:
            return [error]
    pipeline = client.pipeline(transaction=False)
    for keys, arguments in calls:
        pipeline.evalsha(sha, len(keys), *keys, *arguments)
    found: list[Any] = await pipeline.execute(raise_on_error=False)
    return found


@cache
def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
