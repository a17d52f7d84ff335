"""ClassicService on the wire: two JSON endpoints whose failures have the form of their answers.

A failed call's gRPC status becomes the HTTP status, and Envoy gives its message the form of an answer
(`envoy/classic.py`).
"""

from __future__ import annotations

from oofgg.v1 import classic_pb2 as pb
from pkg.errors import Reason, Unauthenticated
from pkg.rpc.call import Call
from services.auth.identity import Identity
from services.auth.messages import origin_of


class ClassicServicer:
    """Proto in, identity, proto out."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def classic_login(self, request: pb.ClassicLoginRequest, call: Call) -> pb.ClassicLoginResponse:
        origin = origin_of(call)
        verified = await self._identity.verify_login(request.username, request.password, origin)
        tokens = await self._identity.login(verified, None, origin)
        session = self._identity.issuer.access(tokens.caller, seconds=self._identity.settings.session_token_seconds)
        return pb.ClassicLoginResponse(
            user_id=tokens.caller.user_id, nickname=verified.account.nickname, session_token=session.text, success=True
        )

    async def validate_session(self, request: pb.ValidateSessionRequest, _: Call) -> pb.ValidateSessionResponse:
        verified = await self._identity.validate(request.session_token)
        if verified is None:
            raise Unauthenticated(Reason.TOKEN_INVALID, "The session is unknown or has expired.")
        return pb.ValidateSessionResponse(user_id=verified.caller.user_id, is_valid=True)
