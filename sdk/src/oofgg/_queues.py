"""Queues: the calls, and their way to the wire and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from oofgg._calls import new_request_id
from oofgg._convert import short, time
from oofgg._queue_types import (
    DistanceRule,
    EqualRule,
    Expansion,
    OverlapRule,
    Queue,
    QueueBalance,
    QueueRole,
    QueueRule,
    QueueSession,
    QueueStats,
    RegionRule,
    SkillRule,
)
from oofgg._resources import _PAGE, _Resource, paged
from oofgg.v1 import matchmaking_pb2 as pb


class Queues(_Resource):
    """The queues of a game: which players are brought together, and how. For its developer and its API keys."""

    async def create(self, queue: Queue, *, game_id: str | None = None) -> Queue:
        """Defines a queue. Returns it as it is then, without zeros.

        Raises AlreadyExists(QUEUE_NAME_TAKEN), InvalidArgument.
        """
        request = pb.CreateQueueRequest(game_id=self._game(game_id), queue=_wire(queue), request_id=new_request_id())
        return _queue((await self._caller.call(self._stubs.matchmaking.CreateQueue, request)).queue)

    async def update(self, queue: Queue, *, expected_version: int = 0, game_id: str | None = None) -> Queue:
        """Replaces the definition of a queue, for tickets that wait too, within two seconds.

        With `expected_version`, such as the version of what was read, only if nobody else changed it: Aborted(CONFLICT)
        otherwise. Raises NotFound(QUEUE_NOT_FOUND), InvalidArgument.
        """
        request = pb.UpdateQueueRequest(
            game_id=self._game(game_id),
            queue=_wire(queue),
            expected_version=expected_version,
            request_id=new_request_id(),
        )
        return _queue((await self._caller.call(self._stubs.matchmaking.UpdateQueue, request)).queue)

    async def delete(self, name: str, *, game_id: str | None = None) -> None:
        """Deletes a queue. Tickets that wait in it and nowhere else FAIL. Raises NotFound(QUEUE_NOT_FOUND)."""
        request = pb.DeleteQueueRequest(game_id=self._game(game_id), queue=name, request_id=new_request_id())
        await self._caller.call(self._stubs.matchmaking.DeleteQueue, request)

    async def get(self, name: str, *, game_id: str | None = None) -> Queue:
        """How a queue is defined; for players too. Raises NotFound(QUEUE_NOT_FOUND)."""
        return _queue((await self._read(name, game_id)).queue)

    async def stats(self, name: str, *, game_id: str | None = None) -> QueueStats:
        """How it goes in a queue, a few seconds ago at most; for players too. Raises NotFound(QUEUE_NOT_FOUND)."""
        wire = (await self._read(name, game_id)).stats
        return QueueStats(
            waiting_tickets=wire.waiting_tickets,
            waiting_players=wire.waiting_players,
            median_wait=wire.median_wait_seconds if wire.HasField("median_wait_seconds") else None,
            p90_wait=wire.p90_wait_seconds if wire.HasField("p90_wait_seconds") else None,
        )

    def list(self, *, game_id: str | None = None) -> AsyncIterator[Queue]:
        """The queues of the game, by name; for players too."""
        chosen = self._game(game_id)

        async def page(token: str) -> tuple[Iterable[Queue], str]:
            request = pb.ListQueuesRequest(game_id=chosen, page_size=_PAGE, page_token=token)
            response = await self._caller.call(self._stubs.matchmaking.ListQueues, request)
            return map(_queue, response.queues), response.next_page_token

        return paged(page)

    async def _read(self, name: str, game_id: str | None) -> pb.GetQueueResponse:
        request = pb.GetQueueRequest(game_id=self._game(game_id), queue=name)
        return await self._caller.call(self._stubs.matchmaking.GetQueue, request)


def _queue(wire: pb.Queue) -> Queue:
    session = wire.session
    return Queue(
        name=wire.name,
        description=wire.description,
        min_teams=wire.min_teams,
        max_teams=wire.max_teams,
        min_team_size=wire.min_team_size,
        max_team_size=wire.max_team_size,
        roles=tuple(QueueRole(role.name, role.count) for role in wire.roles),
        rules=tuple(map(_rule, wire.rules)),
        balance=short(QueueBalance, pb.QueueBalance, wire.balance, "QUEUE_BALANCE_"),
        fill_seconds=wire.fill_seconds,
        max_wait_seconds=wire.max_wait_seconds,
        bots_after_seconds=wire.bots_after_seconds,
        acceptance_seconds=wire.acceptance_seconds,
        backfill=wire.backfill,
        session=QueueSession(
            label=session.label,
            attributes=dict(session.attributes),
            flush_window_ms=session.flush_window_ms if session.HasField("flush_window_ms") else None,
            max_spectators=session.max_spectators,
        ),
        version=wire.version,
        create_time=time(wire, "create_time"),
        update_time=time(wire, "update_time"),
    )


def _wire(queue: Queue) -> pb.Queue:
    return pb.Queue(
        name=queue.name,
        description=queue.description,
        min_teams=queue.min_teams,
        max_teams=queue.max_teams,
        min_team_size=queue.min_team_size,
        max_team_size=queue.max_team_size,
        roles=[pb.QueueRole(name=role.name, count=role.count) for role in queue.roles],
        rules=map(_wire_rule, queue.rules),
        balance=pb.QueueBalance.Value(f"QUEUE_BALANCE_{queue.balance}"),
        fill_seconds=queue.fill_seconds,
        max_wait_seconds=queue.max_wait_seconds,
        bots_after_seconds=queue.bots_after_seconds,
        acceptance_seconds=queue.acceptance_seconds,
        backfill=queue.backfill,
        session=pb.QueueSession(
            label=queue.session.label,
            attributes=queue.session.attributes,
            flush_window_ms=queue.session.flush_window_ms,
            max_spectators=queue.session.max_spectators,
        ),
    )


def _rule(wire: pb.QueueRule) -> QueueRule:
    expansions = tuple(Expansion(each.after_seconds, each.limit, each.drop) for each in wire.expansions)
    kind = wire.WhichOneof("rule")
    if kind == "equal":
        return EqualRule(wire.equal.attribute, name=wire.name, expansions=expansions)
    if kind == "overlap":
        return OverlapRule(wire.overlap.attribute, name=wire.name, expansions=expansions)
    if kind == "distance":
        return DistanceRule(wire.distance.attribute, wire.distance.limit, name=wire.name, expansions=expansions)
    if kind == "skill":
        return SkillRule(wire.skill.limit, name=wire.name, expansions=expansions)
    if kind == "region":
        return RegionRule(wire.region.limit_ms, name=wire.name, expansions=expansions)
    return QueueRule(name=wire.name, expansions=expansions)  # a kind that this SDK does not know yet


def _wire_rule(rule: QueueRule) -> pb.QueueRule:
    wire = pb.QueueRule(
        name=rule.name,
        expansions=[
            pb.QueueExpansion(after_seconds=each.after_seconds, limit=each.limit, drop=each.drop)
            for each in rule.expansions
        ],
    )
    match rule:
        case EqualRule():
            wire.equal.CopyFrom(pb.EqualRule(attribute=rule.attribute))
        case OverlapRule():
            wire.overlap.CopyFrom(pb.OverlapRule(attribute=rule.attribute))
        case DistanceRule():
            wire.distance.CopyFrom(pb.DistanceRule(attribute=rule.attribute, limit=rule.limit))
        case SkillRule():
            wire.skill.CopyFrom(pb.SkillRule(limit=rule.limit))
        case RegionRule():
            wire.region.CopyFrom(pb.RegionRule(limit_ms=rule.limit_ms))
        case _:
            raise TypeError(f"{type(rule).__name__} is no kind of rule that can be sent: use EqualRule, SkillRule, …")
    return wire
