"""Sessions for matches, from `game`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pkg.auth.tokens import ServiceTokens
from pkg.clock import Clock
from pkg.errors import FailedPrecondition, NotFound, OofggError, Reason, backend_unavailable
from pkg.internal.v1 import session_pb2 as pb
from pkg.internal.v1 import ticket_pb2 as kept_pb
from pkg.registry.process import State
from pkg.registry.store import Registry
from pkg.rpc.call import Call
from pkg.rpc.channel import ServiceChannel

_METHODS: Final = pb.DESCRIPTOR.services_by_name["SeatingService"].methods_by_name
_ROSTER_SECONDS: Final = 2.0
_TAKE_SECONDS: Final = 5.0
_HOPS: Final = 3
_MOST_CHANNELS: Final = 64
_LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Seated:
    """A session with seats for the players of a match. `join_deadline` is a Timestamp."""

    session_id: str
    node: str
    join_deadline: Any


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no such session, and why."""

    reason: str
    message: str


class Seating:
    """What matchmaking asks of `game`."""

    def __init__(
        self, channel: ServiceChannel, registry: Registry, tokens: ServiceTokens, clock: Clock, *, within: float
    ) -> None:
        """`channel` leads to the configured address, for where the registry knows no node."""
        self._channel = channel
        self._registry = registry
        self._tokens = tokens
        self._clock = clock
        self._within = within
        self._choose = random.Random()  # noqa: S311  # spreads load
        self._looked = float("-inf")
        self._serving: dict[str, str] = {}  # addresses by node
        self._nodes: dict[str, ServiceChannel] = {}  # by address

    async def open(self, game_id: str, matches: Mapping[str, kept_pb.StoredMatch]) -> dict[str, Seated | Refused]:
        """Opens a session per match, under the match's id; asking again changes nothing. Raises Unavailable."""
        request = pb.OpenSessionsRequest()
        for match_id, match in matches.items():
            session = request.sessions.add(
                session_id=match_id,
                game_id=game_id,
                queue=match.match.queue,
                label=match.label,
                attributes=match.match.attributes,
                max_seats=match.max_seats,
                flush_window_ms=match.flush_window_ms,
                max_spectators=match.max_spectators,
            )
            for player in match.match.players:
                session.players.add(user_id=player.user_id, username=player.username, team=player.team)
        answer = await (await self._at()).call(
            _METHODS["OpenSessions"], request, pb.OpenSessionsResponse, within=self._within, on_behalf_of=None
        )
        return {
            each.session_id: Refused(each.refusal, each.refusal_message)
            if each.refusal
            else Seated(each.session_id, each.node, each.join_deadline_time)
            for each in answer.sessions
        }

    async def take(self, session_id: str, players: Sequence[Any], node: str = "") -> Seated | Refused:
        """Takes seats of a session for players with `user_id`, `username` and `team`: all or none.

        Raises Unavailable.
        """
        request = pb.TakeSeatsRequest(session_id=session_id)
        for player in players:
            request.players.add(user_id=player.user_id, username=player.username, team=player.team)
        for _ in range(_HOPS):
            try:
                answer = await (await self._at(node)).call(
                    _METHODS["TakeSeats"], request, pb.TakeSeatsResponse, within=_TAKE_SECONDS, on_behalf_of=None
                )
            except (FailedPrecondition, NotFound) as error:
                if error.reason is not Reason.WRONG_NODE:
                    return Refused(error.reason, error.message)
                node = error.metadata.get("node", "")
                continue
            except OofggError as error:
                if error.reason is Reason.BACKEND_UNAVAILABLE or error.reason is Reason.SHUTTING_DOWN:
                    raise
                return Refused(error.reason, error.message)
            return Seated(session_id, answer.node, answer.join_deadline_time)
        raise backend_unavailable("The session's node")

    async def open_seats(self, game_id: str, queues: Sequence[str], seats: int) -> list[tuple[str, str]]:
        """Sessions of these queues that wait for players and have so many seats free, with their nodes.

        Raises Unavailable.
        """
        answer = await (await self._at()).call(
            _METHODS["FindOpenSessions"],
            pb.FindOpenSessionsRequest(game_id=game_id, queues=queues, seats=seats),
            pb.FindOpenSessionsResponse,
            within=_ROSTER_SECONDS,
            on_behalf_of=None,
        )
        return [(found.session_id, found.node) for found in answer.sessions]

    async def roster(self, session_id: str, call: Call | None) -> pb.GetRosterResponse:
        """Who is in a session. Raises NotFound(SESSION_NOT_FOUND), Unavailable."""
        return await (await self._at()).call(
            _METHODS["GetRoster"],
            pb.GetRosterRequest(session_id=session_id),
            pb.GetRosterResponse,
            within=_ROSTER_SECONDS,
            on_behalf_of=call,
        )

    async def close(self) -> None:
        """Closes connections to single nodes."""
        for channel in list(self._nodes.values()):
            await channel.close()

    async def _at(self, node: str = "") -> ServiceChannel:
        """The channel to a node of `game`, or to any that serves; to the configured address where none is known."""
        now = self._clock.monotonic()
        if now - self._looked > _LOOK_SECONDS:
            self._serving = {
                sighting.process.node: sighting.process.address
                for sighting in await self._registry.read()
                if (served := sighting.process.services.get("game")) is not None
                and served.state is State.SERVING
                and sighting.silent_seconds <= sighting.process.lease_seconds
            }
            self._looked = now
        address = self._serving.get(node) or (
            self._choose.choice(sorted(self._serving.values())) if self._serving else ""
        )
        if not address:
            return self._channel
        if address not in self._nodes:
            while len(self._nodes) >= _MOST_CHANNELS:
                await self._nodes.pop(next(iter(self._nodes))).close()
            self._nodes[address] = ServiceChannel(address, self._tokens)
        return self._nodes[address]
