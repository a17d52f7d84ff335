"""Settings of matchmaking."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class MatchmakingSettings(BaseSettings):
    """Bounds and times of matchmaking, from environment variables with the prefix `OOFGG_MATCHMAKING_`."""

    model_config = SettingsConfigDict(env_prefix="OOFGG_MATCHMAKING_", frozen=True, extra="ignore")

    cycle_seconds: float = Field(
        default=0.2, gt=0, le=5, description="Shortest time between two looks at a queue in which much happens."
    )
    lease_seconds: float = Field(
        default=3.0, ge=1, le=30, description="Another node leads a queue whose leader is silent for this long."
    )
    player_streams: int = Field(default=8, gt=0, description="Tickets one player may watch at one node.")
    session_seconds: float = Field(
        default=3.0, gt=0, description="Longest wait for `game` to open sessions, before it is asked again."
    )
