"""Runs scripts by their hash, and sends those that Redis does not have."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import redis.asyncio as redis
from redis.exceptions import NoScriptError

from pkg.cache.answers import answers

_SHAS: Final[dict[str, str]] = {}
Argument = str | bytes | int


def _sha(script: str) -> str:
    found = _SHAS.get(script)
    if found is None:
        found = _SHAS[script] = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    return found


async def run(client: redis.Redis, script: str, base: str, arguments: Sequence[Argument]) -> Any:
    """The answer of a script. Raises Unavailable when Redis is away."""
    async with answers():
        try:
            return await client.evalsha(_sha(script), 1, base, *arguments)
        except NoScriptError:
            return await client.eval(script, 1, base, *arguments)


async def run_many(client: redis.Redis, script: str, calls: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
    """The answers of a script for several (base, arguments), in one round trip. Raises Unavailable."""
    if not calls:
        return []
    found = await _execute(client, script, calls)
    missing = [number for number, answer in enumerate(found) if isinstance(answer, NoScriptError)]
    if missing:
        async with answers():
            await client.script_load(script)
        again = await _execute(client, script, [calls[number] for number in missing])
        for number, answer in zip(missing, again, strict=True):
            found[number] = answer
    for answer in found:
        if isinstance(answer, Exception):
            raise answer
    return found


async def _execute(client: redis.Redis, script: str, calls: Sequence[tuple[str, Sequence[Argument]]]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    sha = _sha(script)
    for base, arguments in calls:
        pipeline.evalsha(sha, 1, base, *arguments)
    async with answers(5.0):
        return await pipeline.execute(raise_on_error=False)
