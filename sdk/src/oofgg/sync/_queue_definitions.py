"""Queues, blocking: as in `oofgg._queues`, which has the rules."""

from __future__ import annotations

from collections.abc import Iterator

from oofgg import _queues
from oofgg._queue_types import Queue, QueueStats
from oofgg.sync._loop import Portal


class Queues:
    """The queues of a game: which players are brought together, and how. For its developer and its API keys."""

    def __init__(self, portal: Portal, queues: _queues.Queues) -> None:
        self._portal = portal
        self._queues = queues

    def create(self, queue: Queue, *, game_id: str | None = None) -> Queue:
        """Defines a queue. Returns it as it is then, without zeros.

        Raises AlreadyExists(QUEUE_NAME_TAKEN), InvalidArgument.
        """
        return self._portal.call(self._queues.create(queue, game_id=game_id))

    def update(self, queue: Queue, *, expected_version: int = 0, game_id: str | None = None) -> Queue:
        """Replaces the definition of a queue, for tickets that wait too, within two seconds.

        With `expected_version`, such as the version of what was read, only if nobody else changed it: Aborted(CONFLICT)
        otherwise. Raises NotFound(QUEUE_NOT_FOUND), InvalidArgument.
        """
        return self._portal.call(self._queues.update(queue, expected_version=expected_version, game_id=game_id))

    def delete(self, name: str, *, game_id: str | None = None) -> None:
        """Deletes a queue. Tickets that wait in it and nowhere else FAIL. Raises NotFound(QUEUE_NOT_FOUND)."""
        self._portal.call(self._queues.delete(name, game_id=game_id))

    def get(self, name: str, *, game_id: str | None = None) -> Queue:
        """How a queue is defined; for players too. Raises NotFound(QUEUE_NOT_FOUND)."""
        return self._portal.call(self._queues.get(name, game_id=game_id))

    def stats(self, name: str, *, game_id: str | None = None) -> QueueStats:
        """How it goes in a queue, a few seconds ago at most; for players too. Raises NotFound(QUEUE_NOT_FOUND)."""
        return self._portal.call(self._queues.stats(name, game_id=game_id))

    def list(self, *, game_id: str | None = None) -> Iterator[Queue]:
        """The queues of the game, by name; for players too."""
        return self._portal.iterate(self._queues.list(game_id=game_id))
