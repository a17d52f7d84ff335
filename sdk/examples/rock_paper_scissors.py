"""Rock-paper-scissors, best of three: a whole multiplayer game on the SDK.

The rules (`Match`) know nothing of networks. `play` brings them onto a session: everybody's throws arrive in one order,
the same for all, also after a dropped connection, so every client comes to the same result by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

import oofgg

WINS_NEEDED = 2
THROW = "throw"


class Hand(StrEnum):
    """What a player shows."""

    ROCK = "rock"
    PAPER = "paper"
    SCISSORS = "scissors"

    def beats(self, other: Hand) -> bool:
        """Whether this hand wins against the other."""
        return (self, other) in {
            (Hand.ROCK, Hand.SCISSORS),
            (Hand.PAPER, Hand.ROCK),
            (Hand.SCISSORS, Hand.PAPER),
        }


@dataclass(frozen=True)
class Round:
    """A round that both players have thrown for; `winner` is None when the hands are equal."""

    number: int
    hands: dict[int, Hand]
    winner: int | None


@dataclass
class Match:
    """The state of a match between two seats. Throws may come in any order and more than once; the first counts."""

    seats: tuple[int, int]
    rounds: list[Round] = field(default_factory=list)
    _thrown: dict[tuple[int, int], Hand] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The round being thrown for, from 1."""
        return len(self.rounds) + 1

    @property
    def score(self) -> dict[int, int]:
        """Rounds won, by seat."""
        return {seat: sum(done.winner == seat for done in self.rounds) for seat in self.seats}

    @property
    def winner(self) -> int | None:
        """The seat that has won the match, once one has."""
        return next((seat for seat, won in self.score.items() if won == WINS_NEEDED), None)

    def throw(self, seat: int, number: int, hand: Hand) -> Round | None:
        """Takes a throw; returns the round it completes, if it does."""
        if seat not in self.seats or number != self.number or self.winner is not None:
            return None
        self._thrown.setdefault((number, seat), hand)
        hands = {s: self._thrown[number, s] for s in self.seats if (number, s) in self._thrown}
        if len(hands) < len(self.seats):
            return None
        one, two = self.seats
        winner = one if hands[one].beats(hands[two]) else two if hands[two].beats(hands[one]) else None
        self.rounds.append(Round(number, hands, winner))
        return self.rounds[-1]


Choose = Callable[[int], Awaitable[Hand]]


async def play(
    session: oofgg.PlaySession, choose: Choose, show: Callable[[Match, Round], None] = lambda _match, _round: None
) -> Match:
    """Plays a match on a session of two seats and states its result. `choose` is asked for a hand each round."""
    await session.started()
    one, two = sorted(session.seats)
    match = Match((one, two))
    thrown: dict[int, Hand] = {}

    async def throw() -> None:
        thrown[match.number] = await choose(match.number)
        await send(match.number)

    async def send(number: int) -> None:
        await session.send({"round": number, "hand": thrown[number]}, kind=THROW)

    await throw()
    async for event in session:
        if isinstance(event, oofgg.LogReset):
            # The server lost the end of the log. What was thrown stands, and a throw may come twice.
            for number in thrown:
                await send(number)
        if not isinstance(event, oofgg.Message) or event.kind != THROW:
            continue
        told = event.json()
        done = match.throw(event.seat, told["round"], Hand(told["hand"]))
        if done is None:
            continue
        show(match, done)
        if match.winner is not None:
            break
        await throw()
    places = {seat: 1 if seat == match.winner else 2 for seat in match.seats}
    await session.finish(places, scores=match.score)
    return match
