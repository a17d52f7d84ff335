"""What the person at the terminal sees meanwhile."""

from __future__ import annotations

import sys
import time


class Progress:
    """Lines that stay, and, on a terminal, one that says what is happening now."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._live = sys.stderr.isatty()

    def note(self, line: str) -> None:
        """A line that stays."""
        print(f"{self._clear()}{time.monotonic() - self._began:6.0f} s  {line}", file=sys.stderr, flush=True)

    def now(self, line: str) -> None:
        """A line that the next one replaces."""
        if self._live:
            print(f"{self._clear()}{line[:110]}", end="", file=sys.stderr, flush=True)

    def _clear(self) -> str:
        return "\r\x1b[K" if self._live else ""
