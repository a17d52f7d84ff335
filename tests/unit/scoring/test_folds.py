"""Folds of a history: sums as counted by hand, ratings as if each match had been rated on its own."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.scoring.matches import Match, Outcome, Participant, ResultState, outcomes
from services.scoring.ratings.rules import Rating, RatingRules, beginning, rate
from services.scoring.rebuilding.folds import RatingFold, StandingFold

START = datetime(2026, 1, 1, tzinfo=UTC)
GONE = "deleted player"
Told = tuple[list[str], list[int], int, str]
RULES = (RatingRules.filled(), RatingRules.filled(mu=1500))

seats = st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True)
matches = st.lists(
    st.tuples(
        seats, st.lists(st.integers(1, 3), min_size=4, max_size=4), st.integers(0, 5), st.sampled_from(["", "q"])
    ),
    max_size=30,
)


def history(told: list[Told], gone: str = "") -> list[Match]:
    found = []
    for number, (users, placements, minute, queue) in enumerate(told):
        participants = tuple(
            Participant(seat, user, GONE if user in gone else f"{user} {number}", 0, placement, seat)
            for seat, (user, placement) in enumerate(zip(users, placements, strict=False), 1)
        )
        judged = tuple(
            Participant(one.seat, one.user_id, one.username, 0, one.placement, one.score, outcome)
            for one, outcome in zip(participants, outcomes(participants), strict=True)
        )
        time = START + timedelta(minutes=minute)
        found.append(Match(str(number), "g", ResultState.STATED, judged, "", {}, None, time, queue))
    return found


@given(matches, st.sampled_from(["", "a", "bc"]))
def test_standings_are_sums_without_those_who_are_gone(told: list[Told], gone: str) -> None:
    fold = StandingFold()
    found = history(told, gone)
    for match in found:
        fold.take(match, GONE)
    played = defaultdict(list)
    for match in found:
        for one in match.participants:
            if one.username != GONE:
                played[one.user_id].append((match.finish_time, one))
    assert fold.sums.keys() == played.keys()
    for user, games in played.items():
        sums = fold.sums[user]
        assert [sums.wins, sums.losses, sums.draws] == [
            sum(one.outcome is outcome for _, one in games) for outcome in (Outcome.WIN, Outcome.LOSS, Outcome.DRAW)
        ]
        assert sums.score == sum(one.score for _, one in games)
        latest = max(time for time, _ in games)
        assert (sums.update_time, sums.username) == (
            latest,
            [one.username for time, one in games if time == latest][-1],
        )


@given(matches, st.lists(st.sampled_from(RULES), min_size=30, max_size=30), st.integers(0, 30))
def test_ratings_come_out_as_they_did_when_somebody_is_deleted_in_between(
    told: list[Told], rules: list[RatingRules], deleted_at: int
) -> None:
    """A live platform rates match by match, and renames `a` at some moment; afterwards `a` plays no more."""
    told = [
        (users if number < deleted_at else [user for user in users if user != "a"] or ["b"], placements, minute, queue)
        for number, (users, placements, minute, queue) in enumerate(told)
    ]
    live: dict[tuple[str, str], Rating] = {}
    for match, by in zip(history(told), rules, strict=False):
        for one in match.participants:
            live.setdefault((match.queue, one.user_id), beginning(by))
        before = {one.user_id: live[match.queue, one.user_id] for one in match.participants}
        for user, change in rate(match.participants, before, by).items():
            live[match.queue, user] = change.after

    renamed = [
        (["z" if user == "a" else user for user in users], placements, minute, queue)
        for users, placements, minute, queue in told
    ]
    afterwards, meanwhile = RatingFold(), RatingFold()
    for number, (old, new, by) in enumerate(zip(history(told), history(renamed, "z"), rules, strict=False)):
        afterwards.take(new, by, GONE)
        if number == deleted_at:
            meanwhile.rename(dict.fromkeys(meanwhile.seats_of({"a"}), "z"))
        meanwhile.take(old if number < deleted_at else new, by, GONE)
    for (queue, user), rating in live.items():
        for fold in (afterwards, meanwhile):
            skill = fold.of(queue, user) or (fold.of(queue, "z") if user == "a" else None)
            assert (skill.rating if skill else None) == (rating if rating.matches else None)
