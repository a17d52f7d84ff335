"""Windows, against a walk along the clock minute by minute, where summer time begins and ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from pkg.errors import InvalidArgument
from services.scoring.leaderboards.windows import EPOCH, Schedule, WindowKind, begins, checked_schedule

MINUTE = timedelta(minutes=1)
# Zones with something peculiar, and a day on which their clocks change.
CHANGES = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("America/Sao_Paulo", "2018-11-04"),  # midnight is skipped
    ("America/Sao_Paulo", "2018-02-18"),  # an hour before midnight comes twice
    ("America/Havana", "2026-11-01"),  # midnight comes twice
    ("Asia/Beirut", "2026-03-29"),  # midnight is skipped
    ("Australia/Lord_Howe", "2026-04-05"),  # half an hour
    ("Pacific/Apia", "2011-12-30"),  # a day that never was
    ("Africa/Casablanca", "2026-02-15"),
    ("America/Toronto", "1919-03-31"),  # a jump from 23:30 over midnight
    ("Asia/Kathmandu", "1986-01-01"),
    ("UTC", "2026-02-28"),
]
EXPRESSIONS = {
    Schedule(WindowKind.DAILY): "0 0 * * *",
    Schedule(WindowKind.WEEKLY): "0 0 * * 1",
    Schedule(WindowKind.MONTHLY): "0 0 1 * *",
    Schedule(WindowKind.CRON, cron="0 * * * *"): "0 * * * *",
    Schedule(WindowKind.CRON, cron="30 2 * * *"): "30 2 * * *",
    Schedule(WindowKind.CRON, cron="15 1,13 * * *"): "15 1,13 * * *",
    Schedule(WindowKind.CRON, cron="0 0 * * 0"): "0 0 * * 0",
}


def walked(expression: str, zone: ZoneInfo, first: datetime, last: datetime) -> list[datetime]:
    """The beginnings of windows, found by looking at the clock every minute: each time that the expression names begins
    when the clock first shows it or a later one."""
    fires = CronSim(expression, first.astimezone(zone).replace(tzinfo=None) - timedelta(days=40))
    shown = next(fires)
    latest = datetime.min  # the latest time that the clock has shown
    beginnings: list[datetime] = []
    moment = first - timedelta(days=3)
    while moment <= last:
        latest = max(latest, moment.astimezone(zone).replace(tzinfo=None))
        while shown <= latest:
            if not beginnings or beginnings[-1] != moment:
                beginnings.append(moment)
            shown = next(fires)
        moment += MINUTE
    return beginnings


@pytest.mark.parametrize(("zone_name", "day"), CHANGES)
def test_windows_are_those_of_the_clock_on_the_wall(zone_name: str, day: str) -> None:
    zone = ZoneInfo(zone_name)
    noon = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    first, last = noon - timedelta(days=1, hours=12), noon + timedelta(days=1, hours=12)
    for schedule, expression in EXPRESSIONS.items():
        here = Schedule(schedule.kind, zone_name, schedule.cron)
        beginnings = walked(expression, zone, first, last + timedelta(days=1))
        moment = first
        while moment < last:
            before = [beginning for beginning in beginnings if beginning <= moment]
            after = [beginning for beginning in beginnings if beginning > moment]
            window = here.window_at(moment)
            if before and before[-1] > beginnings[0]:
                assert window.start == before[-1], (expression, moment)
            if after:
                assert window.end == after[0], (expression, moment)
            moment += timedelta(minutes=37)


zones = st.sampled_from(sorted({name for name, _ in CHANGES}))
schedules = st.one_of(
    st.builds(Schedule, st.sampled_from([WindowKind.DAILY, WindowKind.WEEKLY, WindowKind.MONTHLY]), zones),
    st.builds(
        Schedule,
        st.just(WindowKind.CRON),
        zones,
        st.one_of(
            st.builds("{} {} * * *".format, st.integers(0, 59), st.integers(0, 23)),
            st.builds("{} {} * * {}".format, st.integers(0, 59), st.integers(0, 23), st.integers(0, 6)),
            st.builds("{} {} {} * *".format, st.integers(0, 59), st.integers(0, 23), st.integers(1, 31)),
            st.builds("{} */{} * * *".format, st.integers(0, 59), st.integers(1, 12)),
        ),
    ),
)
moments = st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC))


@given(schedules, moments)
def test_windows_neither_overlap_nor_leave_a_gap(schedule: Schedule, moment: datetime) -> None:
    window = schedule.window_at(moment)
    assert window.end is not None
    assert window.start <= moment < window.end
    assert window.holds(moment)
    last_moment = window.end - timedelta(microseconds=1)
    assert schedule.window_at(window.start) == window
    assert schedule.window_at(last_moment) == window
    assert schedule.window_at(window.end).start == window.end
    assert window.over(window.end)
    assert not window.over(last_moment)


@given(zones, st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)).map(lambda shown: shown.replace(microsecond=0)))
def test_a_time_begins_once(zone_name: str, shown: datetime) -> None:
    zone = ZoneInfo(zone_name)
    start = begins(shown, zone)
    assert start.astimezone(zone).replace(tzinfo=None) >= shown
    assert (start - timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None) < shown
    assert begins(shown + timedelta(hours=1), zone) >= start


def test_all_time_has_one_window() -> None:
    window = Schedule(WindowKind.ALL_TIME).window_at(datetime(2026, 5, 5, tzinfo=UTC))
    assert (window.start, window.end) == (EPOCH, None)
    assert not window.over(datetime(9999, 1, 1, tzinfo=UTC))


def test_a_day_of_summer_time_is_an_hour_shorter() -> None:
    window = Schedule(WindowKind.DAILY, "Europe/Berlin").window_at(datetime(2026, 3, 29, 12, tzinfo=UTC))
    assert window.end is not None
    assert (window.start, window.end - window.start) == (datetime(2026, 3, 28, 23, tzinfo=UTC), timedelta(hours=23))
    window = Schedule(WindowKind.DAILY, "Europe/Berlin").window_at(datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert window.end is not None
    assert window.end - window.start == timedelta(hours=25)


@pytest.mark.parametrize(
    ("kind", "zone", "cron", "field"),
    [
        pytest.param(WindowKind.DAILY, "Mars/Olympus", "", "w.time_zone", id="no such zone"),
        pytest.param(WindowKind.DAILY, "../../etc/passwd", "", "w.time_zone", id="a path"),
        pytest.param(WindowKind.DAILY, "Europe", "", "w.time_zone", id="a folder"),
        pytest.param(WindowKind.DAILY, "UTC\x00", "", "w.time_zone", id="a NUL"),
        pytest.param(WindowKind.DAILY, "UTC", "0 0 * * *", "w.cron", id="cron for days"),
        pytest.param(WindowKind.CRON, "UTC", "", "w.cron", id="no expression"),
        pytest.param(WindowKind.CRON, "UTC", "0 0 0 * * *", "w.cron", id="six fields"),
        pytest.param(WindowKind.CRON, "UTC", "61 * * * *", "w.cron", id="minute 61"),
        pytest.param(WindowKind.CRON, "UTC", "*/5 * * * *", "w.cron", id="every five minutes"),
        pytest.param(WindowKind.CRON, "UTC", "0,30 0 * * *", "w.cron", id="half an hour"),
        pytest.param(WindowKind.CRON, "UTC", "0 0 30 2 *", "w.cron", id="30 February"),
        pytest.param(WindowKind.CRON, "UTC", "a b c d e", "w.cron", id="no cron"),
        pytest.param(WindowKind.CRON, "UTC", "²  0 * * *", "w.cron", id="a strange digit"),
    ],
)
def test_nonsense_is_refused(kind: WindowKind, zone: str, cron: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checked_schedule(kind, zone, cron, "w")
    assert [violation.field for violation in caught.value.violations] == [field]


@given(st.text(max_size=100), st.text(max_size=64))
def test_any_text_is_a_schedule_or_refused(cron: str, zone: str) -> None:
    for kind in WindowKind:
        try:
            schedule = checked_schedule(kind, zone, cron, "w")
        except InvalidArgument:
            continue
        schedule.window_at(datetime(2026, 1, 1, tzinfo=UTC))


def test_an_expression_is_kept_without_its_extra_spaces() -> None:
    schedule = checked_schedule(WindowKind.CRON, "", "  0   18 * *  5 ", "w")
    assert schedule == Schedule(WindowKind.CRON, "UTC", "0 18 * * 5")


@pytest.mark.parametrize(
    "zone",
    ["localtime", "posixrules", "right/UTC", "posix/UTC", "Factory", "../UTC", "utc/..", "Europe/Nowhere", " UTC"],
)
def test_names_that_a_system_knows_and_the_database_of_time_zones_does_not_are_refused(zone: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checked_schedule(WindowKind.DAILY, zone, "", "leaderboard.window")
    assert [violation.field for violation in caught.value.violations] == ["leaderboard.window.time_zone"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "GMT"])
def test_names_of_the_database_of_time_zones_are_taken(zone: str) -> None:
    assert checked_schedule(WindowKind.DAILY, zone, "", "window").time_zone == zone
