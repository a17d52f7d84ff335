"""Signing keys come and go on a schedule that everybody who caches the JWKS can follow.

A new key is published `lead` before it signs: Envoy reads the document every minute and asks for no key it does not
know, so the lead is several of its looks. An old key stays published until the last token it signed has expired.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pkg.clock import Clock
from pkg.errors import OofggError
from pkg.ids import NewId
from pkg.telemetry.logs import get_logger
from services.auth.audit import Audit, Kind
from services.auth.keys import KeyRing
from services.auth.stores.signing_keys import SigningKeyStore

_log = get_logger(__name__)

_LOOK_SECONDS: Final = 5.0
# Clocks of services may be apart, and a token may be on its way.
_MARGIN: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When keys change."""

    period: timedelta
    """How long a key signs."""
    lead: timedelta
    """How long it is published before."""
    token_life: timedelta
    """How long the last token it signs can live."""


class Rotation:
    """Makes keys, in one process at a time, and has every process of `auth` know them."""

    def __init__(
        self, ring: KeyRing, store: SigningKeyStore, audit: Audit, clock: Clock, new_id: NewId, schedule: Schedule
    ) -> None:
        self._ring = ring
        self._store = store
        self._audit = audit
        self._clock = clock
        self._new_id = new_id
        self._schedule = schedule

    async def run(self) -> None:
        """Looks after the keys until cancelled."""
        while True:
            try:
                await self.look()
            except OofggError as error:
                _log.warning("signing keys cannot be looked after", cause=repr(error.__cause__))
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Makes a key if it is time, forgets those that are of no use any more, and reads what there is."""
        now, schedule = self._clock.now(), self._schedule
        key = await self._store.rotate(
            self._new_id(), now, now + schedule.lead, unless_after=now + schedule.lead - schedule.period
        )
        if key is not None:
            _log.info("a new signing key", key_id=key.key_id, signs_from=key.activate_time.isoformat())
            await self._audit.alone(Kind.SIGNING_KEY_ROTATED, detail=key.key_id)
        await self._store.forget(now - schedule.token_life - _MARGIN)
        self._ring.replace(await self._store.load())
