"""docker-compose.yaml as an engine would see it: merged, with variables filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yaml"
BACKENDS = ("postgres", "valkey", "kafka")
SERVICES = ("auth", "catalog", "game", "scoring", "matchmaking")
# All that is started by `python -m services serve`.
PROCESSES = (*SERVICES, "edge")
JOBS = ("envoy-config", "migrate")

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?:(?P<kind>:[-?])(?P<text>[^}]*))?\})")


class MissingVariable(Exception):
    """A variable without which compose refuses to start; the text is what compose prints."""


@dataclass(frozen=True)
class Compose:
    """The file with variables filled in from an environment."""

    document: dict[str, Any]

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        services: dict[str, dict[str, Any]] = self.document["services"]
        return services


def load(variables: Mapping[str, str]) -> Compose:
    """Reads the file. Raises MissingVariable."""
    return Compose(_fill(yaml.safe_load(FILE.read_text(encoding="utf-8")), variables))


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a `.env` file, as `make secrets` writes it."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def _fill(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _fill(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, variables) for value in node]
    if isinstance(node, str):
        return _VARIABLE.sub(lambda match: _value(match, variables), node)
    return node


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match["escaped"]:
        return "$"
    value = variables.get(match["name"], "")
    if value or match["kind"] is None:
        return value
    if match["kind"] == ":?":
        raise MissingVariable(f"{match['name']}: {match['text']}")
    return match["text"]
