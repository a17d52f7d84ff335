"""What Envoy itself answers, in the words of the platform.

A call that Envoy refuses looks like one that a service refused: gRPC callers get code, message and ErrorInfo in
`grpc-status-details-bin`, JSON callers the same as a google.rpc.Status object.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration

from envoy.classic import ENDPOINTS, Endpoint
from oofgg.v1 import errors_pb2
from oofgg.v1.errors_pb2 import ErrorReason

TYPE_URL = "type.googleapis.com/google.rpc."

# The transcoder leaves x-envoy-original-path on what came as JSON; from outside that header is stripped.
_GRPC = (
    "request.headers['content-type'].startsWith('application/grpc') && !('x-envoy-original-path' in request.headers)"
)


# The route adds it as well, but not every refusal has come as far as a route.
_REQUEST_ID = ("x-request-id", "%REQ(x-request-id)%")


class Code(IntEnum):
    """The gRPC status codes Envoy answers with."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True)
class Refusal:
    """A cause for which Envoy answers by itself."""

    when: str
    """CEL over Envoy's attributes; `response.code_details` names the cause."""
    code: Code
    status: int
    """HTTP status for JSON callers."""
    reason: ErrorReason.ValueType
    message: str
    retry_after: float | None = None
    """Seconds after which trying again makes sense."""


@dataclass(frozen=True)
class LocalReply:
    """One mapper of Envoy's `local_reply_config`."""

    expression: str
    headers: list[tuple[str, str]]
    status: int | None = None
    text: str | None = None
    json: dict[str, object] = field(default_factory=dict)


REFUSALS = (
    Refusal(
        "response.code_details.contains('Jwt_is_missing')",
        Code.UNAUTHENTICATED,
        401,
        ErrorReason.ERROR_REASON_TOKEN_MISSING,
        "No access token came with the call; log in and send it as `authorization: Bearer …`.",
    ),
    Refusal(
        "response.code_details.contains('Jwt_is_expired')",
        Code.UNAUTHENTICATED,
        401,
        ErrorReason.ERROR_REASON_TOKEN_EXPIRED,
        "The access token has expired; refresh it.",
    ),
    Refusal(
        "response.code_details.contains('Jwks_remote_fetch_is_failed')",
        Code.UNAVAILABLE,
        503,
        ErrorReason.ERROR_REASON_BACKEND_UNAVAILABLE,
        "The keys to check access tokens with are not there yet; try again.",
        retry_after=0.25,
    ),
    Refusal(
        "response.code_details.startsWith('jwt_authn_access_denied')",
        Code.UNAUTHENTICATED,
        401,
        ErrorReason.ERROR_REASON_TOKEN_INVALID,
        "The access token is malformed, badly signed or for another platform; log in again.",
    ),
    Refusal(
        "response.code == 429",
        Code.RESOURCE_EXHAUSTED,
        429,
        ErrorReason.ERROR_REASON_RATE_LIMITED,
        "Too many calls; wait a moment.",
        retry_after=1,
    ),
    Refusal(
        "response.code == 413",
        Code.INVALID_ARGUMENT,
        413,
        ErrorReason.ERROR_REASON_INVALID_FIELD,
        "The request is too large.",
    ),
    Refusal(
        "response.code_details == 'lua_response' && response.code == 415",
        Code.INVALID_ARGUMENT,
        415,
        ErrorReason.ERROR_REASON_INVALID_FIELD,
        "The body has to be JSON, and to say so: send the header `content-type: application/json`.",
    ),
    Refusal(
        "response.code_details == 'lua_response' && response.code == 400",
        Code.INVALID_ARGUMENT,
        400,
        ErrorReason.ERROR_REASON_INVALID_FIELD,
        "The body is not JSON: names and texts have to be in double quotes, and no list may end with a comma.",
    ),
    Refusal(
        "response.code == 415",
        Code.UNIMPLEMENTED,
        415,
        ErrorReason.ERROR_REASON_UNIMPLEMENTED,
        "This path speaks gRPC and grpc-web. JSON has paths of its own, such as POST /v1/auth/login.",
    ),
    Refusal(
        "response.code_details.contains('grpc_json_transcode_failure') && response.code == 400 && "
        "(request.method == 'GET' || ('x-envoy-original-method' in request.headers && "
        "request.headers['x-envoy-original-method'] == 'GET'))",
        Code.INVALID_ARGUMENT,
        400,
        ErrorReason.ERROR_REASON_INVALID_FIELD,
        "The address has a parameter that this call does not have, or one whose value is of the wrong type.",
    ),
    Refusal(
        "response.code_details.contains('grpc_json_transcode_failure') && response.code == 400",
        Code.INVALID_ARGUMENT,
        400,
        ErrorReason.ERROR_REASON_INVALID_FIELD,
        "The body is not the JSON of this request, since a field has a value of the wrong type; or the address has "
        "parameters, which belong into the body.",
    ),
    Refusal(
        "response.code_details.contains('rbac_access_denied_matched_policy[no_message]')",
        Code.INVALID_ARGUMENT,
        400,
        ErrorReason.ERROR_REASON_PROTOCOL_VIOLATION,
        "The call ended without a message. An empty request is a message, too: a frame of five zero bytes.",
    ),
    Refusal(
        f"{_GRPC} && response.code_details == 'direct_response' && response.code == 400",
        Code.INVALID_ARGUMENT,
        400,
        ErrorReason.ERROR_REASON_PROTOCOL_VIOLATION,
        "The call lacks the header `te: trailers`, which gRPC asks for: the status of a call is in the trailers.",
    ),
    Refusal(
        "response.code_details == 'direct_response' && response.code == 400",
        Code.INVALID_ARGUMENT,
        400,
        ErrorReason.ERROR_REASON_INVALID_FIELD,
        "Parameters belong into the body: an address is in the logs of everybody on the way.",
    ),
    Refusal(
        "response.code == 404",
        Code.UNIMPLEMENTED,
        404,
        ErrorReason.ERROR_REASON_UNIMPLEMENTED,
        "This platform offers no such call.",
    ),
    Refusal(
        "response.code == 405",
        Code.UNIMPLEMENTED,
        405,
        ErrorReason.ERROR_REASON_UNIMPLEMENTED,
        "This path takes another HTTP method; the header `allow` names it.",
    ),
    Refusal(
        "response.code == 408 || response.code == 504",
        Code.DEADLINE_EXCEEDED,
        504,
        ErrorReason.ERROR_REASON_DEADLINE,
        "The call took too long.",
    ),
    Refusal(
        "response.code == 502 || response.code == 503",
        Code.UNAVAILABLE,
        503,
        ErrorReason.ERROR_REASON_BACKEND_UNAVAILABLE,
        "The service does not answer; try again.",
        retry_after=0.25,
    ),
    Refusal(
        "response.code >= 400 && response.code < 500",
        Code.INVALID_ARGUMENT,
        400,
        ErrorReason.ERROR_REASON_PROTOCOL_VIOLATION,
        "The request is malformed.",
    ),
    Refusal(
        "response.code >= 500",
        Code.INTERNAL,
        500,
        ErrorReason.ERROR_REASON_INTERNAL,
        "A fault of ours; quote the request id.",
    ),
)


def local_replies(special: Iterable[Refusal] = ()) -> Iterator[LocalReply]:
    """The mappers for all refusals, first match first; `special` ones come before the general ones."""
    for refusal in (*special, *REFUSALS):
        yield _grpc_reply(refusal)
        for endpoint in ENDPOINTS:
            yield _classic_reply(endpoint, refusal)
        yield _json_reply(refusal)


def status_details(refusal: Refusal) -> bytes:
    """The serialised google.rpc.Status of a refusal."""
    info = errors_pb2.ErrorInfo(reason=_reason(refusal), domain="oofgg")
    details = [Any(type_url=f"{TYPE_URL}ErrorInfo", value=info.SerializeToString())]
    if refusal.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(int(refusal.retry_after * 1000))
        retry = errors_pb2.RetryInfo(retry_delay=delay)
        details.append(Any(type_url=f"{TYPE_URL}RetryInfo", value=retry.SerializeToString()))
    status = errors_pb2.Status(code=int(refusal.code), message=refusal.message, details=details)
    return status.SerializeToString(deterministic=True)


def _grpc_reply(refusal: Refusal) -> LocalReply:
    encoded = base64.b64encode(status_details(refusal)).decode().rstrip("=")
    return LocalReply(
        expression=f"{_GRPC} && ({refusal.when})",
        headers=[_REQUEST_ID, ("grpc-status", str(int(refusal.code))), ("grpc-status-details-bin", encoded)],
        text=refusal.message,
    )


def _json_reply(refusal: Refusal) -> LocalReply:
    info: dict[str, object] = {"@type": f"{TYPE_URL}ErrorInfo", "reason": _reason(refusal), "domain": "oofgg"}
    details: list[object] = [{**info, "metadata": {"request_id": "%REQ(x-request-id)%"}}]
    headers = [_REQUEST_ID]
    if refusal.retry_after is not None:
        details.append({"@type": f"{TYPE_URL}RetryInfo", "retry_delay": f"{refusal.retry_after}s"})
        headers.append(("retry-after", str(math.ceil(refusal.retry_after))))
    return LocalReply(
        expression=refusal.when,
        headers=headers,
        status=refusal.status,
        json={"code": int(refusal.code), "message": refusal.message, "details": details},
    )


def _classic_reply(endpoint: Endpoint, refusal: Refusal) -> LocalReply:
    reply = _json_reply(refusal)
    return replace(
        reply,
        expression=f"{endpoint.expression} && ({refusal.when})",
        json={**endpoint.failure, "error_message": refusal.message},
    )


def _reason(refusal: Refusal) -> str:
    return ErrorReason.Name(refusal.reason).removeprefix("ERROR_REASON_")
