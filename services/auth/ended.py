"""Tells every process which logins have ended and which accounts have another name.

PostgreSQL first, then the Redis stream that all follow.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import redis.asyncio as redis
from redis.exceptions import RedisError

from pkg.auth import revocations
from pkg.clock import Clock
from pkg.db.database import Database
from pkg.db.replies import forget_old_replies
from pkg.errors import OofggError
from pkg.telemetry.logs import get_logger
from pkg.wakes import woken
from services.auth.stores.logins import LoginStore
from services.auth.stores.renames import RenameStore

_log = get_logger(__name__)
_BATCH = 500
_INTERVAL_SECONDS = 0.25
_TIDY_SECONDS = 600.0


class EndedLogins:
    """Publishes what was ended and not published yet, again and again until Redis has it."""

    def __init__(
        self,
        logins: LoginStore,
        renames: RenameStore,
        database: Database,
        client: redis.Redis,
        clock: Clock,
        token_seconds: int,
    ) -> None:
        self._logins = logins
        self._renames = renames
        self._database = database
        self._client = client
        self._clock = clock
        self._keep = timedelta(seconds=token_seconds + 60)
        self._wake = asyncio.Event()

    def hint(self) -> None:
        """Says that something was ended or renamed just now."""
        self._wake.set()

    async def run(self) -> None:
        """Publishes until cancelled. What ended recently is published again when Redis may have lost it."""
        tidy_at = 0.0
        while True:
            try:
                run_id, complete = await revocations.run_of(self._client)
                if not complete:
                    await self._publish_again(run_id)
                await self._publish()
                if self._clock.monotonic() >= tidy_at:
                    await self._logins.forget(self._clock.now() - self._keep)
                    await self._renames.forget(self._clock.now() - self._keep)
                    await forget_old_replies(self._database)
                    tidy_at = self._clock.monotonic() + _TIDY_SECONDS
            except (OofggError, RedisError, OSError, TimeoutError) as error:
                _log.warning("ended logins wait to be published", error=repr(error))
            self._wake.clear()
            await woken(self._wake, within=_INTERVAL_SECONDS)

    async def _publish_again(self, run_id: str) -> None:
        """Redis is new, or came back, maybe without its data: it learns what matters anew, and only then says so."""
        await self._logins.mark_unpublished_since(self._clock.now() - self._keep)
        await self._renames.mark_unpublished_since(self._clock.now() - self._keep)
        await self._publish()
        await revocations.mark_complete(self._client, run_id)
        _log.info("Redis knows the ended logins")

    async def _publish(self) -> None:
        while ended := await self._logins.unpublished(_BATCH):
            for revocation in ended:
                await revocations.publish(
                    self._client,
                    revocation.login_id,
                    revocation.reason,
                    keep_seconds=int(self._keep.total_seconds()),
                    clock=self._clock,
                )
            await self._logins.mark_published([revocation.login_id for revocation in ended])
        while renames := await self._renames.unpublished(_BATCH):
            for rename in renames:
                await revocations.publish_name(
                    self._client,
                    rename.user_id,
                    rename.username,
                    keep_seconds=int(self._keep.total_seconds()),
                    clock=self._clock,
                )
            await self._renames.mark_published(renames)
