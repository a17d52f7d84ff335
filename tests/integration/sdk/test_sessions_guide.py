"""What docs/how-to/sessions.md says about lists, newcomers and seats."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import oofgg
from oofgg import errors
from tests.integration.sdk.stage import Stage
from tests.integration.sdk.test_readme import ROOT, run

GUIDE = ROOT / "docs" / "how-to" / "sessions.md"
PATIENCE = 15.0


@pytest.fixture
def examples() -> dict[str, Any]:
    return run(GUIDE)


async def test_a_list_shows_every_session_that_is_not_over_with_all_that_is_in_it(
    stage: Stage, examples: dict[str, Any]
) -> None:
    waiting = await stage.ada.sessions.create(label="casual", attributes={"map": "ice"}, max_seats=3)
    full = await stage.bob.sessions.create(label="casual", min_seats=1, max_seats=1)
    closed = await stage.ada.sessions.create(label="casual")
    await stage.ada.sessions.join(waiting)
    await stage.bob.sessions.join(full)
    await stage.ada.sessions.close(closed)
    listed = [room async for room in stage.bob.sessions.list()]
    assert [room.session_id for room in listed] == [full.session_id, waiting.session_id]
    assert listed[0].state is oofgg.SessionState.STARTED
    assert [seat.username.partition("-")[0] for seat in listed[1].seats.values()] == ["ada"]
    assert await examples["rooms"](stage.bob) == ["ice: 1 of 3"]


@pytest.mark.parametrize(
    ("after_seq", "reliable", "latest"),
    [
        pytest.param(0, ["first", "second", "third"], ["here"], id="from the first"),
        pytest.param(None, ["third"], [], id="from now on"),
    ],
)
async def test_a_newcomer_receives_what_the_guide_says(
    stage: Stage, after_seq: int | None, reliable: list[str], latest: list[str]
) -> None:
    session = await stage.ada.sessions.create(min_seats=1, max_seats=2)
    async with asyncio.timeout(PATIENCE), stage.ada.play(session) as ada:
        await ada.send("here", delivery=oofgg.Delivery.LATEST, key="pose")
        await ada.send("first")
        await ada.send("psst", to=ada.seat)
        await ada.send("second")
        await ada.flush()
        async with stage.bob.play(session, after_seq=after_seq) as bob:
            assert bob.seats.keys() == {1, 2}, "the session is known in any case"
            await ada.send("third")
            seen: list[oofgg.Message] = []
            async for event in bob:
                if isinstance(event, oofgg.Message):
                    seen.append(event)
                    if event.text() == "third":
                        break
            assert [event.text() for event in seen if event.seq] == reliable
            if not latest:
                assert not [event for event in seen if not event.seq]
            else:
                while not [event for event in seen if not event.seq]:
                    seen += [event for event in [await anext(bob)] if isinstance(event, oofgg.Message)]
                assert [event.text() for event in seen if not event.seq] == latest


async def test_a_session_has_two_seats_and_a_game_sixteen_until_its_developer_says_more(stage: Stage) -> None:
    assert (await stage.ada.sessions.create()).max_seats == 2
    assert (await stage.ada.sessions.create(max_seats=16)).max_seats == 16
    with pytest.raises(errors.InvalidArgument, match="at most 16 seats"):
        await stage.ada.sessions.create(max_seats=17)
    large = await stage.studio.games.create("Large", settings=oofgg.GameSettings(max_seats=512))
    made = await stage.studio.sessions.create(max_seats=512, game_id=large.game_id)
    assert made.max_seats == 512
    with pytest.raises(errors.InvalidArgument):
        await stage.studio.games.create("Larger", settings=oofgg.GameSettings(max_seats=513))
