"""What is known of a session that is being played."""

from __future__ import annotations

from collections.abc import Mapping

from oofgg._inbox import Inbox
from oofgg._types import Seat, Session, SessionState

NOT_ENTERED = "not playing yet: use `async with client.play(…) as session:`"


class SessionView:
    """The session as far as its events were received."""

    _inbox: Inbox

    @property
    def info(self) -> Session:
        """The session as far as it was received, which may be ahead of the iteration."""
        if self._inbox.session is None:
            raise RuntimeError(NOT_ENTERED)
        return self._inbox.session

    @property
    def session_id(self) -> str:
        """Id of the session, and of its match in the history."""
        return self.info.session_id

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        return self.info.state

    @property
    def seats(self) -> Mapping[int, Seat]:
        """Who is in it, by seat."""
        return self.info.seats

    @property
    def roster(self) -> Mapping[int, Seat]:
        """Who a result is about, by seat: `seats`, and who has left since it started and was not replaced."""
        return self.info.roster

    @property
    def seat(self) -> int:
        """Number of the caller's seat; 0 for a spectator."""
        return self._inbox.seat
