"""The tasks of a process, which end with the failure that came first."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context
from types import TracebackType
from typing import Any, TypeVar

_T = TypeVar("_T")


class Tasks(asyncio.TaskGroup):
    """A task group that raises the first failure alone.

    When something fails, everything else is cancelled and closed, and much of that fails in turn: pools that are still
    in use, calls on closed connections. An exception group would name these consequences before, or instead of, their
    cause.
    """

    def __init__(self) -> None:
        super().__init__()
        self._first: Exception | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Around the work that is done beside the tasks: a failure of it counts as one of theirs."""
        try:
            yield
        except Exception as error:
            self._note(error)
            raise

    def create_task(
        self,
        coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[_T]:
        """As the library does."""
        task = super().create_task(coro, name=name, context=context)
        task.add_done_callback(self._look_at)
        return task

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            if self._first is None or not isinstance(group, ExceptionGroup):
                raise
            raise self._first from None

    def _look_at(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._note(error)

    def _note(self, error: Exception) -> None:
        self._first = self._first or error
