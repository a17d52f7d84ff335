"""Settings of live sessions."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.game.budget import BudgetLimits
from services.game.engine.delivery import DeliveryLimits
from services.game.engine.facts import SessionTimes
from services.game.streams import MOST_PAYLOAD, StreamLimits


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
    heartbeat_seconds: float = Field(default=5.0, gt=0, description="Silence after which a stream sends a heartbeat.")
    commands_per_second: float = Field(
        default=500.0, gt=0, description="Commands a participant may send; twice as many in a burst."
    )
    bytes_per_second: float = Field(
        default=256 * 1024.0, gt=0, description="Bytes a participant may send; twice as many in a burst."
    )
    payload_bytes: int = Field(
        default=MOST_PAYLOAD, gt=0, le=MOST_PAYLOAD, description="Bytes that the payload of a command may have."
    )
    session_commands_per_second: float = Field(
        default=20_000.0, gt=0, description="Commands all participants of a session may send together."
    )
    session_bytes_per_second: float = Field(
        default=1024 * 1024.0,
        gt=0,
        description="Bytes all participants of a session may send together. What each receiver has to keep up with.",
    )
    unacknowledged_bytes: int = Field(default=64 * 1024, gt=0, description="Bytes on the way to one receiver.")
    behind_events: int = Field(
        default=5_000, gt=0, description="A receiver this far behind is closed with SLOW_CONSUMER."
    )
    behind_bytes: int = Field(default=2 * 1024 * 1024, gt=0, description="The same in bytes.")
    unconfirmed_bytes: int = Field(
        default=1024 * 1024, gt=0, description="Events of one session on their way to Redis; beyond it, commands wait."
    )
    idle_seconds: float = Field(
        default=3600.0, gt=0, description="A session in which nobody sends a command for this long is deleted."
    )
    replay_days: float = Field(
        default=7.0, ge=0, description="Days for which the events of a finished session can be read; 0: not at all."
    )
    lifetime_seconds: float = Field(default=86_400.0, gt=0, description="A session is deleted after this long.")
    player_sessions: int = Field(default=16, gt=0, description="Sessions in which one player may have a seat.")
    player_streams: int = Field(default=32, gt=0, description="Streams one player may have open at one node.")
    player_unopened_streams: int = Field(
        default=8, gt=0, description="Of these, those that have not sent their first request."
    )
    unopened_streams: int = Field(
        default=1_000, gt=0, description="Streams of all players at one node that have not sent their first request."
    )

    def times(self) -> SessionTimes:
        """For the rules of a session."""
        return SessionTimes(
            grace=self.grace_seconds,
            ballot=self.ballot_seconds,
            abandoned=self.abandoned_seconds,
            idle=self.idle_seconds,
            lifetime=self.lifetime_seconds,
        )

    def budget(self) -> BudgetLimits:
        """For each participant."""
        return BudgetLimits(
            self.commands_per_second, 2 * self.commands_per_second, self.bytes_per_second, 2 * self.bytes_per_second
        )

    def session_budget(self) -> BudgetLimits:
        """For all participants of a session together: one second's worth in a burst, well below `behind_bytes`."""
        commands, size = self.session_commands_per_second, self.session_bytes_per_second
        return BudgetLimits(commands, commands, size, size)

    def streams(self) -> StreamLimits:
        """For the streams of a node."""
        return StreamLimits(
            self.player_streams, self.player_unopened_streams, self.unopened_streams, self.payload_bytes
        )

    def delivery(self) -> DeliveryLimits:
        """For each receiver."""
        return DeliveryLimits(self.unacknowledged_bytes, self.behind_events, self.behind_bytes)
