"""The simulator, and its command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.__main__ import main
from services.matchmaking.engine.queues import Queue, Role, Rule, RuleKind, Step
from services.matchmaking.engine.tickets import Player, Ticket
from services.matchmaking.population import PopulationError, made_up, read
from services.matchmaking.simulator import CYCLE_SECONDS, simulate

SKILL = Rule(RuleKind.SKILL, "skill", limit=2.0, steps=(Step(10, 8),))
QUEUE = """
name: duel
maxWaitSeconds: 60
rules:
  - skill: {limit: 2}
    expansions:
      - {afterSeconds: 10, limit: 8}
"""
TICKETS = """enter_seconds,user,rating
0,ada,25
1,bob,26
2,cyd,30
3,dan,35
50,eve,80
"""


def ticket(name: str, enter: float, *ratings: float) -> Ticket:
    return Ticket(name, tuple(Player(f"{name}{n}", rating=rating) for n, rating in enumerate(ratings)), enter)


def test_waits_are_those_of_a_leader() -> None:
    report = simulate(
        Queue("q", rules=(SKILL,), max_wait=60.0),
        [ticket("a", 0, 25), ticket("b", 1, 26), ticket("c", 2, 30), ticket("d", 3, 35), ticket("e", 50, 80)],
    )
    assert (report.tickets, report.matched, report.expired, report.matches) == (5, 4, 1, 2)
    assert report.waits is not None
    assert (report.waits.p50, report.waits.most) == (1.0, 11.0)
    assert report.rating_spread is not None
    assert report.rating_spread.most == 5.0
    assert report.kept_by["skill"] > 0.9
    assert {size: expired for size, (expired, _) in report.by_size.items()} == {1: 1}


def test_a_cycle_is_not_shorter_than_the_leaders() -> None:
    tickets = [ticket("a", 0.0, 25), ticket("b", 0.05, 25)]
    report = simulate(Queue("q"), tickets)
    assert report.waits is not None
    assert report.waits.most == CYCLE_SECONDS


def test_who_has_no_place_is_told_apart() -> None:
    report = simulate(Queue("q"), [ticket("pair", 0, 20, 21), ticket("a", 0, 25), ticket("b", 1, 25)])
    assert list(report.refused.values()) == [1]
    assert (report.tickets, report.players, report.matched) == (3, 4, 2)


def test_roles_and_regions_are_told() -> None:
    queue = Queue("q", rules=(Rule(RuleKind.REGION, "region", limit=90),), roles=(Role("a", 1),))
    players = [
        Player("x", latencies={"eu": 20, "us": 80}, roles=("b", "a")),
        Player("y", latencies={"eu": 70, "us": 90}, roles=("a",)),
    ]
    report = simulate(queue, [Ticket(player.user_id, (player,), 0.0) for player in players])
    assert report.first_choice == 0.5
    assert report.worst_latency is not None
    assert report.worst_latency.most == 70


def test_nobody_at_all() -> None:
    report = simulate(Queue("q"), [])
    assert (report.tickets, report.waits, report.by_rating) == (0, None, [])


def test_progress_goes_to_the_end() -> None:
    told: list[float] = []
    simulate(Queue("q"), [ticket(f"t{n}", n, 25) for n in range(10)], progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_a_population_is_read() -> None:
    tickets = read(
        [
            "enter_seconds,party,user,rating,roles,ms:eu,ms:us,text:mode,list:maps,number:level",
            "5,red,ada,30,tank|healer,20,,ranked,x|y,7",
            "3,,bob,,,,,,,",
            "6,red,cyd,20,,30,110,ranked,,",
        ]
    )
    assert tickets == [
        Ticket("row 2", (Player("bob", rating=25.0),), 3.0),
        Ticket(
            "party red",
            (
                Player(
                    "ada",
                    rating=30.0,
                    roles=("tank", "healer"),
                    latencies={"eu": 20.0},
                    texts={"mode": "ranked"},
                    lists={"maps": ("x", "y")},
                    numbers={"level": 7.0},
                ),
                Player("cyd", rating=20.0, latencies={"eu": 30.0, "us": 110.0}, texts={"mode": "ranked"}),
            ),
            6.0,
        ),
    ]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["user,rating", "ada,3"], "no column enter_seconds"),
        (["enter_seconds,colour", "0,red"], "what is the column 'colour'"),
        (["enter_seconds,text:", "0,red"], "what is the column 'text:'"),
        (["enter_seconds,rating", "0,good"], "row 1: rating is 'good'"),
        (["enter_seconds,rating", ",5"], "row 1: enter_seconds is ''"),
        (["enter_seconds,ms:eu", "0,far"], "row 1: ms:eu is 'far'"),
    ],
)
def test_what_is_no_population_is_told(lines: list[str], told: str) -> None:
    with pytest.raises(PopulationError) as refused:
        read(lines)
    assert told in str(refused.value)


def test_a_made_up_population_can_be_read() -> None:
    rows = [",".join(row) for row in made_up(players=500, seconds=60, largest_party=5, seed=1)]
    tickets = read(rows)
    assert sum(len(ticket.players) for ticket in tickets) == 500
    assert {len(ticket.players) for ticket in tickets} == {1, 2, 3, 4, 5}
    assert rows == [",".join(row) for row in made_up(players=500, seconds=60, largest_party=5, seed=1)]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    queue, tickets = tmp_path / "queue.yaml", tmp_path / "tickets.csv"
    queue.write_text(QUEUE)
    tickets.write_text(TICKETS)
    return str(queue), str(tickets)


def test_the_command_tells(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "simulate", *files]) == 0
    told = capsys.readouterr().out
    assert "5 of 5 players: 4 matched, 1 expired, 0 without a place" in told
    assert [line.split() for line in told.splitlines() if line.startswith("wait, s")] == [
        ["wait,", "s", "1.0", "11.0", "11.0", "11.0"]
    ]


def test_the_command_tells_programs(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "simulate", *files, "--seed", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["matched"], document["waits"]["p90"]) == (4, 11.0)


def test_the_command_makes_up_a_population(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tickets.csv"
    assert main(["queue", "population", "--players", "40", "--output", str(path)]) == 0
    assert main(["queue", "population", "--players", "40"]) == 0
    assert path.read_text() == capsys.readouterr().out
    assert len(path.read_text().splitlines()) == 41


@pytest.mark.parametrize(
    ("queue", "told"),
    [
        ("- a list", "is not a queue"),
        ("name: [", "neither YAML nor JSON"),
        ("name: duel\ncolour: red", "colour"),
        ("name: duel\nminTeams: 3\nmaxTeams: 2", "queue.max_teams"),
        ("name: duel\nrules: [{name: odd}]", "odd says nothing"),
    ],
    ids=["no fields", "no YAML", "no such field", "no sense", "no rule"],
)
def test_what_is_no_queue_is_told(
    files: tuple[str, str], queue: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files[0]).write_text(queue)
    assert main(["queue", "simulate", *files]) == 1
    assert told in capsys.readouterr().err


def test_a_file_that_is_not_there_is_told(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "simulate", files[0], f"{files[1]}.gz"]) == 1
    assert "tickets.csv.gz" in capsys.readouterr().err
