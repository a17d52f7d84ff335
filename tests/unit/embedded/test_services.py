"""What the supervisor tells the services."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pkg.embedded.ports import Ports
from pkg.embedded.services import Services, ServicesInputs


def told(tmp_path: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    ports = Ports(tmp_path / "ports")
    services = Services(ServicesInputs(root=tmp_path), ports, {}, environment, {}, lambda name: tmp_path / name)
    try:
        return services.prepare(again=False).environment
    finally:
        ports.release()


@pytest.mark.parametrize(
    ("environment", "self_service"),
    [
        pytest.param({}, "true", id="development"),
        pytest.param({"OOFGG_DEVELOPER_SELF_SERVICE": "false"}, "false", id="refused by the operator"),
        pytest.param({"OOFGG_ENVIRONMENT": "production"}, None, id="production"),
    ],
)
def test_accounts_become_developers_by_themselves_in_development_only(
    tmp_path: Path, environment: Mapping[str, str], self_service: str | None
) -> None:
    assert told(tmp_path, environment).get("OOFGG_DEVELOPER_SELF_SERVICE") == self_service
