"""Takes the platform of the end-to-end tests."""

from tests.e2e.conftest import channel, envoy, platform

__all__ = ["channel", "envoy", "platform"]
