"""Free TCP ports, kept apart between supervisors of one machine."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from pathlib import Path

ATTEMPTS = 50
_LOOPBACK = "127.0.0.1"


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a listener could bind. Without SO_REUSEPORT, so that a server that shares its port counts as taken.

    So does one on `::1` where the host is 127.0.0.1: clients that are told `localhost` would find that one first.
    """
    if not _can_bind(port, host, socket.AF_INET):
        return False
    return host != _LOOPBACK or not socket.has_ipv6 or _can_bind(port, "::1", socket.AF_INET6)


def _can_bind(port: int, host: str, family: socket.AddressFamily) -> bool:
    try:
        probe = socket.socket(family, socket.SOCK_STREAM)
    except OSError:  # the kernel has no such addresses
        return True
    with probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            if error.errno == errno.EADDRNOTAVAIL and family == socket.AF_INET6:  # switched off
                return True
            raise
    return True


class Ports:
    """Ports claimed by one supervisor until `release`.

    A probe alone races with whoever probes at the same time, and Envoy shares its port silently. A claim is a locked
    file in the temporary directory; programs that know nothing of it are met by the probe and by the caller's retry.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or Path(tempfile.gettempdir()) / f"oofgg-ports-{os.getuid()}"
        self._claims: dict[int, int] = {}

    def claim(self, preferred: int | None = None, host: str = "127.0.0.1") -> int:
        """A free port, `preferred` if that is free. Raises OSError when none can be found."""
        if preferred is not None and self._try(preferred, host):
            return preferred
        for _ in range(ATTEMPTS):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind((host, 0))
                port = int(probe.getsockname()[1])
            if self._try(port, host):
                return port
        raise OSError(errno.EADDRINUSE, "no free TCP port on " + host)

    def drop(self, port: int) -> None:
        """Gives one port back."""
        descriptor = self._claims.pop(port, None)
        if descriptor is not None:
            os.close(descriptor)

    def release(self) -> None:
        """Gives all ports back."""
        for port in list(self._claims):
            self.drop(port)

    def _try(self, port: int, host: str) -> bool:
        if port in self._claims:
            return False
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._directory / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not is_free(port, host):
            os.close(descriptor)
            return False
        self._claims[port] = descriptor
        return True
