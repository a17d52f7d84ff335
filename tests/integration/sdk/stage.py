"""A game with a developer and two players."""

from __future__ import annotations

from dataclasses import dataclass

import oofgg
from tests.integration.conftest import RunningServices

PASSWORD = "correct horse"


@dataclass
class Stage:
    """Everybody, logged in."""

    services: RunningServices
    studio: oofgg.Client
    game: oofgg.Game
    ada: oofgg.Client
    bob: oofgg.Client

    @property
    def target(self) -> str:
        return self.services.settings.grpc_address


async def register(client: oofgg.Client, name: str) -> oofgg.Login:
    return await client.register(name, f"{name}@example.org", PASSWORD)
