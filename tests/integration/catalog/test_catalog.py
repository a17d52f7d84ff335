"""GameService over real PostgreSQL and the broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from google.protobuf.field_mask_pb2 import FieldMask

from oofgg.v1 import auth_pb2, auth_pb2_grpc, game_pb2_grpc
from oofgg.v1 import game_pb2 as pb
from pkg.errors import Reason
from pkg.internal.v1 import catalog_pb2, catalog_pb2_grpc
from pkg.rpc.status import from_rpc_error
from tests.integration.calls import bearer, eventually, reason_of, register
from tests.integration.conftest import RunningServices, StartServices


@pytest.fixture
async def running(start_services: StartServices) -> RunningServices:
    return await start_services(["auth", "catalog"])


@pytest.fixture
def games(running: RunningServices) -> Any:
    return game_pb2_grpc.GameServiceStub(running.channel)


@pytest.fixture
def new_developer(running: RunningServices) -> Callable[[str], Any]:
    auth = auth_pb2_grpc.AuthServiceStub(running.channel)

    async def make(name: str) -> Any:
        registered = await register(auth, name)
        request = auth_pb2.BecomeDeveloperRequest()
        answer = await auth.BecomeDeveloper(request, metadata=bearer(registered.access_token), timeout=10)
        return bearer(answer.access_token)

    return make


async def test_a_game_lives_from_create_to_delete(games: Any, new_developer: Callable[[str], Any]) -> None:
    studio = await new_developer("studio")
    request = pb.CreateGameRequest(name=" Duel ", description="one on one", request_id="create-duel")
    game = (await games.CreateGame(request, metadata=studio, timeout=10)).game
    assert (game.name, game.settings.max_seats) == ("Duel", 16)
    assert game.match_history_topic == f"oofgg.match-history.{game.game_id}"
    assert (await games.CreateGame(request, metadata=studio, timeout=10)).game == game

    update = pb.UpdateGameRequest(
        game=pb.Game(game_id=game.game_id, name="ignored", settings=pb.GameSettings(max_seats=4)),
        update_mask=FieldMask(paths=["settings.max_seats"]),
    )
    changed = (await games.UpdateGame(update, metadata=studio, timeout=10)).game
    assert (changed.name, changed.settings.max_seats) == ("Duel", 4)
    read = pb.GetGameRequest(game_id=game.game_id)
    assert (await games.GetGame(read, metadata=studio, timeout=10)).game == changed

    await games.DeleteGame(pb.DeleteGameRequest(game_id=game.game_id), metadata=studio, timeout=10)
    assert await reason_of(games.GetGame(read, metadata=studio, timeout=10)) is Reason.GAME_NOT_FOUND
    again = pb.CreateGameRequest(name="Duel")
    assert (await games.CreateGame(again, metadata=studio, timeout=10)).game.game_id != game.game_id


async def test_names_are_unique_per_developer(games: Any, new_developer: Callable[[str], Any]) -> None:
    first, second = await new_developer("first"), await new_developer("second")
    request = pb.CreateGameRequest(name="Duel")
    await games.CreateGame(request, metadata=first, timeout=10)
    assert await reason_of(games.CreateGame(request, metadata=first, timeout=10)) is Reason.GAME_NAME_TAKEN
    await games.CreateGame(request, metadata=second, timeout=10)


async def test_lists_page_newest_first_and_only_ones_own(games: Any, new_developer: Callable[[str], Any]) -> None:
    studio, other = await new_developer("studio"), await new_developer("other")
    for number in range(5):
        await games.CreateGame(pb.CreateGameRequest(name=f"game {number}"), metadata=studio, timeout=10)
    await games.CreateGame(pb.CreateGameRequest(name="foreign"), metadata=other, timeout=10)
    names, token = [], ""
    while True:
        page = await games.ListGames(pb.ListGamesRequest(page_size=2, page_token=token), metadata=studio, timeout=10)
        names.append([game.name for game in page.games])
        token = page.next_page_token
        if not token:
            break
    assert names == [["game 4", "game 3"], ["game 2", "game 1"], ["game 0"]]


async def test_somebody_elses_game(games: Any, new_developer: Callable[[str], Any]) -> None:
    studio, thief = await new_developer("studio"), await new_developer("thief")
    game = (await games.CreateGame(pb.CreateGameRequest(name="Mine"), metadata=studio, timeout=10)).game
    update = pb.UpdateGameRequest(game=game, update_mask=FieldMask(paths=["name"]))
    delete = pb.DeleteGameRequest(game_id=game.game_id)
    read = pb.GetGameRequest(game_id=game.game_id)
    for call in (games.UpdateGame(update, metadata=thief), games.DeleteGame(delete, metadata=thief),
                 games.GetGame(read, metadata=thief)):  # fmt: skip
        assert await reason_of(call) is Reason.NOT_OWNER


@pytest.mark.parametrize(
    ("rpc", "request_", "field"),
    [
        pytest.param("CreateGame", pb.CreateGameRequest(), "name", id="name missing"),
        pytest.param("CreateGame", pb.CreateGameRequest(name="  "), "name", id="name blank"),
        pytest.param("CreateGame", pb.CreateGameRequest(name="x" * 65), "name", id="name too long"),
        pytest.param(
            "CreateGame",
            pb.CreateGameRequest(name="x", settings=pb.GameSettings(max_seats=513)),
            "settings.max_seats",
            id="too many seats",
        ),
        pytest.param("ListGames", pb.ListGamesRequest(page_size=101), "page_size", id="page too large"),
        pytest.param("GetGame", pb.GetGameRequest(), "game_id", id="id missing"),
        pytest.param("UpdateGame", pb.UpdateGameRequest(), "game", id="game missing"),
    ],
)
async def test_bad_fields_are_named(
    games: Any, new_developer: Callable[[str], Any], rpc: str, request_: Any, field: str
) -> None:
    studio = await new_developer("studio")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(games, rpc)(request_, metadata=studio, timeout=10)
    error = from_rpc_error(caught.value)
    assert error.reason is Reason.INVALID_FIELD
    assert field in {violation.field for violation in error.violations}


async def test_masks_and_tokens_that_make_no_sense(games: Any, new_developer: Callable[[str], Any]) -> None:
    studio = await new_developer("studio")
    game = (await games.CreateGame(pb.CreateGameRequest(name="Duel"), metadata=studio, timeout=10)).game
    for paths in (["owner_user_id"], []):
        update = pb.UpdateGameRequest(game=game, update_mask=FieldMask(paths=paths))
        assert await reason_of(games.UpdateGame(update, metadata=studio, timeout=10)) is Reason.INVALID_FIELD
    for token in ("garbage", "WzFd", "WyJhIiwiYiJd"):
        listing = games.ListGames(pb.ListGamesRequest(page_token=token), metadata=studio, timeout=10)
        assert await reason_of(listing) is Reason.INVALID_PAGE_TOKEN


async def test_the_topic_of_a_game_is_created(
    games: Any, new_developer: Callable[[str], Any], kafka_bootstrap: str
) -> None:
    studio = await new_developer("studio")
    game = (await games.CreateGame(pb.CreateGameRequest(name="Duel"), metadata=studio, timeout=10)).game
    silent = pb.CreateGameRequest(name="Silent", settings=pb.GameSettings(match_history_topic_disabled=True))
    assert (await games.CreateGame(silent, metadata=studio, timeout=10)).game.match_history_topic == ""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:

        async def exists() -> bool:
            return game.match_history_topic in await admin.list_topics()

        await eventually(exists)
    finally:
        await admin.close()


async def test_the_directory_is_for_services_only(
    games: Any, new_developer: Callable[[str], Any], running: RunningServices
) -> None:
    studio = await new_developer("studio")
    game = (await games.CreateGame(pb.CreateGameRequest(name="Duel"), metadata=studio, timeout=10)).game
    directory = catalog_pb2_grpc.GameDirectoryServiceStub(running.channel)
    request = catalog_pb2.LookupGameRequest(game_id=game.game_id)
    assert await reason_of(directory.LookupGame(request, timeout=10)) is Reason.TOKEN_MISSING
    assert await reason_of(directory.LookupGame(request, metadata=studio, timeout=10)) is Reason.TOKEN_INVALID
