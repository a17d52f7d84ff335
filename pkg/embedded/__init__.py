"""The embedded platform: real backends, the services and Envoy from installed packages, under one supervisor."""

from pkg.embedded.envoy import EnvoyInputs
from pkg.embedded.errors import AlreadyRunning, BackendUnavailable, EmbeddedError, StartFailed
from pkg.embedded.platform import Endpoints, Options, Platform
from pkg.embedded.services import ServicesInputs
from pkg.embedded.state import read_state

__all__ = [
    "AlreadyRunning",
    "BackendUnavailable",
    "EmbeddedError",
    "Endpoints",
    "EnvoyInputs",
    "Options",
    "Platform",
    "ServicesInputs",
    "StartFailed",
    "read_state",
]
