"""Security events: on the topic `oofgg.audit`, through the outbox, in the transaction of what they tell of."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from oofgg.events.v1 import identity_pb2
from pkg.clock import Clock
from pkg.db.database import Connection, Database
from pkg.events.outbox import Event, append
from pkg.events.topics import AUDIT
from pkg.ids import NewId
from services.auth.accounts import Origin

_TYPE: Final = identity_pb2.SecurityEvent.DESCRIPTOR.full_name
NOWHERE: Final = Origin()


class Kind(StrEnum):
    """What happened; `SecurityEventKind` of the protos without its prefix."""

    ACCOUNT_CREATED = "ACCOUNT_CREATED"
    ACCOUNT_CHANGED = "ACCOUNT_CHANGED"
    ACCOUNT_DELETED = "ACCOUNT_DELETED"
    ACCOUNT_EXPORTED = "ACCOUNT_EXPORTED"
    LOGIN = "LOGIN"
    LOGIN_FAILED = "LOGIN_FAILED"
    LOCKED_OUT = "LOCKED_OUT"
    REFRESH_REUSED = "REFRESH_REUSED"
    LOGIN_ENDED = "LOGIN_ENDED"
    PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105
    CREDENTIAL_LINKED = "CREDENTIAL_LINKED"
    CREDENTIAL_UNLINKED = "CREDENTIAL_UNLINKED"
    API_KEY_CREATED = "API_KEY_CREATED"
    API_KEY_USED = "API_KEY_USED"
    API_KEY_REVOKED = "API_KEY_REVOKED"
    ROLE_CHANGED = "ROLE_CHANGED"
    SIGNING_KEY_ROTATED = "SIGNING_KEY_ROTATED"


class Audit:
    """Tells of security events. None of the arguments may be a secret, or what somebody typed in the place of one."""

    def __init__(self, database: Database, clock: Clock, new_id: NewId) -> None:
        self._database = database
        self._clock = clock
        self._new_id = new_id

    async def note(
        self,
        connection: Connection,
        kind: Kind,
        *,
        user_id: str = "",
        login_id: str = "",
        api_key_id: str = "",
        game_id: str = "",
        actor: str = "",
        origin: Origin = NOWHERE,
        detail: str = "",
    ) -> None:
        """Tells of it if the transaction of `connection` commits."""
        now = self._clock.now()
        event = identity_pb2.SecurityEvent(
            kind=identity_pb2.SecurityEventKind.Value(f"SECURITY_EVENT_KIND_{kind}"),
            user_id=user_id,
            login_id=login_id,
            api_key_id=api_key_id,
            game_id=game_id,
            actor=actor,
            address=origin.address,
            client=origin.client,
            detail=detail,
        )
        event.occur_time.FromDatetime(now)
        key = user_id or api_key_id or origin.address or "platform"
        await append(connection, Event(self._new_id(), _TYPE, key, event.SerializeToString(), now), [AUDIT])

    async def alone(
        self, kind: Kind, *, user_id: str = "", game_id: str = "", origin: Origin = NOWHERE, detail: str = ""
    ) -> None:
        """Tells of something that changed nothing in the database."""
        async with self._database.transaction() as connection:
            await self.note(connection, kind, user_id=user_id, game_id=game_id, origin=origin, detail=detail)
