"""When a leaderboard begins anew: the windows of a schedule, over the local clock of a time zone.

Every schedule is a cron expression over plain local time. A window begins at the first instant at which the local clock
shows its time *or a later one*: a time that the clock jumps over begins with the jump, one that comes twice begins with
its first coming. These instants never decrease, so windows neither overlap nor leave a gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from pkg.errors import invalid_field

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LEAST_SEASON: Final = timedelta(hours=1)

# In the list and no zone: what a machine is set to before anybody has chosen one.
_NO_ZONES: Final = frozenset({"Factory"})
# Clocks were set back by up to a day.
_SET_BACK: Final = timedelta(hours=25)
# How many seasons of an expression are looked at, and up to which year, to see that none is too short.
_SAMPLE: Final = 200
_SAMPLE_UNTIL: Final = 2060
_SAMPLE_FROM: Final = datetime(2024, 1, 1)  # noqa: DTZ001 - plain local time


class WindowKind(StrEnum):
    """How often a leaderboard begins anew."""

    ALL_TIME = "all_time"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    CRON = "cron"


_EXPRESSIONS: Final = {
    WindowKind.DAILY: "0 0 * * *",
    WindowKind.WEEKLY: "0 0 * * 1",
    WindowKind.MONTHLY: "0 0 1 * *",
}


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` until before `end`; None for no end."""

    start: datetime
    end: datetime | None

    def holds(self, moment: datetime) -> bool:
        """Whether a moment lies in it."""
        return self.start <= moment and (self.end is None or moment < self.end)

    def over(self, now: datetime) -> bool:
        """Whether it has ended."""
        return self.end is not None and self.end <= now


@dataclass(frozen=True, slots=True)
class Schedule:
    """When windows begin. `cron` is set for CRON alone."""

    kind: WindowKind
    time_zone: str = "UTC"
    cron: str = ""

    def window_at(self, moment: datetime) -> Window:
        """The window in which a moment (aware) lies."""
        if self.kind is WindowKind.ALL_TIME:
            return Window(EPOCH, None)
        zone, expression = ZoneInfo(self.time_zone), _EXPRESSIONS.get(self.kind, self.cron)
        local = moment.astimezone(zone).replace(tzinfo=None)
        start, shown = EPOCH, local
        for shown in _times(expression, local + _SET_BACK, backwards=True):
            if (start := begins(shown, zone)) <= moment:
                break
        else:
            start = EPOCH
        for later in _times(expression, shown):
            if (end := begins(later, zone)) > moment:
                return Window(start, end)
        return Window(start, None)


def checked_schedule(kind: WindowKind, time_zone: str, cron: str, field: str) -> Schedule:
    """The schedule, with what was left out filled in. Raises InvalidArgument naming a part of `field`."""
    time_zone = time_zone or "UTC"
    if time_zone not in _time_zones():
        raise invalid_field(f"{field}.time_zone", "is not the name of a time zone, such as Europe/Berlin")
    if kind is not WindowKind.CRON:
        if cron:
            raise invalid_field(f"{field}.cron", "is for windows of kind CRON")
        return Schedule(kind, time_zone)
    return Schedule(kind, time_zone, _checked_cron(" ".join(cron.split()), f"{field}.cron"))


@cache
def _time_zones() -> frozenset[str]:
    """The names in the IANA database, as `tzdata` lists them.

    A system's folder of zones has more, such as `localtime` and `right/…`, which differ from machine to machine.
    """
    return frozenset(resources.files("tzdata").joinpath("zones").read_text().split()) - _NO_ZONES


def begins(shown: datetime, zone: ZoneInfo) -> datetime:
    """The first instant (UTC) at which the clock of `zone` shows this time or a later one. `shown` is naive."""
    first = shown.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == shown:
        return first
    # The clock jumps over it, somewhere between the two instants that the offsets before and after would give.
    early, late = shown.replace(tzinfo=zone, fold=1).astimezone(UTC), first
    early -= timedelta(seconds=1)
    while late - early > timedelta(seconds=1):
        middle = (early + (late - early) / 2).replace(microsecond=0)
        if middle in (early, late):
            break
        if middle.astimezone(zone).replace(tzinfo=None) >= shown:
            late = middle
        else:
            early = middle
    return late


def _times(expression: str, moment: datetime, *, backwards: bool = False) -> Iterator[datetime]:
    """What the clock shows when the expression fires, after or before a naive moment."""
    times: Iterator[datetime] = CronSim(expression, moment, reverse=backwards)
    while True:
        try:
            yield next(times)
        except (StopIteration, RuntimeError, OverflowError, ValueError):  # none within fifty years, or since year 1
            return


def _checked_cron(expression: str, field: str) -> str:
    if len(expression.split()) != 5:
        raise invalid_field(field, "must have five fields: minute, hour, day of the month, month, day of the week")
    last: datetime | None = None
    try:
        for count, shown in enumerate(_times(expression, _SAMPLE_FROM)):
            if last is not None and shown - last < LEAST_SEASON:
                raise invalid_field(field, "makes seasons of less than an hour")
            if count == _SAMPLE or shown.year > _SAMPLE_UNTIL:
                break
            last = shown
    except CronSimError as error:
        raise invalid_field(field, f"is no cron expression: {str(error)[:100]}") from error
    if last is None:
        raise invalid_field(field, "never comes true")
    return expression
