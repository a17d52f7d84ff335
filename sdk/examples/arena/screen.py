"""The terminal: a field that is painted many times a second, a panel beside it, and the tables at the end."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

import oofgg

from . import hud
from .accounts import Accounts
from .bots import Intent, View
from .canvas import Row
from .lobby import Settings, Tables, seated, tables
from .picture import Picture
from .play import Ending, Game, play
from .wire import OtherGame

FRAME: Final = 1 / 24
_SMALLEST: Final = (30, 10)
_NARROW: Final = 72
_SHOW_SECONDS: Final = 20
"""How long the tables stay when nobody presses a key."""
_TOGETHER_SECONDS: Final = 0.12
"""Two arrows within this time are one diagonal."""
_TRIGGER_SECONDS: Final = 0.25
"""How long a shot is wanted that was asked for while the gun was not loaded."""
_KEYS: Final = {
    "right": (1, 0), "down": (0, 1), "left": (-1, 0), "up": (0, -1),
    "d": (1, 0), "s": (0, 1), "a": (-1, 0), "w": (0, -1),
}  # fmt: skip
_HEADING: Final = {(1, 0): 0, (1, 1): 1, (0, 1): 2, (-1, 1): 3, (-1, 0): 4, (-1, -1): 5, (0, -1): 6, (1, -1): 7}


class Hands:
    """A human pilot.

    Terminals tell when a key is pressed, not when it is let go: a ship flies on until told otherwise.
    """

    def __init__(self) -> None:
        self._way: tuple[int, int] | None = None
        self._pressed = ((0, 0), 0.0)
        self._fire_until = 0.0
        self._fire = False

    def press(self, key: str, now: float) -> bool:
        """Takes a key. Whether it means something."""
        if key in _KEYS:
            way = _KEYS[key]
            before, at = self._pressed
            self._pressed = (way, now)
            both = (way[0] + before[0], way[1] + before[1])
            self._way = both if now - at < _TOGETHER_SECONDS and both in _HEADING and way != before else way
        elif key == "space":
            self._fire, self._fire_until = True, now + _TRIGGER_SECONDS
        elif key in {"x", "full_stop"}:
            self._way = None
        else:
            return False
        return True

    def decide(self, view: View) -> Intent:
        """What the keys say."""
        fire, self._fire = self._fire or time.monotonic() < self._fire_until, False
        return Intent(_HEADING[self._way] if self._way else None, fire)


class FieldView(Widget):
    """The field. Only lines that changed are sent to the terminal."""

    def __init__(self) -> None:
        super().__init__(id="field")
        self._picture: Picture | None = None
        self._rows: list[Row] = []

    def on_resize(self, event: events.Resize) -> None:
        """Everything is painted anew for another size."""
        self._picture, self._rows = None, []

    def paint(self, game: Game) -> None:
        """Shows the present moment."""
        columns, lines = self.size
        if columns < 1 or lines < 1:
            return
        if self._picture is None:
            self._picture = Picture(columns, lines)
        self._picture.paint(game)
        rows = [self._picture.canvas.row(line) for line in range(lines)]
        if len(self._rows) != lines:
            self.refresh()
        else:
            changed = [Region(0, y, columns, 1) for y in range(lines) if rows[y] != self._rows[y]]
            if changed:
                self.refresh(*changed)
        self._rows = rows

    def render_line(self, y: int) -> Strip:
        """A line, for Textual."""
        if self._picture is None or y >= self._picture.lines:
            return Strip.blank(self.size.width)
        return Strip(self._picture.canvas.segments(y), self._picture.columns)


class ArenaApp(App[Ending | None]):
    """The game on a screen. Ends with how the round ended, or None when the player went before."""

    CSS = """
    Screen { background: #07080f; color: #c9d4f5; layers: base over; align: center middle; }
    #top { height: 1; background: #10172e; padding: 0 1; }
    #bottom { height: 1; background: #10172e; color: #7f8db8; padding: 0 1; }
    #middle { height: 1fr; }
    #field { width: 1fr; height: 1fr; }
    #panel { width: 29; height: 1fr; background: #0b1020; padding: 1 1 0 2; border-left: vkey #22305c; }
    #notice {
        display: none; layer: over; width: auto; max-width: 100%; height: auto; padding: 1 3; text-align: center;
        background: #1a2547;
    }
    #tables { display: none; width: 1fr; height: 1fr; padding: 1 2; content-align: center middle; overflow-y: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "quit", priority=True),
        Binding("ctrl+c", "leave", "quit", priority=True, show=False),
        Binding("ctrl+q", "leave", "quit", priority=True, show=False),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, settings: Settings, accounts: Accounts) -> None:
        super().__init__()
        self.game: Game | None = None
        self.tables: Tables | None = None
        self.ending: Ending | None = None
        self.failure: Exception | None = None
        """What ended the game other than its rules."""
        self._settings = settings
        self._accounts = accounts
        self._hands = Hands()
        self._saying = "connecting"
        self._playing: asyncio.Task[None] | None = None
        self._close_at = 0.0
        self._wanted_panel = ""

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield Static(id="top")
        with Horizontal(id="middle"):
            yield FieldView()
            yield Static(id="panel")
            yield Static(id="tables")
        yield Static(id="bottom")
        yield Static(id="notice")

    def on_mount(self) -> None:
        """Begins to play."""
        self._playing = asyncio.create_task(self._play())
        self.set_interval(FRAME, self._paint)
        self.set_interval(0.2, self._inform)
        self._inform()

    async def on_unmount(self) -> None:
        """Waits until the seat is given up."""
        if self._playing is not None:
            self._playing.cancel()
            await asyncio.gather(self._playing, return_exceptions=True)

    def on_key(self, event: events.Key) -> None:
        """Keys are for the ship, and at the end for going home."""
        if self._close_at and event.key in {"enter", "escape"}:
            self.exit(self.ending)
        elif self._hands.press(event.key, time.monotonic()):
            event.stop()

    def action_leave(self) -> None:
        """The player goes."""
        self.exit(self.ending)

    async def _play(self) -> None:
        try:
            async with seated(self._settings, self._accounts, self._say) as seat:
                self.game = seat.game
                self.ending = await play(seat.game, self._hands)
                self._saying = "reading the tables"
                self.tables = await tables(seat.client, seat.game.session.session_id)
        except* (oofgg.OofggError, OtherGame) as group:
            self.failure = _first(group)
        if self.failure is not None:
            self.exit(None)
            return
        self._close_at = time.monotonic() + _SHOW_SECONDS
        self._inform()

    def _say(self, line: str) -> None:
        self._saying = line

    def _paint(self) -> None:
        if self._playing is not None and self._playing.done():
            self._playing.result()  # raises what should not have happened
        if self.game is not None and not self._close_at and not self._is_tiny:
            self.query_one(FieldView).paint(self.game)

    @property
    def _is_tiny(self) -> bool:
        return self.size.width < _SMALLEST[0] or self.size.height < _SMALLEST[1]

    def _inform(self) -> None:
        game, over = self.game, bool(self._close_at)
        if over and time.monotonic() > self._close_at:
            self.exit(self.ending)
            return
        self.query_one("#panel").display = self.size.width >= _NARROW and not over
        self.query_one("#field").display = not over
        self.query_one("#tables").display = over
        notice = self.query_one("#notice", Static)
        told = self._notice(game)
        notice.display = told is not None
        if told is not None:
            notice.update(told)
        top, bottom = self.query_one("#top", Static), self.query_one("#bottom", Static)
        width = self.size.width
        top.update(hud.top(game, width - 2) if game else Text("◆ ARENA", style="bold #4cc9f0"))
        if over and self.ending is not None:
            seconds = max(int(self._close_at - time.monotonic()), 0)
            bottom.update(Text(f"enter or q: close   (by itself in {seconds} s)"))
            own = game.session.seat if game else 0
            self.query_one("#tables", Static).update(hud.tables(self.ending, self.tables, own))
        else:
            bottom.update(hud.KEYS if width >= _NARROW else hud.FEW_KEYS)
            if game:
                self.query_one("#panel", Static).update(hud.panel(game, self.query_one("#panel").size.height))

    def _notice(self, game: Game | None) -> Text | None:
        if self._is_tiny:
            return hud.notice("The terminal is too small.", f"{_SMALLEST[0]} by {_SMALLEST[1]} characters will do.")
        if self._close_at:
            return None
        if game is None:
            return hud.notice("◆ A R E N A", self._saying + " …")
        return hud.moment(game, self._saying if self.ending else "")


def _first(group: ExceptionGroup[oofgg.OofggError | OtherGame]) -> Exception:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, ExceptionGroup) else found
