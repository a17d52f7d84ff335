"""The real services, without Envoy, and everybody logged in: as for the SDK."""

from tests.integration.sdk.conftest import stage

__all__ = ["stage"]
