"""aiokafka's clients, as MatchHistory uses them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import OffsetAndMetadata

from oofgg import errors

FAULTS: Final = (KafkaError, OSError, TimeoutError)
REFUSALS: Final = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, SaslAuthenticationFailed)
_STOP_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.1
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Security:
    """How the broker knows who reads. The plain default is for a broker on the same machine."""

    username: str = ""
    """Of SASL; empty for none."""
    password: str = field(default="", repr=False)
    mechanism: str = "SCRAM-SHA-512"
    """PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
    tls: ssl.SSLContext | None = None
    """Encrypts, and holds the client's certificate where that says who reads."""

    @property
    def protocol(self) -> str:
        """As Kafka calls it."""
        transport = "SSL" if self.tls else "PLAINTEXT"
        return f"SASL_{transport}" if self.username else transport


class Clients:
    """Makes clients of one broker, which all give up after `timeout` seconds."""

    def __init__(self, bootstrap: str, security: Security, timeout: float) -> None:
        self._timeout = timeout
        self._options: dict[str, Any] = {
            "bootstrap_servers": bootstrap,
            # Below our own deadline, so that what went wrong is told by name.
            "request_timeout_ms": int(timeout * 500),
            "security_protocol": security.protocol,
            "ssl_context": security.tls,
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.username or None,
            "sasl_plain_password": security.password or None,
        }

    def consumer(self, *topics: str, group: str | None = None) -> AIOKafkaConsumer:
        """One that has not started; without a group it reads its topics, with one it is for offsets alone."""
        return AIOKafkaConsumer(
            *topics,
            group_id=group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            **self._options,
        )

    async def knows(self, topic: str) -> bool:
        """Whether the broker has a topic, or shows it: asking for it by name makes it on some brokers."""
        consumer = self.consumer()
        try:
            await self.within(consumer.start())
            return topic in await self.within(consumer.topics())
        finally:
            await self.stop([consumer])

    async def left_with(self, group: str, place: TopicPartition) -> OffsetAndMetadata | None:
        """What a group has committed, with its note: a consumer tells the offset alone."""
        admin = AIOKafkaAdminClient(**self._options)
        try:
            await self.within(admin.start())
            left = await self.within(_left_with(admin, group, place))
        finally:
            with suppress(*FAULTS):
                await self.within(admin.close())
        return None if left is None or left.offset < 0 else left

    async def stop(self, consumers: Iterable[AIOKafkaConsumer | None]) -> None:
        """Stops those that there are. Raises nothing."""
        for consumer in consumers:
            if consumer is not None:
                with suppress(*FAULTS):
                    await _ended(consumer.stop(), _STOP_SECONDS)

    async def within(self, call: Coroutine[Any, Any, _T]) -> _T:
        """The result of a call. Raises what it raises, or TimeoutError."""
        return await _ended(call, self._timeout)


def translated(error: Exception) -> errors.OofggError:
    """What to raise for one of FAULTS."""
    if isinstance(error, REFUSALS):
        return errors.PermissionDenied(f"Kafka refuses: {error}")
    return errors.Unavailable(f"Kafka does not answer: {error!r}")


async def _left_with(admin: AIOKafkaAdminClient, group: str, place: TopicPartition) -> OffsetAndMetadata | None:
    while True:
        try:
            return (await admin.list_consumer_group_offsets(group, partitions=[place])).get(place)
        except KafkaError as error:
            if not error.retriable:
                raise
            await asyncio.sleep(_AGAIN_SECONDS)  # the first group of a broker has it make room for groups


async def _ended(call: Coroutine[Any, Any, _T], seconds: float) -> _T:
    """In a task of its own: aiokafka may swallow a cancellation, and nobody should wait for it to be heard."""
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if not done:
        _abandon(task)
        raise TimeoutError
    return task.result()


def _abandon(task: asyncio.Task[Any]) -> None:
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    task.cancel()
