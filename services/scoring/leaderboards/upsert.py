"""One statement per kind of rule that takes scores in: what the operator says happens where the row is locked."""

from __future__ import annotations

from functools import cache
from typing import Final

from services.scoring.leaderboards.places import LEAST, MOST
from services.scoring.leaderboards.rules import Operator

# Ids travel as text: a UUID object costs more than all the rest of a row.
COLUMNS: Final = "e.user_id::text, e.username, e.score, e.subscore, e.attempts, e.metadata, e.update_time, e.place"

_NEW_PAIR: Final = "(excluded.score, excluded.subscore) {} (e.score, e.subscore)"
# `(select $6)` hides a value from the planner. One that sees how many rows come believes that a plan made for them
# pays, and plans every time, which costs more than ten rows do.
# Rows are locked in one order before they get their turns in another, so that two statements cannot wait for each
# other. (Two that bring the same new entries may; one of them is tried again.)
_LOCKED: Final = """
    with locked as materialized (
        select l.turn
        from (select u::uuid as user_id from unnest(string_to_array((select $6::text), ',')) u order by 1) i
        cross join lateral (
            select e.turn from leaderboard_entry e
            where e.user_id = i.user_id and e.leaderboard_id = $1 and e.window_start = $2 for update
        ) l
    )
"""
_STATEMENT: Final = """
    insert into leaderboard_entry as e (user_id, leaderboard_id, window_start, update_time, score, subscore, turn,
        attempts, ascending, username, metadata)
    select i.user_id::uuid, $1, $2, $3, {first}, i.subscore, nextval('leaderboard_turn'), 1, $4,
        coalesce(i.username, ''), coalesce(i.metadata, '')
    from unnest(string_to_array((select $6::text), ','), string_to_array((select $7::text), ',')::bigint[],
        string_to_array((select $8::text), ',')::bigint[], (select $9::text[]), (select $10::text[])
    ) as i (user_id, score, subscore, username, metadata)
    where not exists (select from forgotten f where f.user_id = i.user_id::uuid) {after_locks}
    on conflict (user_id, leaderboard_id, window_start) do update set
        {values},
        turn = case when {changes} then nextval('leaderboard_turn') else e.turn end,
        update_time = case when {changes} then excluded.update_time else e.update_time end,
        attempts = e.attempts + 1,
        username = case when excluded.username = '' then e.username else excluded.username end
    where ($5 = 0 or e.attempts < $5) and {fits}
    returning new.user_id::text as user_id, new.username, new.score, new.subscore, new.attempts, new.metadata,
        new.update_time, new.place, old.turn is distinct from new.turn as changed
"""


@cache
def upsert(operator: Operator, *, ascending: bool, in_order: bool, saturating: bool = False) -> str:
    """The statement for a window of a leaderboard with this operator and order.

    Parameters are leaderboard, window, time, whether less is better, and the attempts a player has (0: any number);
    then users, scores and subscores, each joined by commas (to encode an array costs more than to split a text), and
    arrays of names and metadata, empty where there are none. No two rows may be of one player. With `in_order` the
    first row wins ties; without, rows must be sorted by player. Rows that do not come back were refused. With
    `saturating` a sum that does not fit into 64 bits stays at its limit instead of being refused: a result that was
    accepted counts.
    """
    match operator:
        case Operator.BEST:
            changes = _NEW_PAIR.format("<" if ascending else ">")
            values = ", ".join(
                f"{name} = case when {changes} then excluded.{name} else e.{name} end"
                for name in ("score", "subscore", "metadata")
            )
            first, fits = "i.score", "true"
        case Operator.LAST:
            changes = _NEW_PAIR.format("is distinct from")
            values = ", ".join(f"{name} = excluded.{name}" for name in ("score", "subscore", "metadata"))
            first, fits = "i.score", "true"
        case Operator.SUM:
            changes = "(excluded.score, excluded.subscore) <> (0, 0)"
            add = _saturated if saturating else _added
            values = f"{add('score')}, {add('subscore')}, metadata = excluded.metadata"
            first, fits = "i.score", "true" if saturating else f"{_fits('score')} and {_fits('subscore')}"
        case Operator.INCREMENT:
            changes = "true"
            values = f"score = e.score + 1, {_added('subscore')}, metadata = excluded.metadata"
            first, fits = "1", _fits("subscore")
    after_locks = "and (select count(*) from locked) >= 0" if in_order else ""
    statement = _STATEMENT.format(first=first, values=values, changes=changes, fits=fits, after_locks=after_locks)
    return _LOCKED + statement if in_order else statement


def _added(name: str) -> str:
    return f"{name} = e.{name} + excluded.{name}"


def _saturated(name: str) -> str:
    return f"{name} = least(greatest(e.{name}::numeric + excluded.{name}, {LEAST}), {MOST})::bigint"


def _fits(name: str) -> str:
    """Whether a sum fits into 64 bits."""
    return (
        f"case when excluded.{name} >= 0 then e.{name} <= {MOST} - excluded.{name} "
        f"else e.{name} >= ({LEAST} - excluded.{name}) end"
    )
