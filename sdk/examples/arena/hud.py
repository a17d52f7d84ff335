"""What is told in words around the field: time, connection, scores, news, and the tables at the end."""

from __future__ import annotations

import math
from typing import Final

from rich.align import Align
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

import oofgg

from .lobby import Tables
from .picture import colour_of
from .play import Ending, Game
from .rules import Fact, Hit, Joined, Left, Player, Took

KEYS: Final = Text.from_markup(
    "[b #c9d4f5]arrows / wasd[/] fly   [b #c9d4f5]two at once[/] diagonal   [b #c9d4f5]space[/] shoot   "
    "[b #c9d4f5]x[/] stop   [b #c9d4f5]q[/] quit"
)
FEW_KEYS: Final = Text.from_markup("[b #c9d4f5]wasd[/] fly  [b #c9d4f5]space[/] shoot  [b #c9d4f5]q[/] quit")

_DIM: Final = "#7f8db8"
_GOOD: Final = "#7cfc98"
_WARN: Final = "#ffd166"
_BAD: Final = "#ff5d8f"
_GEM: Final = "#9dffec"
_BAR: Final = 23
_MEDALS: Final = {1: "●", 2: "●", 3: "●"}
_MEDAL_COLOURS: Final = {1: "#ffd166", 2: "#cbd5e1", 3: "#d8925a"}
_HURRY_SECONDS: Final = 10
_SLOW_SECONDS: Final = 0.15


def top(game: Game, width: int) -> Text:
    """The line above the field."""
    now, session = game.now, game.session
    start, end = game.round.start, game.round.end
    left = Text.assemble(("◆ ARENA", "bold #4cc9f0"), "  ")
    me = game.round.players.get(session.seat)
    if me is not None:
        left.append(me.name, style=f"bold {_colour(session.seat)}")
        left.append(f"  {me.score} points", style="bold #ffffff")
    if start is None or end is None:
        clock = Text("waiting", style=_DIM)
    else:
        seconds = math.ceil(min(max(end - now, 0.0), game.round.plan.seconds))
        hurry = seconds <= _HURRY_SECONDS
        clock = Text(f"{seconds // 60}:{seconds % 60:02}", style=f"bold {_BAD if hurry else '#ffffff'}")
    if session.connected or session.state.over:
        latency = session.latency
        shade = _DIM if latency is None else _GOOD if latency < _SLOW_SECONDS else _WARN
        right = Text.assemble(("● ", shade), (f"{latency * 1000:.0f} ms" if latency is not None else "online", shade))
    else:
        right = Text("◌ reconnecting", style=f"bold {_WARN}")
    middle = max((width - len(clock.plain)) // 2 - left.cell_len, 1)
    rest = max(width - left.cell_len - middle - clock.cell_len - right.cell_len, 1)
    return Text.assemble(left, " " * middle, clock, " " * rest, right, no_wrap=True)


def panel(game: Game, height: int) -> RenderableType:
    """The scores, and below them what has just happened."""
    players = _ranked(game)
    best = max([player.score for _, player in players], default=0) or 1
    told = Text(no_wrap=True, overflow="ellipsis")
    told.append("SCORES\n", style=f"bold {_DIM}")
    rows = max(height - 4, 1) // 2
    for seat, player in players[:rows]:
        out = not player.present or game.now < player.down_until
        shade = _DIM if out else _colour(seat)
        mark = "▸" if seat == game.session.seat else " "
        told.append(f"{mark}{player.name[:16]:<17}", style=f"bold {shade}" if mark == "▸" else shade)
        told.append(f"{player.score:>5}\n", style="bold #ffffff" if not out else _DIM)
        filled = round(_BAR * 2 * max(player.score, 0) / best)
        told.append("━" * (filled // 2) + "╸" * (filled % 2), style=shade)
        told.append("━" * (_BAR - filled // 2 - filled % 2) + "\n", style="#1a2342")
    spare = height - 4 - 2 * len(players)
    if spare > 1 and game.news:
        told.append("\nNEWS\n", style=f"bold {_DIM}")
        for at, fact in list(game.news)[:-spare:-1]:
            told.append_text(_told(game, fact, fresh=game.now - at < 2))
            told.append("\n")
    return told


def moment(game: Game, saying: str) -> Text | None:
    """What has to be said over the field at the moment; None for nothing."""
    session = game.session
    if not session.connected and not session.state.over:
        return notice("◌ reconnecting", "The round goes on; so will you.", shade=_WARN)
    if game.round.start is None:
        here = len(session.seats)
        return notice(
            f"{here} of {session.info.min_seats} are here",
            f"Others join this round with\n--game {session.info.game_id} --session {session.session_id}",
        )
    if game.round.closed:
        return notice("TIME!", (saying or "agreeing on the result") + " …", shade=_BAD)
    me = game.round.players.get(session.seat)
    if me is not None and game.now < me.down_until and game.round.is_on(game.now):
        hits = (fact for _, fact in reversed(game.news) if isinstance(fact, Hit))
        by = next((hit for hit in hits if hit.seat == session.seat), None)
        gunner = game.round.players.get(by.by) if by else None
        return notice("✦ hit ✦", f"by {gunner.name}" if gunner else "", shade=_BAD)
    return None


def notice(title: str, text: str, *, shade: str = "#4cc9f0") -> Text:
    """A word over the field."""
    return Text.assemble((f"{title}\n", f"bold {shade}"), (text, "#c9d4f5"), justify="center")


def tables(ending: Ending, shown: Tables | None, own: int) -> RenderableType:
    """The result, the leaderboard and the latest matches."""
    agreed = ending.state is oofgg.ResultState.AGREED
    state = {
        oofgg.ResultState.AGREED: "agreed by all",
        oofgg.ResultState.DISPUTED: "disputed: it counts for nobody",
        oofgg.ResultState.PENDING: "not all have agreed yet",
    }.get(ending.state, ending.state.lower())
    result = _table("THE ROUND", state, _GOOD if agreed else _WARN)
    for place in sorted(ending.result, key=lambda place: (place.placement, place.seat)):
        shade = _colour(place.seat)
        medal = Text(_MEDALS.get(place.placement, " "), style=_MEDAL_COLOURS.get(place.placement, ""))
        mark = "▸ " if place.seat == own else "  "
        result.add_row(
            medal,
            Text(f"{place.placement}", style=_DIM),
            Text(mark + ending.names.get(place.seat, "?"), style=f"bold {shade}" if mark.strip() else shade),
            Text(str(place.score), style="bold #ffffff"),
        )
    parts: list[RenderableType] = [result]
    if shown is not None and shown.scores:
        board = _table("LEADERBOARD", "points of all rounds", _DIM)
        for entry in shown.scores:
            medal = Text(_MEDALS.get(entry.rank, " "), style=_MEDAL_COLOURS.get(entry.rank, ""))
            name = Text("  " + entry.username, style="#c9d4f5")
            board.add_row(medal, Text(str(entry.rank), style=_DIM), name, Text(str(entry.score), style="bold #ffffff"))
        parts.append(board)
    winners = [place for place in ending.result if place.placement == 1]
    who = " and ".join(ending.names.get(place.seat, "?") for place in winners)
    banner = Text(justify="center")
    if winners:
        verb = "share the win" if len(winners) > 1 else "wins the round"
        banner.append(f"★  {who} {verb}  ★\n", style=f"bold {_colour(winners[0].seat)}")
    beside = Table.grid(padding=(0, 4))
    beside.add_row(*parts)
    below = Text(justify="center", style=_DIM)
    if shown is not None and shown.match is not None:
        below.append(f"\nin the match history as\n{shown.match.match_id}")
    return Group(Align.center(banner), Align.center(beside), Align.center(below))


def _table(title: str, note: str, shade: str) -> Table:
    table = Table(
        title=Text.assemble((title, "bold #4cc9f0"), ("\n" + note, shade)),
        show_header=False, box=None, padding=(0, 1), min_width=34,
    )  # fmt: skip
    for width, justify in ((1, "left"), (2, "right"), (20, "left"), (6, "right")):
        table.add_column(width=width, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    return table


def _told(game: Game, fact: Fact, *, fresh: bool) -> Text:
    def name(seat: int) -> tuple[str, str]:
        player = game.round.players.get(seat)
        return (player.name[:10] if player else "?", _colour(seat) if fresh else _DIM)

    match fact:
        case Hit(seat=seat, by=by):
            return Text.assemble(name(by), (" ✦ ", _BAD if fresh else _DIM), name(seat))
        case Took(seat=seat):
            return Text.assemble(name(seat), (" ◆ gem", _GEM if fresh else _DIM))
        case Joined(seat=seat):
            return Text.assemble(name(seat), (" is here", _DIM))
        case Left(seat=seat):
            return Text.assemble(name(seat), (" has left", _DIM))
    return Text()


def _ranked(game: Game) -> list[tuple[int, Player]]:
    return sorted(game.round.players.items(), key=lambda item: (-item[1].score, item[0]))


def _colour(seat: int) -> str:
    return f"#{colour_of(seat):06x}"
