"""Who may call an RPC, as its proto declares it."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from oofgg.v1 import access_pb2
from pkg.auth.caller import Caller, CallerRole
from pkg.errors import PermissionDenied, Reason

_ROLE_OF = {
    access_pb2.ACCESS_PLAYER: CallerRole.PLAYER,
    access_pb2.ACCESS_DEVELOPER: CallerRole.DEVELOPER,
    access_pb2.ACCESS_ADMIN: CallerRole.ADMIN,
}


@dataclass(frozen=True, slots=True)
class AccessRule:
    """The declaration of one RPC; one without a declaration is for services only."""

    public: bool
    roles: frozenset[CallerRole]

    @property
    def internal(self) -> bool:
        """Whether only services may call."""
        return CallerRole.SERVICE in self.roles

    def check(self, caller: Caller) -> None:
        """Raises PermissionDenied(ACCESS_DENIED) when this kind of caller may not call."""
        if not self.public and caller.role not in self.roles:
            allowed = ", ".join(sorted(self.roles))
            raise PermissionDenied(
                Reason.ACCESS_DENIED, f"This RPC is for {allowed}; the token's role is {caller.role}.", allowed=allowed
            )


def rule_of(method: MethodDescriptor) -> AccessRule:
    """The rule of an RPC. Raises ValueError for a declaration that makes no sense."""
    declared = list(method.GetOptions().Extensions[access_pb2.access])
    public = access_pb2.ACCESS_PUBLIC in declared
    if access_pb2.ACCESS_UNSPECIFIED in declared or (public and len(declared) > 1):
        raise ValueError(f"{method.full_name}: access is UNSPECIFIED, or PUBLIC beside another")
    if not declared:
        return AccessRule(public=False, roles=frozenset({CallerRole.SERVICE}))
    # ACCESS_HOST has no caller yet: host tokens come with HostService.
    return AccessRule(public=public, roles=frozenset(_ROLE_OF[access] for access in declared if access in _ROLE_OF))
