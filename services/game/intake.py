"""What a participant sends while it is over its budget: it waits, and newer LATEST values replace those that wait.

Without that, a sender that is read more slowly would be seen as it was: everything that it sends waits in a queue.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from oofgg.v1.session_pb2 import Command
from services.game.budget import Budget, BudgetLimits
from services.game.engine.order import LATEST, VOLATILE

# So many times its budget is read of a participant, to replace what waits with it. Reading costs too: beyond that the
# rest is left unread.
_LOOKED_THROUGH: Final = 4.0


class Waiting:
    """Commands that wait for the budget. RELIABLE ones keep their order; of LATEST the newest per key is there."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self._commands: list[Command | None] = []
        self._latest: dict[str, int] = {}  # where the value of a key is
        for command in commands:
            self._put(command)

    def replace(self, commands: Iterable[Command]) -> list[Command]:
        """Takes LATEST values that came later; VOLATILE ones are dropped. Returns those that replaced none."""
        return [command for command in commands if command.delivery == LATEST and not self._put(command)]

    def commands(self) -> list[Command]:
        """All of them, in order."""
        return [command for command in self._commands if command is not None]

    def _put(self, command: Command) -> bool:
        """Whether it has replaced another one."""
        replaced = False
        if command.delivery == LATEST:
            before = self._latest.get(command.key)
            if before is not None:
                self._commands[before] = None
                replaced = True
            self._latest[command.key] = len(self._commands)
        self._commands.append(command)
        return replaced


def is_replaceable(commands: Iterable[Command]) -> bool:
    """Whether these may be looked at before their time: none of them has to be kept."""
    return all(command.delivery in (LATEST, VOLATILE) for command in commands)


def looking(limits: BudgetLimits, now: float) -> Budget:
    """How much may be read of a participant that is over its budget."""
    return Budget(
        BudgetLimits(
            limits.commands_per_second * _LOOKED_THROUGH,
            limits.command_burst * _LOOKED_THROUGH,
            limits.bytes_per_second * _LOOKED_THROUGH,
            limits.byte_burst * _LOOKED_THROUGH,
        ),
        now,
    )
