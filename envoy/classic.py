"""The two classic JSON endpoints: their failures have the form of their answers.

What a service refuses comes out of the transcoder as a google.rpc.Status; a few lines of Lua on these two routes put
its message into the answer's `error_message`. What Envoy refuses by itself is written in that form to begin with.
"""

from __future__ import annotations

from dataclasses import dataclass

SERVICE = "oofgg.v1.ClassicService"


@dataclass(frozen=True)
class Endpoint:
    """One of them: its path, its RPC, and what a failure answers beside `error_message`."""

    path: str
    method: str
    failure: dict[str, object]

    @property
    def expression(self) -> str:
        """CEL that is true for a request to it, before and after the transcoder has rewritten the path."""
        rpc = f"/{SERVICE}/{self.method}"
        json = f"request.path == '{self.path}' || request.path.startsWith('{self.path}?')"
        return f"({json} || (request.path == '{rpc}' && 'x-envoy-original-path' in request.headers))"

    @property
    def lua(self) -> str:
        """The script of its route."""
        fields = "".join(f'"{name}":{_json(value)},' for name, value in self.failure.items())
        return f"""
function envoy_on_response(handle)
  if handle:headers():get(":status") == "200" then return end
  local body = handle:body(true)
  local message = body:getBytes(0, body:length()):match('^{{"code":%d+,"message":"(.-)","details":')
  if message == nil then return end
  local length = body:setBytes('{{{fields}"error_message":"' .. message .. '"}}')
  handle:headers():replace("content-length", tostring(length))
end
"""


ENDPOINTS = (
    Endpoint("/api/login", "ClassicLogin", {"user_id": "", "nickname": "", "session_token": "", "success": False}),
    Endpoint("/api/validate_session", "ValidateSession", {"user_id": "", "is_valid": False}),
)


def _json(value: object) -> str:
    return "false" if value is False else f'"{value}"'
