"""Settings of live sessions."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.game.budget import BudgetLimits
from services.game.delivery import DeliveryLimits
from services.game.sessions import SessionTimes


class GameSettings(BaseSettings):
    """Bounds and times of live sessions, from environment variables with the prefix `OOFGG_GAME_`."""

    model_config = SettingsConfigDict(env_prefix="OOFGG_GAME_", frozen=True, extra="ignore")

    grace_seconds: float = Field(default=60.0, gt=0, description="How long a seat is kept after its stream dropped.")
    ballot_seconds: float = Field(
        default=30.0, gt=0, description="How long players can speak once one has stated a result."
    )
    abandoned_seconds: float = Field(
        default=300.0, gt=0, description="A session without any stream for this long is deleted."
    )
    ended_seconds: float = Field(default=600.0, gt=0, description="How long a session that is over can still be read.")
    heartbeat_seconds: float = Field(default=10.0, gt=0, description="Silence after which a stream sends a heartbeat.")
    commands_per_second: float = Field(
        default=2_000.0, gt=0, description="Commands a stream may send; twice as many in a burst."
    )
    bytes_per_second: float = Field(
        default=1024 * 1024.0, gt=0, description="Bytes one stream may send; four times in a burst."
    )
    unacknowledged_bytes: int = Field(default=64 * 1024, gt=0, description="Bytes on the way to one receiver.")
    behind_events: int = Field(
        default=5_000, gt=0, description="A receiver this far behind is closed with SLOW_CONSUMER."
    )
    behind_bytes: int = Field(default=2 * 1024 * 1024, gt=0, description="The same in bytes.")
    unconfirmed_bytes: int = Field(
        default=1024 * 1024, gt=0, description="Events of one session on their way to Redis; beyond it, commands wait."
    )
    lease_seconds: float = Field(
        default=5.0, gt=0, description="A node that is silent for this long may lose its sessions."
    )

    def times(self) -> SessionTimes:
        """For the rules of a session."""
        return SessionTimes(self.grace_seconds, self.ballot_seconds, self.abandoned_seconds)

    def budget(self) -> BudgetLimits:
        """For each stream."""
        return BudgetLimits(
            self.commands_per_second, 2 * self.commands_per_second, self.bytes_per_second, 4 * self.bytes_per_second
        )

    def delivery(self) -> DeliveryLimits:
        """For each receiver."""
        return DeliveryLimits(self.unacknowledged_bytes, self.behind_events, self.behind_bytes)
