"""Ratings: what a result says about the skill of those who played.

The model is Weng-Lin with the Bradley-Terry likelihood and partial pairing (R. C. Weng, C.-J. Lin: A Bayesian
Approximation Method for Online Ranking, Journal of Machine Learning Research 12, 2011), as `openskill` has it. Skills
are normal distributions; a result moves their means and narrows them. Why this one of its models: docs/decisions/0009.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from openskill.models import BradleyTerryPart

from pkg.errors import invalid_field
from services.scoring.matches import Participant, RatingShift, RatingView

_MU: Final = 25.0
_SIGMA_SHARE: Final = 1 / 3
_BETA_SHARE: Final = 1 / 6
_TAU_SHARE: Final = 1 / 300
_PROVISIONAL_MATCHES: Final = 10
# What a queue may choose: with less, the squares that the model divides by vanish in floating point.
LEAST_MU: Final = 1.0
LEAST_SPREAD: Final = 0.001
# Between sides whose skills are further apart than this many `beta`, the winner is certain. The exponentials of the
# model overflow at about three times as much.
_MOST_BETAS_APART: Final = 300.0


@dataclass(frozen=True, slots=True)
class RatingRules:
    """How a queue rates. All are skill, but for the matches before a rating is believed."""

    mu: float
    sigma: float
    beta: float
    tau: float
    provisional_matches: int

    @classmethod
    def filled(
        cls, *, mu: float = 0, sigma: float = 0, beta: float = 0, tau: float = 0, provisional_matches: int = 0
    ) -> RatingRules:
        """With defaults in the place of zeros.

        Raises InvalidArgument for values so small that nothing can be computed with them.
        """
        told = {"mu": (mu, LEAST_MU), "sigma": (sigma, LEAST_SPREAD), "beta": (beta, LEAST_SPREAD)}
        for name, (value, least) in {**told, "tau": (tau, LEAST_SPREAD)}.items():
            if value and value < least:
                raise invalid_field(f"rules.{name}", f"must be 0 for the default, or at least {least}")
        mu = mu or _MU
        return cls(
            mu,
            sigma or mu * _SIGMA_SHARE,
            beta or mu * _BETA_SHARE,
            tau or mu * _TAU_SHARE,
            provisional_matches or _PROVISIONAL_MATCHES,
        )

    @classmethod
    def from_list(cls, numbers: Sequence[float]) -> RatingRules:
        """What `as_list` told."""
        mu, sigma, beta, tau, provisional = numbers
        return cls(mu, sigma, beta, tau, int(provisional))

    def as_list(self) -> list[float]:
        """All of them, in the order in which they are declared."""
        return [self.mu, self.sigma, self.beta, self.tau, float(self.provisional_matches)]


DEFAULT_RULES: Final = RatingRules.filled()


@dataclass(frozen=True, slots=True)
class Rating:
    """How good a player is: mean and standard deviation of the skill, and the matches it was learnt from."""

    mu: float
    sigma: float
    matches: int

    @property
    def ordinal(self) -> float:
        """The skill that the player very probably has at least."""
        return self.mu - 3 * self.sigma

    def shown(self, rules: RatingRules) -> RatingView:
        """As it is shown."""
        return RatingView(self.mu, self.sigma, self.matches, self.is_provisional(rules))

    def is_provisional(self, rules: RatingRules) -> bool:
        """Whether it rests on too few matches to be believed."""
        return self.matches < rules.provisional_matches


@dataclass(frozen=True, slots=True)
class RatingChange:
    """What a match did to a rating."""

    before: Rating
    after: Rating

    def shown(self, rules: RatingRules) -> RatingShift:
        """As it is shown."""
        return RatingShift(self.before.shown(rules), self.after.shown(rules))


def beginning(rules: RatingRules) -> Rating:
    """The rating everybody begins with."""
    return Rating(rules.mu, rules.sigma, 0)


def rate(
    participants: Sequence[Participant], ratings: Mapping[str, Rating], rules: RatingRules
) -> dict[str, RatingChange]:
    """What a decided match does to the ratings of its participants, by user id.

    Players of a team win and lose with it, at the best place that any of them has; a player without a team is alone. A
    match with one side alone changes nothing. Never raises for ratings that are finite: whatever the rules were in the
    past, a result that was accepted is rated.
    """
    sides: dict[tuple[int, int], list[Participant]] = {}
    for participant in participants:
        side = (participant.team, 0) if participant.team else (0, participant.seat)
        sides.setdefault(side, []).append(participant)
    if len(sides) < 2:
        return {}
    beta, tau = max(rules.beta, LEAST_SPREAD), max(rules.tau, LEAST_SPREAD)
    model = BradleyTerryPart(mu=rules.mu, sigma=rules.sigma, beta=beta, tau=tau)
    shifts = _shifts([[ratings[member.user_id].mu for member in members] for members in sides.values()], beta)
    teams = [
        [model.rating(ratings[member.user_id].mu + shift, ratings[member.user_id].sigma) for member in members]
        for members, shift in zip(sides.values(), shifts, strict=True)
    ]
    ranks = [float(min(member.placement for member in members)) for members in sides.values()]
    changes: dict[str, RatingChange] = {}
    for members, shift, rated in zip(sides.values(), shifts, model.rate(teams, ranks=ranks), strict=True):
        for member, found in zip(members, rated, strict=True):
            before = ratings[member.user_id]
            after = Rating(found.mu - shift, found.sigma, before.matches + 1)
            changes[member.user_id] = RatingChange(before, after)
    return changes


def _shifts(sides: Sequence[Sequence[float]], beta: float) -> list[float]:
    """What to add to the mean of each player of a side so that the sides are near enough for the model.

    0 for all of them but in matches between sides that are hopelessly unequal.
    """
    sums = [math.fsum(means) for means in sides]
    middle, reach = (min(sums) + max(sums)) / 2, _MOST_BETAS_APART * beta / 2
    nearer = [min(max(total, middle - reach), middle + reach) for total in sums]
    return [
        (new - old) / len(means) if new != old else 0.0 for means, old, new in zip(sides, sums, nearer, strict=True)
    ]
