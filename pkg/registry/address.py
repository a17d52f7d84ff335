"""The address under which others reach this process."""

from __future__ import annotations

import ipaddress
import socket

_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  (recognised, never bound)


def advertised_address(bound: str, port: int, told: str) -> str:
    """host:port for others, the host an IP address.

    `bound` is host:port as configured, `port` the one that was bound. `told` is the operator's choice as host:port or a
    host alone; empty takes the bound address, or this host's name when that is all interfaces. A name may stand for
    several machines, such as one that all containers of a network answer to: what is this machine's own goes first,
    and loopback last. Raises OSError when a name has no address, ValueError when `told` makes no sense.
    """
    host, told_port = _split(told) if told else (_split(bound)[0], None)
    if told and not host:
        raise ValueError(f"not host:port: {told!r}")
    if host in _EVERYWHERE:
        host = socket.gethostname()
    try:
        chosen = _address_of(host)
    except OSError as error:
        raise OSError(f"no address for {host!r}, which others would need: set OOFGG_ADVERTISE_ADDRESS") from error
    shown = f"[{chosen}]" if ":" in chosen else chosen
    return f"{shown}:{told_port or port}"


def _split(text: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = text, ""
    if port and not (port.isdigit() and 0 < int(port) < 1 << 16) and port != "0":
        raise ValueError(f"not host:port: {text!r}")
    return host.strip("[]"), int(port) if port else None


def _address_of(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    found = list(dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)))
    return min(found, key=lambda address: (not _is_ours(address), ipaddress.ip_address(address).is_loopback))


def _is_ours(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
