"""Populations as CSV: read for the simulator, or made up.

One row a player. Columns, in any order; all but `enter_seconds` may be missing or empty:

| column | |
|---|---|
| `enter_seconds` | when the player enters the queue, from any beginning |
| `party` | players with the same value are one ticket, which enters with the last of them; empty: alone |
| `user` | a name; empty: the number of the row |
| `rating` | `mu`; empty: 25 |
| `roles` | roles the player takes, best first, with `|` between them; empty: any |
| `ms:NAME` | measured latency to the region NAME, in milliseconds; empty: not measured |
| `text:NAME` | the text attribute NAME |
| `list:NAME` | the list attribute NAME, with `|` between its values |
| `number:NAME` | the numeric attribute NAME |
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.matchmaking.engine.tickets import Player, Ticket

MEAN_RATING: Final = 25.0
RATING_DEVIATION: Final = 25.0 / 3
_PLAIN: Final = ("enter_seconds", "party", "user", "rating", "roles")
_KINDS: Final = ("ms", "text", "list", "number")
_MAPS: Final = ("bridge", "canyon", "harbour", "temple")
_ROLES: Final = (("damage", 5), ("damage|tank", 2), ("tank", 2), ("healer", 2), ("healer|damage", 2), ("", 2))
_REGIONS: Final = {"eu": (25.0, 110.0, 240.0), "us": (110.0, 30.0, 180.0), "ap": (240.0, 180.0, 35.0)}
_SHARES: Final = (5, 4, 1)
_PARTY_SHARE: Final = 0.5  # of those in a party, that another joins


class PopulationError(ValueError):
    """A file is not a population; says where and what to do."""


@dataclass(frozen=True, slots=True)
class _Row:
    enter: float
    party: str
    player: Player


def read(lines: Iterable[str]) -> list[Ticket]:
    """The tickets of a population, by time."""
    reader = csv.DictReader(lines)
    _check_columns(reader.fieldnames or ())
    parties: dict[str, list[_Row]] = {}
    for number, cells in enumerate(reader, start=1):
        row = _row(number, cells)
        parties.setdefault(f"party {row.party}" if row.party else f"row {number}", []).append(row)
    tickets = [
        Ticket(name, tuple(row.player for row in rows), max(row.enter for row in rows))
        for name, rows in parties.items()
    ]
    return sorted(tickets, key=lambda ticket: ticket.enter_time)


def made_up(*, players: int, seconds: float, largest_party: int, seed: int) -> Iterator[list[str]]:
    """Rows of players who come evenly over a time: ratings around 25, half of them in Europe, a tenth in Asia, few
    healers, parties of up to so many whose members are alike. The first row names the columns."""
    drawn = random.Random(seed)  # noqa: S311
    yield [*_PLAIN, *(f"ms:{region}" for region in _REGIONS), "text:mode", "list:maps", "number:level"]
    left, party = players, 0
    while left:
        size = 1
        while size < min(largest_party, left) and drawn.random() < _PARTY_SHARE:
            size += 1
        party += 1
        enter = drawn.uniform(0, seconds)
        skill = drawn.gauss(MEAN_RATING, RATING_DEVIATION)
        home = drawn.choices(range(len(_SHARES)), _SHARES)[0]
        mode = drawn.choices(("ranked", "casual"), (3, 1))[0]
        for _ in range(size):
            left -= 1
            rating = max(skill + (drawn.gauss(0, 2) if size > 1 else 0.0), 0.0)
            yield [
                f"{enter:.2f}",
                f"p{party}" if size > 1 else "",
                f"u{players - left}",
                f"{rating:.2f}",
                drawn.choices([roles for roles, _ in _ROLES], [share for _, share in _ROLES])[0],
                *(f"{max(drawn.gauss(far[home], far[home] / 5), 5.0):.0f}" for far in _REGIONS.values()),
                mode,
                "|".join(sorted(drawn.sample(_MAPS, drawn.randint(1, 3)))),
                f"{max(round(rating + drawn.gauss(0, 5)), 1)}",
            ]


def _check_columns(columns: Sequence[str]) -> None:
    if "enter_seconds" not in columns:
        raise PopulationError("there is no column enter_seconds: the first row names the columns")
    for column in columns:
        kind, colon, name = column.partition(":")
        if column not in _PLAIN and not (kind in _KINDS and colon and name):
            raise PopulationError(
                f"what is the column {column!r}? There are {', '.join(_PLAIN)}, and "
                f"{', '.join(f'{kind}:NAME' for kind in _KINDS)}"
            )


def _row(number: int, cells: Mapping[str, str | None]) -> _Row:
    texts: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    numbers: dict[str, float] = {}
    latencies: dict[str, float] = {}
    plain: dict[str, str] = {}
    for column, cell in cells.items():
        kind, _, name = column.partition(":") if column else ("", "", "")
        if not cell:
            continue
        if kind == "text":
            texts[name] = cell
        elif kind == "list":
            lists[name] = _several(cell)
        elif kind == "number":
            numbers[name] = _number(number, column, cell)
        elif kind == "ms":
            latencies[name] = _number(number, column, cell)
        else:
            plain[column] = cell
    rating = plain.get("rating", "")
    return _Row(
        _number(number, "enter_seconds", plain.get("enter_seconds", "")),
        plain.get("party", ""),
        Player(
            user_id=plain.get("user", f"row {number}"),
            rating=_number(number, "rating", rating) if rating else MEAN_RATING,
            texts=texts,
            lists=lists,
            numbers=numbers,
            latencies=latencies,
            roles=_several(plain.get("roles", "")),
        ),
    )


def _number(row: int, column: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise PopulationError(f"row {row}: {column} is {cell!r}, and should be a number") from None


def _several(cell: str) -> tuple[str, ...]:
    return tuple(value.strip() for value in cell.split("|") if value.strip())
