"""Playing a round on a session: positions out and in, shots and hits through the one order, the result at the end."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import oofgg
from oofgg import errors

from . import wire
from .bots import Intent, Pilot, View
from .field import HEADINGS, SHIP_RADIUS
from .motion import DELAY, Pose, Track
from .rules import RELOAD, Fact, Hit, Joined, Left, Round, Shot, Took

TICK: Final = 1 / 30
POSE_SECONDS: Final = 1 / 20
SPARK_SECONDS: Final = 0.6
_STANDING_SECONDS: Final = 0.5
"""A ship that stands still says so this often."""
_DRIFT: Final = 1e-4
"""Seconds, per event, by which what events said of the platform's clock is taken less seriously."""
_BOLT_RADIUS: Final = 0.8
_GEM_RADIUS: Final = 1.4
_MOST_NEWS: Final = 32
_MOST_SPARKS: Final = 32
_STATEMENTS: Final = 5
_AGAIN_SECONDS: Final = 0.2
_AGREE_SECONDS: Final = 40.0
"""How long to wait for the others' word: the platform gives them 30 seconds."""


@dataclass(frozen=True, slots=True)
class Spark:
    """Something that glows for a moment."""

    at: float
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Ending:
    """How the round ended."""

    state: oofgg.ResultState
    result: Sequence[oofgg.SeatResult]
    names: dict[int, str]


class Game:
    """A round as one participant sees it: the rules' state, its own ship, and what it has heard of the others."""

    def __init__(self, session: oofgg.PlaySession) -> None:
        self.session = session
        self.round = Round(wire.plan(session.session_id, session.info.attributes))
        self.ship = Pose(*self.round.spawn(session.seat))
        self.news: deque[tuple[float, Fact]] = deque(maxlen=_MOST_NEWS)
        """What counted, and when."""
        self.sparks: deque[Spark] = deque(maxlen=_MOST_SPARKS)
        self.incomplete = False
        """Whether a part of the order is lost to this participant."""
        self._tracks: dict[int, Track] = {}
        self._ahead = -math.inf
        self._life = 0
        self._checked: dict[tuple[int, int], float] = {}
        self._said: deque[tuple[str, int, int]] = deque(maxlen=64)
        self._shots = 0
        self._fire_at = 0.0
        self._told = (0.0, self.ship)

    @property
    def now(self) -> float:
        """The platform's clock, in seconds: as measured, but never before what has already happened."""
        offset = self.session.clock_offset
        ahead = self._ahead if offset is None else max(offset, self._ahead)
        return time.time() + (ahead if ahead > -math.inf else 0.0)

    @property
    def is_down(self) -> bool:
        """Whether the own ship is out for a moment."""
        me = self.round.players.get(self.session.seat)
        return me is not None and self.now < me.down_until

    def others(self) -> dict[int, Pose]:
        """Where the others' ships are, a tenth of a second ago, without those that are out."""
        now, seen = self.now, {}
        for seat, player in self.round.players.items():
            if seat == self.session.seat or not player.present or now < player.down_until:
                continue
            track = self._tracks.get(seat)
            pose = track.at(now - DELAY) if track else None
            seen[seat] = pose or Pose(*self.round.spawn(seat))
        return seen

    def flying(self) -> list[Shot]:
        """Bolts that are on their way now."""
        now = self.now
        return [shot for shot in self.round.shots.values() if now - shot.at < shot.life]

    def take(self, event: oofgg.Event) -> None:
        """Takes what the session brings."""
        if event.event_time is not None:
            ahead = event.event_time.timestamp() - time.time()
            self._ahead = max(ahead, self._ahead - _DRIFT)
        if isinstance(event, oofgg.LogReset):
            self.incomplete = True
        elif isinstance(event, oofgg.Message) and not event.seq:
            self._glimpse(event)
        else:
            fact = wire.fact(event)
            if fact is not None and self.round.apply(fact) and isinstance(fact, Joined | Left | Hit | Took):
                self.news.append((fact.at, fact))

    def view(self) -> View:
        """What the pilot goes by."""
        now, players, seat = self.now, self.round.players, self.session.seat
        open_to_fire = [pose for other, pose in self.others().items() if now >= players[other].shielded_until]
        gems = [self.round.gem(slot) for slot in range(len(self.round.gems))]
        return View(now, self.ship, open_to_fire, gems, [shot for shot in self.flying() if shot.seat != seat])

    async def tick(self, seconds: float, intent: Intent) -> None:
        """Moves the own ship on, and says what there is to say."""
        now, me = self.now, self.round.players.get(self.session.seat)
        if me is None:
            return
        if self._life != me.deaths:
            self._life = me.deaths
            self.ship = Pose(*self.round.spawn(self.session.seat), self.ship.heading)
        if self.round.is_on(now) and not self.is_down:
            heading = self.ship.heading if intent.heading is None else intent.heading
            self.ship = Pose(self.ship.x, self.ship.y, heading, intent.heading is not None).after(seconds)
            # What would wait for a connection is not begun without one.
            if self.session.connected:
                if intent.fire and now >= self._fire_at:
                    await self._fire(now)
                await self._look(now, now >= me.shielded_until)
        else:
            self.ship = Pose(self.ship.x, self.ship.y, self.ship.heading)
        await self._tell(now)
        if self.round.end is not None and now >= self.round.end and not self.round.closed:
            await self._say_once("over", 0, 0, *wire.over())

    async def _fire(self, now: float) -> None:
        self._fire_at = now + RELOAD
        self._shots = max(self._shots, self.round.players[self.session.seat].fired) + 1
        dx, dy = HEADINGS[self.ship.heading]
        muzzle = Pose(self.ship.x + dx * SHIP_RADIUS, self.ship.y + dy * SHIP_RADIUS, self.ship.heading)
        kind, told = wire.fire(self._shots, muzzle)
        await self.session.send(told, kind=kind)

    async def _look(self, now: float, can_be_hit: bool) -> None:
        """Whether a bolt hits the own ship, or the ship touches a gem."""
        seen: dict[tuple[int, int], float] = {}
        for name, shot in list(self.round.shots.items()):
            until = min(now - shot.at, shot.life)
            since = self._checked.get(name, 0.0)
            seen[name] = until
            if shot.seat == self.session.seat or until <= since or not can_be_hit:
                continue
            path = (shot.place(shot.at + since), shot.place(shot.at + until))
            if _passes(path, (self.ship.x, self.ship.y)) < SHIP_RADIUS + _BOLT_RADIUS and await self._say_once(
                "hit", *name, *wire.hit(*name)
            ):
                await self._sparkle(now, self.ship.x, self.ship.y)
        self._checked = seen
        for slot, generation in enumerate(list(self.round.gems)):
            x, y = self.round.gem(slot)
            if math.dist((x, y), (self.ship.x, self.ship.y)) < SHIP_RADIUS + _GEM_RADIUS:
                await self._say_once("take", slot, generation, *wire.take(slot, generation))

    async def _say_once(self, about: str, one: int, two: int, kind: str, told: list[float]) -> bool:
        if (about, one, two) in self._said:
            return False
        self._said.append((about, one, two))
        await self.session.send(told, kind=kind)
        return True

    async def _sparkle(self, now: float, x: float, y: float) -> None:
        self.sparks.append(Spark(now, x, y))
        await self.session.send([round(x, 1), round(y, 1)], kind=wire.SPARK, delivery=oofgg.Delivery.VOLATILE)

    async def _tell(self, now: float) -> None:
        at, pose = self._told
        if now - at >= (POSE_SECONDS if pose != self.ship else _STANDING_SECONDS) - TICK / 2:
            self._told = (now, self.ship)
            await self.session.send(wire.pose(self.ship), kind=wire.POSE, delivery=oofgg.Delivery.LATEST, key=wire.POSE)

    def _glimpse(self, event: oofgg.Message) -> None:
        at = event.event_time.timestamp() if event.event_time else self.now
        if event.kind == wire.POSE and (pose := wire.heard_pose(event)):
            self._tracks.setdefault(event.seat, Track()).hear(at, pose)
        elif event.kind == wire.SPARK and (place := wire.heard_spark(event)):
            self.sparks.append(Spark(self.now, *place))


async def play(game: Game, pilot: Pilot) -> Ending:
    """Plays a round to its end and states its result. Raises the OofggError that ended the session, if one did."""
    session = game.session

    async def act() -> None:
        before = time.monotonic()
        while not game.round.closed:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            try:
                await game.tick(min(now - before, 4 * TICK), pilot.decide(game.view()))
            except errors.FailedPrecondition:
                return  # the session is over, as whoever iterates it will see
            before = now

    try:
        async with asyncio.timeout(None) as patience, asyncio.TaskGroup() as tasks:
            tasks.create_task(act())
            async for event in session:
                was_closed = game.round.closed
                game.take(event)
                if game.round.closed and not was_closed:
                    patience.reschedule(asyncio.get_running_loop().time() + _AGREE_SECONDS)
                    if not game.incomplete:  # who has missed something leaves it to the others
                        tasks.create_task(_state_result(game))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    except TimeoutError:
        pass  # still PENDING, then
    return Ending(session.info.result_state, session.info.result, {s: p.name for s, p in game.round.players.items()})


async def _state_result(game: Game) -> None:
    session = game.session
    for _ in range(_STATEMENTS):
        # With the first statement it is settled whose result it is.
        seats = {stated.seat for stated in session.info.result} or set(session.seats)
        try:
            await session.finish(game.round.places(seats), scores=game.round.scores(seats))
            return
        except errors.InvalidArgument:  # somebody came or went at this moment
            await asyncio.sleep(_AGAIN_SECONDS)
        except errors.FailedPrecondition:  # it is decided
            return


def _passes(path: tuple[tuple[float, float], tuple[float, float]], place: tuple[float, float]) -> float:
    """How near a straight path comes to a place."""
    (x, y), (end_x, end_y) = path
    dx, dy = end_x - x, end_y - y
    length = dx * dx + dy * dy
    part = 0.0 if not length else min(max(((place[0] - x) * dx + (place[1] - y) * dy) / length, 0.0), 1.0)
    return math.dist((x + dx * part, y + dy * part), place)
