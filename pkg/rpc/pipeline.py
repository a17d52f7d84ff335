"""What happens around every call: request id, metrics, deadline, authentication, access, validation, errors.

One function per shape of RPC, composed once at start; nothing here is looked up by name while serving.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import Message

from pkg import errors
from pkg.auth.caller import Caller, CallerRole
from pkg.auth.revocations import Revocations
from pkg.auth.tokens import ServiceTokens, TokenVerifier
from pkg.deadline import call_deadline
from pkg.errors import OofggError, Reason
from pkg.ids import NewId
from pkg.rpc import status
from pkg.rpc.access import AccessRule
from pkg.rpc.call import Call, StreamCall
from pkg.rpc.quotas import GameQuotas
from pkg.rpc.validation import UNKNOWN_FIELDS_HEADER, MessageValidator, unknown_fields
from pkg.telemetry.logs import current_request_id, get_logger
from pkg.telemetry.metrics import MethodMetrics, Metrics
from pkg.telemetry.tracing import TRACE_PARENT_HEADER, Tracing
from pkg.time_limit import time_limit

_log = get_logger(__name__)
T = TypeVar("T")

REQUEST_ID_HEADER = "x-request-id"
# The same ids that Envoy keeps.
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BEARER = "bearer"
# A unary call without a deadline of its own gets this one; work that cannot end in time is not begun.
_DEFAULT_DEADLINE_SECONDS = 30.0
_LEAST_SECONDS = 0.002

# Turns a library's error into a domain error, or None when it is not a backend's fault.
TranslateFault = Callable[[BaseException], OofggError | None]

NOBODY = Caller(user_id="", username="", role=CallerRole.PLAYER, game_id="", login_id="")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What all calls of a process share."""

    verifier: TokenVerifier
    service_tokens: ServiceTokens
    revocations: Revocations
    validator: MessageValidator
    metrics: Metrics
    new_id: NewId
    translate_fault: TranslateFault
    tracing: Tracing | None = None
    quotas: GameQuotas | None = None

    def unary(
        self, name: str, rule: AccessRule, behaviour: Callable[[Any, Call], Awaitable[Message]]
    ) -> Callable[[Any, Any], Awaitable[Message]]:
        """The handler of a unary RPC."""
        metrics = self.metrics.method(name)

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            async with _Served(self._refusal, context, metrics):
                metadata, request_id = self._begin(context)
                caller = await self._authenticate(rule, metadata)
                call = Call(context, name, metadata, request_id, caller)
                if UNKNOWN_FIELDS_HEADER in metadata:
                    raise unknown_fields(request, metadata[UNKNOWN_FIELDS_HEADER])
                self.validator.check(request)
                budget = _budget(context)
                call_deadline.set(time.monotonic() + budget)
                with time_limit(budget):
                    return await behaviour(request, call)

        return self._traced(name, handle)

    def server_stream(
        self, name: str, rule: AccessRule, behaviour: Callable[[Any, StreamCall], Awaitable[None]]
    ) -> Callable[[Any, Any], Awaitable[None]]:
        """The handler of an RPC with one request and many responses."""
        metrics = self.metrics.method(name)

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            async with _Served(self._refusal, context, metrics):
                call = await self._open(name, rule, context)
                self.validator.check(request)
                await behaviour(request, call)

        return self._traced(name, handle)

    def bidirectional(
        self, name: str, rule: AccessRule, behaviour: Callable[[StreamCall], Awaitable[None]]
    ) -> Callable[[Any, Any], Awaitable[None]]:
        """The handler of an RPC with many requests and many responses."""
        metrics = self.metrics.method(name)

        async def handle(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            async with _Served(self._refusal, context, metrics):
                await behaviour(await self._open(name, rule, context))

        return self._traced(name, handle)

    def _traced(self, name: str, handle: Callable[[Any, Any], Awaitable[T]]) -> Callable[[Any, Any], Awaitable[T]]:
        """The handler in a span of its own; without tracing the handler as it is."""
        tracing = self.tracing
        if tracing is None:
            return handle

        async def traced(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> T:
            metadata = dict(context.invocation_metadata() or ())
            with tracing.call(name, str(metadata.get(TRACE_PARENT_HEADER, ""))) as span:
                try:
                    return await handle(request, context)
                finally:
                    span.ended(_number(context.code()), current_request_id.get())

        return traced

    async def _open(self, name: str, rule: AccessRule, context: grpc.aio.ServicerContext[Any, Any]) -> StreamCall:
        metadata, request_id = self._begin(context)
        caller = await self._authenticate(rule, metadata)
        return StreamCall(
            context,
            name,
            metadata,
            request_id,
            caller,
            check=self.validator.check,
            end=grpc.aio.EOF,
            broken=grpc.aio.BaseError,
        )

    def _begin(self, context: grpc.aio.ServicerContext[Any, Any]) -> tuple[Mapping[str, str], str]:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        request_id = metadata.get(REQUEST_ID_HEADER, "")
        if not _SANE_REQUEST_ID.fullmatch(request_id):
            request_id = self.new_id()
        current_request_id.set(request_id)
        return metadata, request_id

    async def _authenticate(self, rule: AccessRule, metadata: Mapping[str, str]) -> Caller:
        if rule.public:
            return NOBODY
        # RFC 9110: the name of the scheme is the same in capitals and small letters.
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if scheme.lower() != _BEARER:
            raise errors.Unauthenticated(
                Reason.TOKEN_MISSING, "Send the access token of a login as metadata `authorization: Bearer …`."
            )
        if rule.internal:
            return self.service_tokens.verify(token)
        caller = self.revocations.named_now((await self.verifier.verify(token)).caller)
        if refusal := self.revocations.refusal(caller.login_id):
            raise refusal
        rule.check(caller)
        if caller.game_id and self.quotas is not None:
            await self.quotas.spend(caller.game_id)
        return caller

    def _refusal(self, error: Exception) -> OofggError:
        """The domain error a client may see; what it must not see goes to the log."""
        if isinstance(error, OofggError):
            if error.__cause__ is not None:
                _log.info("call refused", reason=error.reason, cause=repr(error.__cause__))
            return error
        if isinstance(error, TimeoutError):
            _log.warning("call ran out of time")
            return errors.DeadlineExceeded(Reason.DEADLINE, "The deadline of this call left too little time.")
        if translated := self.translate_fault(error):
            _log.warning("backend failed", reason=translated.message, cause=repr(error))
            return translated
        _log.exception("call failed")
        return errors.Internal(Reason.INTERNAL, "A fault of the platform. Quote the request id when you report it.")


class _Served:
    """A call while it is served: measured, and refused with what its client may see of an error."""

    __slots__ = ("_context", "_metrics", "_refusal", "_started")

    def __init__(
        self,
        refusal: Callable[[Exception], OofggError],
        context: grpc.aio.ServicerContext[Any, Any],
        metrics: MethodMetrics,
    ) -> None:
        self._refusal = refusal
        self._context = context
        self._metrics = metrics

    async def __aenter__(self) -> None:
        self._started = time.perf_counter()
        self._metrics.in_flight.inc()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        code = "CANCELLED" if isinstance(error, asyncio.CancelledError) else "OK"
        try:
            if isinstance(error, Exception):
                refusal = self._refusal(error)
                code = status.code_of(refusal).name
                await _abort(self._context, refusal)
        finally:
            self._metrics.in_flight.dec()
            self._metrics.latency.observe(time.perf_counter() - self._started)
            self._metrics.count(code)


def _number(code: Any) -> int:
    return int(code.value[0]) if isinstance(code, grpc.StatusCode) else int(code or 0)


def _budget(context: grpc.aio.ServicerContext[Any, Any]) -> float:
    """Seconds this call may take. Raises DeadlineExceeded when it is not worth beginning."""
    remaining = context.time_remaining()
    if remaining is None:
        return _DEFAULT_DEADLINE_SECONDS
    if remaining < _LEAST_SECONDS:
        raise errors.DeadlineExceeded(Reason.DEADLINE, "The deadline of this call left too little time.")
    return min(float(remaining), 24 * 3600.0)


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: OofggError) -> NoReturn:
    request_id = current_request_id.get()
    await context.abort(
        status.code_of(error),
        status.short_message(error),
        trailing_metadata=((status.DETAILS_KEY, status.to_details(error, request_id)), (REQUEST_ID_HEADER, request_id)),
    )
    raise AssertionError("abort returns never")
