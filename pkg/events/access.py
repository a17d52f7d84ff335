"""Who may read a game's topic: access control lists of Kafka, for brokers that have an authorizer.

aiokafka speaks this part of the protocol, but its admin client has no methods for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest

from pkg.errors import backend_unavailable
from pkg.events import clients
from pkg.events.cluster import Cluster
from pkg.events.topics import MATCH_HISTORY_PREFIX

_DEADLINE_SECONDS: Final = 10.0
# Numbers of Kafka's protocol.
_ANY: Final = 1
_READ: Final = 3
_ALLOW: Final = 3
_EVERY_HOST: Final = "*"


class Kind(IntEnum):
    """What is granted, as Kafka counts it."""

    TOPIC = 2
    GROUP = 3


class Pattern(IntEnum):
    """How a grant names things, as Kafka counts it."""

    LITERAL = 3
    PREFIXED = 4


@dataclass(frozen=True, slots=True)
class Grant:
    """A principal may read a topic, or keep offsets with groups whose names begin in one way, from any host."""

    principal: str
    """As Kafka writes it: `User:ada`."""
    kind: Kind
    name: str

    @property
    def pattern(self) -> Pattern:
        return Pattern.LITERAL if self.kind is Kind.TOPIC else Pattern.PREFIXED


def grants_of(principal: str, game_id: str, group_prefix: str = "") -> list[Grant]:
    """What a developer needs to follow a game; without a prefix no groups. Raises ValueError for nobody."""
    kind, _, name = principal.partition(":")
    if not kind or not name or name == "*":
        raise ValueError(f"{principal!r} names nobody; write it as User:NAME")
    granted = [Grant(principal, Kind.TOPIC, MATCH_HISTORY_PREFIX + game_id)]
    return [*granted, Grant(principal, Kind.GROUP, group_prefix)] if group_prefix else granted


class Access:
    """Grants of one broker. Methods raise KafkaError where the broker refuses, also because it has no authorizer."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin = admin

    async def grant(self, grants: Sequence[Grant]) -> None:
        """Makes these; one that is there already stays."""
        for wanted in grants:
            told = await self._ask(
                CreateAclsRequest(
                    wanted.kind, wanted.name, wanted.pattern, wanted.principal, _EVERY_HOST, _READ, _ALLOW
                )
            )
            for code, message in told.creation_responses:
                _check(code, message)

    async def revoke(self, grants: Sequence[Grant]) -> int:
        """Takes these away and returns how many there were."""
        count = 0
        for unwanted in grants:
            told = await self._ask(
                DeleteAclsRequest(
                    unwanted.kind, unwanted.name, unwanted.pattern, unwanted.principal, _EVERY_HOST, _READ, _ALLOW
                )
            )
            for code, message, matching in told.filter_responses:
                _check(code, message)
                count += len(matching)
        return count

    async def list(self) -> list[Grant]:
        """All grants of games' topics, and of groups to those who have one."""
        told = await self._ask(DescribeAclsRequest(_ANY, None, _ANY, None, None, _READ, _ALLOW))  # type: ignore[arg-type]
        _check(told.error_code, told.error_message)
        found = [
            Grant(principal, Kind(kind), name)
            for kind, name, pattern, acls in told.resources
            if (kind, pattern) in {(Kind.TOPIC, Pattern.LITERAL), (Kind.GROUP, Pattern.PREFIXED)}
            for principal, *_ in acls
        ]
        readers = {
            grant.principal
            for grant in found
            if grant.kind is Kind.TOPIC and grant.name.startswith(MATCH_HISTORY_PREFIX)
        }
        return sorted(
            (
                grant
                for grant in found
                if grant.principal in readers
                and (grant.kind is Kind.GROUP or grant.name.startswith(MATCH_HISTORY_PREFIX))
            ),
            key=lambda grant: (grant.principal, grant.kind, grant.name),
        )

    async def _ask(self, request: Any) -> Any:
        return await clients.whole(self._admin._send_request(request), within=_DEADLINE_SECONDS)


@asynccontextmanager
async def open_access(cluster: Cluster | str) -> AsyncIterator[Access]:
    """Access control of a broker. Raises Unavailable when nobody answers."""
    admin = clients.admin(cluster, "oofgg-access")
    try:
        try:
            await clients.start(admin, within=_DEADLINE_SECONDS)
        except (KafkaError, OSError, TimeoutError) as error:
            raise backend_unavailable("Kafka") from error
        yield Access(admin)
    finally:
        await clients.stop(admin.close)


def _check(code: int, message: str | None) -> None:
    if code:
        raise for_code(code)(message)
