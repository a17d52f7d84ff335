"""The two classic JSON endpoints, as clients of the system before know them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import pytest

from oofgg.v1 import auth_pb2, auth_pb2_grpc
from tests.e2e.callers import PASSWORD, bearer, register

LOGIN, VALIDATE = "/api/login", "/api/validate_session"
LOGIN_FAILED = {"user_id": "", "nickname": "", "session_token": "", "success": False}
VALIDATE_FAILED = {"user_id": "", "is_valid": False}
JSON = {"content-type": "application/json"}


@pytest.fixture
async def http(envoy: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{envoy}") as session:
        yield session


@pytest.fixture
async def player(channel: grpc.aio.Channel) -> tuple[str, str]:
    """User id and name."""
    tokens = await register(channel, "classic")
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    answer = await stub.GetAccount(auth_pb2.GetAccountRequest(), metadata=bearer(tokens.access_token), timeout=10)
    return tokens.user_id, answer.account.username


async def post(http: aiohttp.ClientSession, path: str, body: Any, **more: Any) -> tuple[int, dict[str, Any]]:
    told: dict[str, Any] = {"data": body, "headers": JSON} if isinstance(body, bytes) else {"json": body}
    async with http.post(path, **told, **more) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


async def test_login_then_validate(http: aiohttp.ClientSession, player: tuple[str, str]) -> None:
    user_id, name = player
    status, answer = await post(http, LOGIN, {"username": name, "password": PASSWORD})
    token = answer.pop("session_token")
    assert (status, answer) == (
        200,
        {"user_id": user_id, "nickname": name, "success": True, "error_message": ""},
    )
    assert await post(http, VALIDATE, {"session_token": token}) == (
        200,
        {"user_id": user_id, "is_valid": True, "error_message": ""},
    )


async def test_a_session_that_was_logged_out_is_no_session(
    http: aiohttp.ClientSession, player: tuple[str, str], channel: grpc.aio.Channel
) -> None:
    _, answer = await post(http, LOGIN, {"username": player[1], "password": PASSWORD})
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    await stub.Logout(auth_pb2.LogoutRequest(), metadata=bearer(answer["session_token"]), timeout=10)
    status, refused = await post(http, VALIDATE, {"session_token": answer["session_token"]})
    assert status in (200, 401)  # it takes a moment to be known
    while status == 200:
        status, refused = await post(http, VALIDATE, {"session_token": answer["session_token"]})
    assert refused.pop("error_message")
    assert refused == VALIDATE_FAILED


@pytest.mark.parametrize(
    ("path", "body", "status", "failed"),
    [
        pytest.param(LOGIN, {"username": "", "password": "x"}, 400, LOGIN_FAILED, id="username empty"),
        pytest.param(LOGIN, {"username": "ada", "password": ""}, 400, LOGIN_FAILED, id="password empty"),
        pytest.param(LOGIN, {"username": "ada"}, 400, LOGIN_FAILED, id="password missing"),
        pytest.param(LOGIN, {}, 400, LOGIN_FAILED, id="nothing"),
        pytest.param(LOGIN, {"username": "ada", "password": "wrong"}, 401, LOGIN_FAILED, id="wrong"),
        pytest.param(LOGIN, {"username": "ada", "password": 1, "x": []}, 400, LOGIN_FAILED, id="another type"),
        pytest.param(LOGIN, b'{"username": "ada"', 400, LOGIN_FAILED, id="login malformed"),
        pytest.param(LOGIN, b"", 400, LOGIN_FAILED, id="login without a body"),
        pytest.param(LOGIN, b"[]", 400, LOGIN_FAILED, id="a list"),
        pytest.param(LOGIN, b'"ada"', 400, LOGIN_FAILED, id="a text"),
        pytest.param(LOGIN, b"\xff\xfe", 400, LOGIN_FAILED, id="no text at all"),
        pytest.param(LOGIN, {"username": 'a"b\\c', "password": "x"}, 401, LOGIN_FAILED, id="quotes"),
        pytest.param(LOGIN, {"username": 'a"b\\c\n', "password": "x"}, 400, LOGIN_FAILED, id="a line break"),
        pytest.param(
            LOGIN, {"username": "ada", "password": "x", "game": "g"}, 400, LOGIN_FAILED, id="an unknown field"
        ),
        pytest.param(LOGIN, {"username": "x" * 1000, "password": "x"}, 400, LOGIN_FAILED, id="too long"),
        pytest.param(VALIDATE, {"session_token": ""}, 400, VALIDATE_FAILED, id="token empty"),
        pytest.param(VALIDATE, {}, 400, VALIDATE_FAILED, id="token missing"),
        pytest.param(VALIDATE, {"session_token": "abc"}, 401, VALIDATE_FAILED, id="token unknown"),
        pytest.param(VALIDATE, b"{", 400, VALIDATE_FAILED, id="validate malformed"),
    ],
)
async def test_failures_have_the_form_of_the_answers(
    http: aiohttp.ClientSession, path: str, body: Any, status: int, failed: dict[str, Any]
) -> None:
    got, answer = await post(http, path, body)
    assert isinstance(answer.pop("error_message"), str)
    assert (got, answer) == (status, failed)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(("path", "failed"), [(LOGIN, LOGIN_FAILED), (VALIDATE, VALIDATE_FAILED)])
async def test_another_method(http: aiohttp.ClientSession, method: str, path: str, failed: dict[str, Any]) -> None:
    async with http.request(method, path) as response:
        assert response.status == 405
        assert response.headers["allow"] == "POST"
        answer = await response.json()
    assert answer.pop("error_message")
    assert answer == failed


async def test_parameters_in_the_address_are_not_read(http: aiohttp.ClientSession, player: tuple[str, str]) -> None:
    """A password there would be in the logs of every proxy on the way."""
    async with http.post(LOGIN, params={"username": player[1], "password": PASSWORD}, json={}) as response:
        assert response.status == 400
        assert (await response.json())["success"] is False
    login = {"username": player[1], "password": PASSWORD}
    async with http.post("/v1/auth/login", params=login, json={}) as response:
        assert response.status == 400
        assert (await response.json())["details"][0]["reason"] == "INVALID_FIELD"
