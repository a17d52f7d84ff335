"""What a login may expect of `auth`, against a model: whatever is done in whatever order, nothing that was ended works,
and nothing that is valid is refused."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pkg.auth.caller import Caller
from pkg.errors import NotFound, Reason, Unauthenticated
from services.auth.identity import Tokens
from tests.integration.auth.stage import (
    ACCESS_SECONDS,
    REFRESH_LIFE,
    SOMEWHERE,
    IdentityStage,
    identity_stage,
)

T = TypeVar("T")
PATIENCE = 30.0
# Needed for accounts that may own games only.
NO_CALL: Any = None


@dataclass(eq=False)
class Person:
    """An account as its owner knows it."""

    name: str
    password: str
    changes: int = 0
    deleted: bool = False


@dataclass(eq=False)
class Family:
    """A login."""

    owner: Person
    expire_time: datetime
    ended: bool = False
    tokens: list[str] = field(default_factory=list)
    """All refresh tokens it ever had; the last is the one that has not been used."""
    last_used: str = ""
    """The one whose use brought the last: until that is used in turn, it may come again for a while."""
    last_use: datetime | None = None


@dataclass(eq=False)
class Access:
    """An access token."""

    family: Family
    text: str
    expire_time: datetime


def machine(stage: IdentityStage, loop: asyncio.AbstractEventLoop, seen: Counter[str]) -> type[RuleBasedStateMachine]:
    grace = timedelta(seconds=stage.identity.settings.refresh_grace_seconds)
    # Which of those there are; counted from the newest.
    which = st.integers(0, 5)

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE)

    def refused(work: Coroutine[Any, Any, Any], reason: Reason) -> None:
        with pytest.raises(Unauthenticated) as caught:
            run(work)
        assert caught.value.reason is reason

    class Logins(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.people: list[Person] = []
            self.families: list[Family] = []
            self.accesses: list[Access] = []

        @property
        def now(self) -> datetime:
            return stage.clock.now()

        @property
        def valid(self) -> list[Access]:
            """Tokens that have to work, newest first."""
            return [each for each in reversed(self.accesses) if self.is_valid(each)]

        def is_valid(self, access: Access) -> bool:
            return not access.family.ended and access.expire_time > self.now

        def is_open(self, family: Family) -> bool:
            return not family.ended and family.expire_time > self.now

        def given(self, family: Family, tokens: Tokens) -> None:
            """Notes a new pair."""
            family.tokens.append(tokens.refresh)
            family.expire_time = self.now + REFRESH_LIFE
            access = Access(family, tokens.access.text, self.now + timedelta(seconds=ACCESS_SECONDS))
            self.accesses.append(access)

        def new_family(self, person: Person, tokens: Tokens) -> None:
            self.families.append(Family(person, self.now))
            self.given(self.families[-1], tokens)

        def end(self, families: Iterable[Family]) -> None:
            for family in families:
                family.ended = True

        def caller(self, access: Access) -> Caller:
            """As the pipeline finds it before any rule is asked."""
            found = run(stage.caller(access.text))
            assert found is not None
            return found

        def siblings(self, access: Access) -> list[Family]:
            return [each for each in self.families if each.owner is access.family.owner and self.is_open(each)]

        @initialize()
        def register_two(self) -> None:
            for _ in range(2):
                person = Person(f"ada{os.urandom(6).hex()}", "correct horse 0")
                self.people.append(person)
                self.new_family(person, run(stage.register(person.name, person.password)))

        @rule(number=st.integers(0, 1), changes=st.integers(0, 3))
        def log_in(self, number: int, changes: int) -> None:
            """With the password of today, or with one from before or to come."""
            person = self.people[number]
            work = stage.login(person.name, f"correct horse {changes}")
            if person.deleted or changes != person.changes:
                seen["login refused"] += 1
                refused(work, Reason.BAD_CREDENTIALS)
            else:
                seen["login"] += 1
                self.new_family(person, run(work))

        @rule(family=which)
        def refresh(self, family: int) -> None:
            """With the token at hand."""
            self.refresh_with(self.families[-1 - family % len(self.families)], back=0)

        @rule(number=which, times=st.integers(1, 3))
        def lose_replies(self, number: int, times: int) -> None:
            """And ask again with the token that was used."""
            if valid := self.valid:
                family = valid[number % len(valid)].family
                for back in range(times + 1):
                    self.refresh_with(family, back=back)

        @rule(number=which, back=st.integers(1, 3))
        def use_an_old_one(self, number: int, back: int) -> None:
            """With what is long replaced, or was just now."""
            if valid := self.valid:
                self.refresh_with(valid[number % len(valid)].family, back=back)

        def refresh_with(self, told: Family, *, back: int) -> None:
            token = told.tokens[-1 - back % len(told.tokens)]
            work = stage.identity.refresh(token, SOMEWHERE)
            lost = token == told.last_used and self.now - (told.last_use or self.now) <= grace
            if not self.is_open(told):
                seen["refresh of a login that has ended"] += 1
                refused(work, Reason.REFRESH_TOKEN_INVALID)
            elif token != told.tokens[-1] and not lost:
                seen["refresh token used again"] += 1
                refused(work, Reason.REFRESH_TOKEN_INVALID)
                self.end([told])
            else:
                seen["refresh in the grace" if lost else "refresh"] += 1
                if not lost:
                    told.last_used, told.last_use = token, self.now
                self.given(told, run(work))

        @rule(number=which)
        def log_out(self, number: int) -> None:
            if valid := self.valid:
                seen["logout"] += 1
                access = valid[number % len(valid)]
                run(stage.identity.logout(self.caller(access), SOMEWHERE))
                self.end([access.family])

        @rule(number=which, victim=which)
        def revoke_another(self, number: int, victim: int) -> None:
            if not (valid := self.valid):
                return
            access, other = valid[number % len(valid)], valid[victim % len(valid)]
            caller, login_id = self.caller(access), self.caller(other).login_id
            if other.family.owner is access.family.owner:
                seen["revoked"] += 1
                run(stage.identity.revoke_login(caller, login_id, SOMEWHERE))
                self.end([other.family])
            else:
                seen["revoking somebody else's refused"] += 1
                with pytest.raises(NotFound):
                    run(stage.identity.revoke_login(caller, login_id, SOMEWHERE))

        @rule(number=which, keep=st.booleans())
        def revoke_all(self, number: int, keep: bool) -> None:
            if valid := self.valid:
                seen["revoked all"] += 1
                access = valid[number % len(valid)]
                doomed = [family for family in self.siblings(access) if not (keep and family is access.family)]
                ended = run(stage.identity.revoke_all_logins(self.caller(access), SOMEWHERE, keep_current=keep))
                assert ended == len(doomed)
                self.end(doomed)

        @rule(number=which)
        def change_the_password(self, number: int) -> None:
            if valid := self.valid:
                seen["password changed"] += 1
                access = valid[number % len(valid)]
                owner = access.family.owner
                new = f"correct horse {owner.changes + 1}"
                run(stage.self_service.change_password(self.caller(access), owner.password, new, SOMEWHERE))
                owner.password, owner.changes = new, owner.changes + 1
                self.end(family for family in self.siblings(access) if family is not access.family)

        @precondition(lambda self: len(self.families) > 6)
        @rule(number=which)
        def delete_the_account(self, number: int) -> None:
            if valid := self.valid:
                seen["account deleted"] += 1
                access = valid[number % len(valid)]
                owner, caller = access.family.owner, self.caller(access)
                run(stage.self_service.delete(caller, owner.name, owner.password, NO_CALL, SOMEWHERE))
                owner.deleted = True
                self.end(family for family in self.families if family.owner is owner)

        @rule(seconds=st.sampled_from([1, 9, 11, ACCESS_SECONDS, REFRESH_LIFE.total_seconds() - ACCESS_SECONDS]))
        def wait(self, seconds: float) -> None:
            if self.now < datetime.now(UTC) - timedelta(hours=1):
                stage.clock.turn(seconds)

        @invariant()
        def what_has_ended_is_refused_and_nothing_else(self) -> None:
            wrong = run(self.settled())
            assert wrong == []

        async def settled(self) -> list[Access]:
            """What is taken and should not be, or the other way, once this process has heard of what was ended."""
            async with asyncio.timeout(PATIENCE), stage.database.acquire() as connection:
                while await connection.fetchval("select count(*) from revocation where not published"):
                    await asyncio.sleep(0.005)
                rows = await connection.fetch("select login_id from revocation order by end_time desc limit 20")
                while not all(stage.revocations.is_revoked(str(row["login_id"])) for row in rows):
                    await asyncio.sleep(0.005)
            wrong = []
            for access in self.accesses:
                taken = await stage.caller(access.text) is not None
                seen["taken" if taken else "not taken"] += 1
                if taken is not self.is_valid(access):
                    wrong.append(access)
            return wrong

    return Logins


MACHINES = 80
STEPS = 30
EVENTS = {"login", "login refused", "refresh", "refresh of a login that has ended", "logout", "taken", "not taken"}


@pytest.fixture
async def stage(postgres_url: str, redis_url: str) -> AsyncIterator[IdentityStage]:
    async with identity_stage(postgres_url, redis_url) as opened:
        yield opened


async def test_no_order_of_events_lets_anybody_in_or_keeps_anybody_out(stage: IdentityStage) -> None:
    seen: Counter[str] = Counter()
    logins = machine(stage, asyncio.get_running_loop(), seen)
    chosen = settings(max_examples=MACHINES, stateful_step_count=STEPS, database=None)
    await asyncio.to_thread(run_state_machine_as_test, logins, settings=chosen)
    assert set(seen) >= EVENTS, "the model has not met what it is about"
