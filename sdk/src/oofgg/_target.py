"""The address of a platform: checked when the client is made, and what to say when nothing answers there."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass

# Names that gRPC resolves by itself, for special needs: taken as they are.
_GRPC_SCHEMES = ("dns:", "unix:", "unix-abstract:", "ipv4:", "ipv6:", "vsock:")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\[\]]+\]|[^\[\]:/?#@]+):(?P<port>\d{1,5})")
# Where gRPC looks for a proxy, in this order.
_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_BYPASS_VARIABLES = ("no_grpc_proxy", "no_proxy", "NO_PROXY")
_EXAMPLE = "write host:port, such as 'localhost:8080'"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a platform is: what gRPC is given, and the host in it."""

    address: str
    host: str

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        if self.host.lower() == "localhost" or self.address.startswith("unix"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def proxy_variable(self) -> str:
        """The environment variable whose proxy the connection goes through; empty for none.

        Never one for this machine, nor for hosts that `no_proxy` or `NO_PROXY` names.
        """
        if self.is_loopback or any(_names(os.environ.get(name, ""), self.host) for name in _BYPASS_VARIABLES):
            return ""
        return next((name for name in _PROXY_VARIABLES if os.environ.get(name)), "")

    def advice(self) -> str:
        """What to tell somebody whose calls reach nothing there."""
        if self.is_loopback:
            return (
                f"Nothing answers at {self.address}. Is the platform running? `make up` starts one on this machine and "
                "prints its address."
            )
        advice = f"Nothing answers at {self.address}. Is this the address of the platform, and is it running?"
        if variable := self.proxy_variable:
            advice += (
                f" The connection goes through the proxy that the environment variable {variable} names; add "
                f"{self.host} to no_proxy to connect directly."
            )
        return advice


def parse_target(target: str) -> Target:
    """The target of a client. Raises ValueError that says what to write instead, TypeError for what is no text."""
    if not isinstance(target, str):
        raise TypeError(f"the target is a text: {_EXAMPLE}; not {target!r}")
    if not target or any(character.isspace() or not character.isprintable() for character in target):
        what = "is empty" if not target else "contains a space or a control character"
        raise ValueError(f"the target {target!r} {what}: {_EXAMPLE}")
    if target.startswith(_GRPC_SCHEMES):
        found = _HOST_AND_PORT.fullmatch(target.partition(":")[2].rpartition("/")[2])
        return Target(target, found["host"].strip("[]") if found else "")
    scheme, separator, rest = target.partition("://")
    if separator:
        rest = rest.rstrip("/")
        tls = "; credentials=grpc.ssl_channel_credentials() encrypts the connection" if scheme == "https" else ""
        better = f"write {rest!r}" if _HOST_AND_PORT.fullmatch(rest) else _EXAMPLE
        raise ValueError(f"the target {target!r} has the scheme {scheme!r}: {better}, without a scheme{tls}")
    found = _HOST_AND_PORT.fullmatch(target)
    if found is None:
        raise ValueError(f"the target {target!r} {_fault(target)}")
    if not 1 <= int(found["port"]) <= 65535:
        raise ValueError(f"the target {target!r} has the port {found['port']}: ports are from 1 to 65535")
    return Target(target, found["host"].strip("[]"))


def _fault(target: str) -> str:
    try:
        ipaddress.IPv6Address(target.strip("[]"))
    except ValueError:
        pass
    else:
        return f"has no port: write '[{target.strip('[]')}]:8080'"
    host = target.rstrip(":")
    if re.fullmatch(r"[^\[\]:/?#@]+", host):
        return f"has no port: write '{host}:8080', if 8080 is the port of the platform"
    return f"is not an address: {_EXAMPLE}, and nothing else"


def _names(bypass: str, host: str) -> bool:
    """Whether a value of `no_proxy` names this host: by name, by suffix, by network, or with `*`."""
    return bool(host) and any(_matches(entry.strip().lower(), host.lower()) for entry in bypass.split(","))


def _matches(entry: str, host: str) -> bool:
    if not entry:
        return False
    domain = entry.lstrip("*").lstrip(".")
    if not domain or host == domain or host.endswith(f".{domain}"):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
