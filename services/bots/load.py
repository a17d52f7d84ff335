"""A run from its first login to its verdict."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Final

import oofgg
from services.bots.bot import Bot
from services.bots.breach import Breach, Promise
from services.bots.cast import Cast
from services.bots.figures import Outage
from services.bots.plan import Plan
from services.bots.promises import SessionCheck
from services.bots.report import Report, say

_PROGRESS_SECONDS: Final = 1.0
_READY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
_END_SECONDS: Final = 20.0


class CannotRun(Exception):
    """The run could not begin, or its own part failed."""


async def run(plan: Plan, report: Report) -> None:
    """Plays as planned; what was broken is in the report. Raises CannotRun, OofggError, TimeoutError."""
    say(f"{plan.players} players in {plan.sessions} sessions of {plan.session_size}, seed {plan.seed}")
    async with Cast(plan) as cast:
        everybody = await cast.guests(plan.players + plan.spectators)
        clients, watching = everybody[: plan.players], everybody[plan.players :]
        groups = [clients[at : at + plan.session_size] for at in range(0, len(clients), plan.session_size)]
        sessions = await cast.sessions([group[0] for group in groups])
        report.nodes.update(session.node or "unknown" for session in sessions)
        checks = [
            SessionCheck(
                each.session_id, plan.session_size + plan.watched_by(n), report.broken, allow_reset=plan.allow_reset
            )
            for n, each in enumerate(sessions)
        ]
        bots = _bots(plan, report, groups, sessions, checks)
        for number, client in enumerate(watching):
            at = number % plan.sessions
            chance = random.Random(f"{plan.seed}-spectator-{number}")  # noqa: S311
            bots.append(
                Bot(plan, client, sessions[at], checks[at], report.figures, chance, watches=1 + number // plan.sessions)
            )
        async with asyncio.TaskGroup() as playing:
            tasks = [playing.create_task(bot.run()) for bot in bots]
            try:
                await _perform(plan, report, bots, checks)
                await _end(bots, tasks)
            finally:
                for task in tasks:
                    task.cancel()


def _bots(
    plan: Plan,
    report: Report,
    groups: Sequence[Sequence[oofgg.Client]],
    sessions: Sequence[oofgg.Session],
    checks: Sequence[SessionCheck],
) -> list[Bot]:
    # Spread over the sessions, so that those who misbehave sit beside others.
    order = sorted(range(plan.players), key=lambda number: (number % plan.session_size, number))
    drops, slow = set(order[: plan.droppers]), set(order[plan.droppers : plan.droppers + plan.slow])
    bots: list[Bot] = []
    for group, session, check in zip(groups, sessions, checks, strict=True):
        for client in group:
            number = len(bots)
            chance = random.Random(f"{plan.seed}-{number}")  # noqa: S311
            drops_it, slow_it = number in drops, number in slow
            bots.append(Bot(plan, client, session, check, report.figures, chance, drops=drops_it, slow=slow_it))
    return bots


async def _perform(plan: Plan, report: Report, bots: Sequence[Bot], checks: Iterable[SessionCheck]) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await asyncio.gather(*(bot.ready.wait() for bot in bots))
    except TimeoutError:
        waiting = sum(not bot.ready.is_set() for bot in bots)
        raise CannotRun(
            f"{waiting} of {len(bots)} players have no started session after {_READY_SECONDS:.0f} s"
        ) from None
    if failed := [bot.failed for bot in bots if bot.failed is not None]:
        raise CannotRun(f"{len(failed)} of {len(bots)} players could not begin: {failed[0]!r}: {failed[0]}")
    began = loop.time()
    for bot in bots:
        bot.go(began)
    while (passed := loop.time() - began) < plan.seconds:
        _show(report, bots, began)
        await asyncio.sleep(min(_PROGRESS_SECONDS, plan.seconds - passed))
    report.seconds = plan.seconds
    for bot in bots:
        bot.stop()
    try:
        async with asyncio.timeout(plan.settle):
            await _settled(report, bots, checks, began)
    except TimeoutError:
        _judge(plan, bots, checks)
    report.figures.still_away(_show(report, bots, began))
    outage = report.figures.outage
    if plan.max_outage is not None and outage.seconds > plan.max_outage:
        evidence = (
            f"command {outage.number}, sent {outage.at:.1f} s after the start, was away for {outage.seconds:.2f} s"
        )
        report.broken(Breach(Promise.OUTAGE, outage.session, outage.seat, 0, evidence))


async def _settled(report: Report, bots: Sequence[Bot], checks: Iterable[SessionCheck], began: float) -> None:
    """Returns when everybody has everything; the caller's deadline ends that."""
    loop = asyncio.get_running_loop()
    show_at = loop.time() + _PROGRESS_SECONDS
    while not all(bot.done.is_set() for bot in bots) or any(check.unsettled() for check in checks):
        if loop.time() >= show_at:
            _show(report, bots, began)
            show_at += _PROGRESS_SECONDS
        await asyncio.sleep(_POLL_SECONDS)


def _judge(plan: Plan, bots: Sequence[Bot], checks: Iterable[SessionCheck]) -> None:
    for bot in bots:
        if not bot.done.is_set():
            bot.breach(Promise.STAYS, f"what it sent is not acknowledged {plan.settle:.0f} s after the end")
    for check in checks:
        for breach in check.unsettled():
            check.broken(breach)


def _show(report: Report, bots: Sequence[Bot], began: float) -> Outage:
    now = asyncio.get_running_loop().time()
    waiting = max((bot.waiting(now) or Outage() for bot in bots), key=lambda each: each.seconds, default=Outage())
    report.progress(now - began, sum(bot.connected for bot in bots), waiting)
    return waiting


async def _end(bots: Sequence[Bot], tasks: Sequence[asyncio.Task[None]]) -> None:
    """Ends the sessions, and sees that everybody hears of it."""
    creators = {bot.session.session_id: bot for bot in reversed(bots)}
    closing = {id_: asyncio.create_task(bot.client.sessions.close(id_)) for id_, bot in creators.items()}
    await asyncio.wait(closing.values(), timeout=_END_SECONDS)
    for close in closing.values():
        close.cancel()
    await asyncio.gather(*closing.values(), return_exceptions=True)
    closed = {id_ for id_, close in closing.items() if not close.cancelled() and close.exception() is None}
    waiting = [task for bot, task in zip(bots, tasks, strict=True) if bot.session.session_id in closed]
    if waiting:
        await asyncio.wait(waiting, timeout=_END_SECONDS)
    for bot, task in zip(bots, tasks, strict=True):
        if bot.session.session_id not in closed:
            say(f"session {bot.session.session_id} could not be closed")
        elif not task.done():
            bot.breach(Promise.STAYS, "the session was closed, and it was not told")
