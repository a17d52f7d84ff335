"""What the embedded platform can refuse."""

from __future__ import annotations


class EmbeddedError(Exception):
    """The platform cannot start or go on. The message is written for the person at the terminal."""


class BackendUnavailable(EmbeddedError):
    """No usable program for a backend; the message names the variables that help."""


class AlreadyRunning(EmbeddedError):
    """Another supervisor holds the data directory."""


class DiskFull(EmbeddedError):
    """The file system that holds the data has no room left; the message names it."""


class StartFailed(EmbeddedError):
    """A program did not become ready, or crashed too often; the message ends with the tail of its log."""
