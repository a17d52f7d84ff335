"""Games: what they are, what may be changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pkg.errors import invalid_field
from pkg.events.topics import MATCH_HISTORY_PREFIX
from pkg.games import NO_QUOTAS, Quotas

DEFAULT_MAX_SEATS: Final = 16

# Paths of an update mask; `settings` stands for all of its fields.
_SETTINGS: Final = ("settings.max_seats", "settings.match_history_topic_disabled", "settings.single_login")
_PATHS: Final = ("name", "description", *_SETTINGS)


@dataclass(frozen=True, slots=True)
class Game:
    """A game. `max_seats` has its default applied."""

    game_id: str
    name: str
    description: str
    owner_user_id: str
    max_seats: int
    match_history_topic_disabled: bool
    create_time: datetime
    update_time: datetime
    single_login: bool = False
    quotas: Quotas = NO_QUOTAS
    """As an admin set them; 0 stands for the platform's default."""

    @property
    def match_history_topic(self) -> str:
        """Kafka topic of its finished matches; empty when turned off."""
        return "" if self.match_history_topic_disabled else MATCH_HISTORY_PREFIX + self.game_id


def clean_name(name: str, field: str) -> str:
    """The name without white space around it. Raises InvalidArgument when nothing is left."""
    stripped = name.strip()
    if not stripped:
        raise invalid_field(field, "must not be empty")
    return stripped


def apply_update(game: Game, new: Game, paths: Sequence[str], now: datetime) -> Game:
    """The game with the fields that the mask names taken from `new`.

    Raises InvalidArgument for an empty mask or a path that cannot be changed.
    """
    if not paths:
        raise invalid_field("update_mask", f"must name at least one of {', '.join(_PATHS)}")
    changed = game
    wanted = [part for path in paths for part in (_SETTINGS if path == "settings" else (path,))]
    for path in wanted:
        match path:
            case "name":
                changed = replace(changed, name=clean_name(new.name, "game.name"))
            case "description":
                changed = replace(changed, description=new.description)
            case "settings.max_seats":
                changed = replace(changed, max_seats=new.max_seats)
            case "settings.match_history_topic_disabled":
                changed = replace(changed, match_history_topic_disabled=new.match_history_topic_disabled)
            case "settings.single_login":
                changed = replace(changed, single_login=new.single_login)
            case _:
                raise invalid_field("update_mask", f"`{path}` is not one of {', '.join(_PATHS)}")
    return replace(changed, update_time=now)
