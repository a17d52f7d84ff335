"""The rules: what has happened, in the one order that all participants see, and what follows from it.

`Round.apply` is a pure function of its facts. Nobody is the host: whoever applies the same facts in the same order has
the same scores. What only some have seen, such as where a ship was at a moment, decides nothing here:

- A shot is where and when it was fired; where it is later, everybody computes.
- Its target says that it was hit, and is believed, if the shot was fired, still flies and has hit nobody else.
- A gem belongs to the first in the order who says to have taken it.
- The round is over with the first word `Over` that the platform heard after the last second. What comes later in the
  order does not count, also where it happened earlier.

Times are seconds of the platform's clock, which dates what it puts in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .field import GEMS, HEADINGS, gem, is_free, reach, spawn

HIT_POINTS: Final = 3
GEM_POINTS: Final = 1
BOLT_SPEED: Final = 64.0
SHIP_SPEED: Final = 22.0
RELOAD: Final = 0.35
DOWN: Final = 1.5
"""Seconds a ship is out after a hit."""
SHIELD: Final = 1.0
"""Seconds after that in which it cannot be hit again."""
_JITTER: Final = 0.1
"""How much sooner than `RELOAD` two shots may be heard, for what lies between gun and platform varies."""
_PATIENCE: Final = 1.0
"""How long after a shot's flight its target is still believed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a round is agreed to be, before it starts."""

    salt: str
    """What chance is made of: places differ from round to round."""
    seconds: float = 60.0
    countdown: float = 3.0


@dataclass(frozen=True, slots=True)
class Fact:
    """Something in the order: by whom, and when the platform heard it."""

    seat: int
    at: float


@dataclass(frozen=True, slots=True)
class Started(Fact):
    """Enough players are here; the countdown runs. Said by the platform."""


@dataclass(frozen=True, slots=True)
class Joined(Fact):
    """Somebody has a seat."""

    name: str


@dataclass(frozen=True, slots=True)
class Left(Fact):
    """Somebody gave the seat up."""


@dataclass(frozen=True, slots=True)
class Fired(Fact):
    """A shot, numbered by its seat."""

    number: int
    x: float
    y: float
    heading: int


@dataclass(frozen=True, slots=True)
class Hit(Fact):
    """`seat` says to be hit by a shot of the seat `by`."""

    by: int
    number: int


@dataclass(frozen=True, slots=True)
class Took(Fact):
    """`seat` says to have taken the nth gem of a slot."""

    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class Over(Fact):
    """`seat` says that time is up."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A bolt in flight."""

    seat: int
    number: int
    at: float
    x: float
    y: float
    heading: int
    life: float

    def place(self, now: float) -> tuple[float, float]:
        """Where it is."""
        dx, dy = HEADINGS[self.heading]
        far = BOLT_SPEED * min(max(now - self.at, 0.0), self.life)
        return self.x + dx * far, self.y + dy * far


@dataclass(slots=True)
class Player:
    """What one seat has come to."""

    name: str
    score: int = 0
    hits: int = 0
    gems: int = 0
    deaths: int = 0
    present: bool = True
    down_until: float = 0.0
    shielded_until: float = 0.0
    fired: int = 0
    fired_at: float = 0.0


@dataclass(slots=True)
class Round:
    """The state of a round."""

    plan: Plan
    players: dict[int, Player] = field(default_factory=dict)
    shots: dict[tuple[int, int], Shot] = field(default_factory=dict)
    gems: list[int] = field(default_factory=lambda: [0] * GEMS)
    """Generation of the gem in each slot."""
    start: float | None = None
    """When the countdown is over; None before it runs."""
    closed: bool = False
    _now: float = 0.0

    @property
    def end(self) -> float | None:
        """When the round is over."""
        return None if self.start is None else self.start + self.plan.seconds

    def is_on(self, now: float) -> bool:
        """Whether something can count at this moment."""
        return not self.closed and self.start is not None and self.start <= now < self.start + self.plan.seconds

    def spawn(self, seat: int) -> tuple[float, float]:
        """Where a seat's ship begins its present life."""
        player = self.players.get(seat)
        return spawn(self.plan.salt, seat, player.deaths if player else 0)

    def gem(self, slot: int) -> tuple[float, float]:
        """Where the gem of a slot lies."""
        return gem(self.plan.salt, slot, self.gems[slot])

    def apply(self, fact: Fact) -> bool:
        """Takes the next fact of the order. Whether it counted."""
        # Another node of the platform may date a little earlier than the one that went before.
        now = self._now = max(self._now, fact.at)
        match fact:
            case Started() if self.start is None:
                self.start = now + self.plan.countdown
                return True
            case Joined(seat=seat, name=name):
                player = self.players.setdefault(seat, Player(name))
                if player.name != name:  # somebody else has the seat now
                    self.players[seat] = Player(name)
                self.players[seat].present = True
                return True
            case Left(seat=seat) if seat in self.players:
                self.players[seat].present = False
                return True
            case Over() if self.end is not None and now >= self.end and not self.closed:
                self.closed = True
                self.shots.clear()
                return True
        acting = self.players.get(fact.seat)
        if acting is None or not self.is_on(now):
            return False
        self._forget(now)
        match fact:
            case Fired():
                return self._fire(fact, acting, now)
            case Hit():
                return self._hit(fact, acting, now)
            case Took():
                return self._take(fact, acting, now)
        return False

    def places(self, seats: set[int] | None = None) -> dict[int, int]:
        """Place by seat, from 1, of those given or present; equal scores share one."""
        if seats is None:
            seats = {seat for seat, player in self.players.items() if player.present}
        scores = self.scores(seats)
        return {seat: 1 + sum(other > scores[seat] for other in scores.values()) for seat in scores}

    def scores(self, seats: set[int]) -> dict[int, int]:
        """Score by seat, of those given."""
        return {seat: self.players[seat].score if seat in self.players else 0 for seat in sorted(seats)}

    def _fire(self, fact: Fired, gunner: Player, now: float) -> bool:
        if fact.number <= gunner.fired or now < gunner.down_until or now < gunner.fired_at + RELOAD - _JITTER:
            return False
        if not (0 <= fact.heading < len(HEADINGS) and is_free(fact.x, fact.y, 0.3)):
            return False
        gunner.fired, gunner.fired_at = fact.number, now
        life = reach(fact.x, fact.y, fact.heading) / BOLT_SPEED
        self.shots[fact.seat, fact.number] = Shot(fact.seat, fact.number, now, fact.x, fact.y, fact.heading, life)
        return True

    def _hit(self, fact: Hit, target: Player, now: float) -> bool:
        gunner = self.players.get(fact.by)
        if gunner is None or fact.by == fact.seat or now < target.shielded_until:
            return False
        if self.shots.pop((fact.by, fact.number), None) is None:
            return False
        gunner.score += HIT_POINTS
        gunner.hits += 1
        target.deaths += 1
        target.down_until = now + DOWN
        target.shielded_until = target.down_until + SHIELD
        return True

    def _take(self, fact: Took, taker: Player, now: float) -> bool:
        if not 0 <= fact.slot < len(self.gems) or fact.generation != self.gems[fact.slot] or now < taker.down_until:
            return False
        self.gems[fact.slot] += 1
        taker.score += GEM_POINTS
        taker.gems += 1
        return True

    def _forget(self, now: float) -> None:
        for name in [name for name, shot in self.shots.items() if shot.at + shot.life + _PATIENCE < now]:
            del self.shots[name]
