"""Names in JSON bodies: those of a message pass in both spellings, any other one is told to the service."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass

from envoy.json_bodies import METHODS_WITH_A_BODY, UNKNOWN_FIELDS_HEADER
from envoy.render import Limits
from envoy.routes import RateClass, Route, public_routes, read_descriptors
from tests.e2e.callers import METHODS
from tests.integration.envoy.stage import Backend, Door, Signer, backend, door, inputs

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS = {f"/{method.containing_service.full_name}/{method.name}": method.input_type for method in METHODS}
ROUTES = [
    route
    for route in public_routes(read_descriptors())
    if route.json is not None and route.json.method in METHODS_WITH_A_BODY
]
JSON = "application/json"
NO_LIMITS = {rate_class: Limits(per_address=None, per_user=None) for rate_class in RateClass}


class Stage:
    def __init__(self, signer: Signer, backend: Backend, door: Door) -> None:
        self.signer = signer
        self.backend = backend
        self.door = door

    async def send(
        self, path: str, body: bytes, content_type: str | None = JSON, method: str = "POST"
    ) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {self.signer.token()}"}
        if content_type is not None:
            headers["content-type"] = content_type
        async with self.door.http.request(
            method, path, data=body, headers=headers, skip_auto_headers=["content-type"]
        ) as response:
            return response.status, await response.json(content_type=None)

    async def unknown(self, path: str, document: Any, method: str = "POST") -> str | None:
        """What the service is told of the names in a body."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        status, answer = await self.send(path, body, method=method)
        assert status == 200, answer
        return self.backend.last.headers.get(UNKNOWN_FIELDS_HEADER)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    signer = Signer()
    async with AsyncExitStack() as stack:
        stand_in = await stack.enter_async_context(backend())
        jwks_port = await stack.enter_async_context(signer.serve())
        opened = await stack.enter_async_context(
            door(inputs(stand_in.port, jwks_port, limits=NO_LIMITS), tmp_path_factory.mktemp("door"))
        )
        yield Stage(signer, stand_in, opened)


def full(kind: Descriptor) -> Any:
    """A message in which every field is set."""
    message: Any = GetMessageClass(kind)()
    for field in kind.fields:
        fill(message, field)
    return message


def fill(message: Any, field: FieldDescriptor) -> None:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        value = inner.fields_by_name["value"]
        if value.message_type is not None:
            getattr(message, field.name)["any name"].CopyFrom(full(value.message_type))
        else:
            getattr(message, field.name)["any name"] = scalar(value)
    elif inner is not None and inner.full_name == "google.protobuf.FieldMask":
        getattr(message, field.name).paths.append("game.name")
    elif inner is not None:
        target = getattr(message, field.name)
        (target.add() if field.is_repeated else target).CopyFrom(full(inner))
    elif field.is_repeated:
        getattr(message, field.name).append(scalar(field))
    else:
        setattr(message, field.name, scalar(field))


def scalar(field: FieldDescriptor) -> Any:
    texts = {FieldDescriptor.TYPE_STRING: 'a "name": {[,]} \\', FieldDescriptor.TYPE_BYTES: b"x"}
    return texts.get(field.type, 1)


def with_stranger(document: Any, name: str) -> list[tuple[str, Any]]:
    """The document with one more name, in each of its objects but maps in turn; with the path of that name."""
    found: list[tuple[str, Any]] = []

    def walk(node: Any, path: str, rebuilt: Any) -> None:
        if isinstance(node, dict) and "any name" not in node:
            found.append((path + name, rebuilt({**node, name: 1})))
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{path}{key}.", lambda new, key=key: rebuilt({**node, key: new}))
        elif isinstance(node, list):
            walk(node[0], path, lambda new: rebuilt([new, *node[1:]]))

    walk(document, "", lambda new: new)
    return found


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.method)
@pytest.mark.parametrize("proto_names", [True, False])
async def test_every_field_of_every_request_passes_by_both_of_its_names(
    stage: Stage, route: Route, proto_names: bool
) -> None:
    assert route.json is not None
    document = MessageToDict(full(REQUESTS[route.path]), preserving_proto_field_name=proto_names)
    assert await stage.unknown(route.json.path, document, route.json.method) is None


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.method)
async def test_a_name_that_is_no_field_is_told_wherever_it_stands(stage: Stage, route: Route) -> None:
    assert route.json is not None
    document = MessageToDict(full(REQUESTS[route.path]), preserving_proto_field_name=True)
    for path, spoilt in with_stranger(document, "Score"):
        assert await stage.unknown(route.json.path, spoilt, route.json.method) == path.replace(" ", "?")


SUBMIT_MANY = "/v1/leaderboards/submit-many"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"Score": 1, "score_s": {"deep": [1, {"x": 2}]}, "game_id": "g"}', "Score,score_s"),
        (b'{"scores": [{"leaderboard": "a"}, {"leaderboar": "b"}, {"leaderboard": "c", "x": 1}]}',
         "scores.leaderboar,scores.x"),
        (rb'{"game_id": "\"Score\": \\", "request_id": "{\"Score\":1}"}', None),
        (b'  {\n "game_id"\t: "g" , "scores" : [ ] }', None),
        ('{"größe": 1}'.encode(), "gr????e"),
        (b'{"a,b\\r\\nx-y: z": 1}', "a?b?r?nx-y??z"),
        (b'{"' + b"x" * 200 + b'": 1}', "x" * 64),
        (b"{" + b",".join(b'"f%d": 1' % number for number in range(50)) + b"}",
         ",".join(f"f{number}" for number in range(10))),
        (b"{}", None),
    ],
    ids=["two", "in a list", "in texts", "spaces", "not ASCII", "a header's end", "long", "many", "none"],
)  # fmt: skip
async def test_names_are_told_as_they_stand_and_texts_are_not_taken_for_names(
    stage: Stage, body: bytes, told: str | None
) -> None:
    assert await stage.unknown(SUBMIT_MANY, body) == told


async def test_a_body_of_sixty_kilobytes_is_looked_through(stage: Stage) -> None:
    entry = {"leaderboard": "laps", "score": "59000", "metadata": "x" * 500}
    document: Any = {"game_id": "g", "scores": [entry] * 100}
    assert len(json.dumps(document)) > 55_000
    assert await stage.unknown(SUBMIT_MANY, document) is None
    document["scores"][-1] = {**entry, "Score": 1}
    assert await stage.unknown(SUBMIT_MANY, document) == "scores.Score"


async def test_a_client_cannot_speak_for_envoy(stage: Stage) -> None:
    headers = {"authorization": f"Bearer {stage.signer.token()}", UNKNOWN_FIELDS_HEADER: "game_id"}
    async with stage.door.http.post(SUBMIT_MANY, json={"game_id": "g"}, headers=headers) as response:
        assert response.status == 200
    assert UNKNOWN_FIELDS_HEADER not in stage.backend.last.headers


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.method)
@pytest.mark.parametrize("content_type", [None, "text/plain", "text/plain;charset=UTF-8", "application/jsonx", ""])
async def test_a_body_that_does_not_say_it_is_json_is_refused(
    stage: Stage, route: Route, content_type: str | None
) -> None:
    assert route.json is not None
    arrived = len(stage.backend.arrivals)
    status, answer = await stage.send(route.json.path, b"{}", content_type, route.json.method)
    assert status == 415
    message = answer.get("message") or answer["error_message"]
    assert "content-type: application/json" in message
    assert len(stage.backend.arrivals) == arrived


@pytest.mark.parametrize(
    "content_type", [JSON, "Application/JSON", "application/json; charset=utf-8", "application/a+json"]
)
async def test_json_may_be_declared_as_it_usually_is(stage: Stage, content_type: str) -> None:
    status, _ = await stage.send(SUBMIT_MANY, b"{}", content_type)
    assert status == 200


@pytest.mark.parametrize("query", ["limit=5", "page_size=-1", "page_size=many"])
async def test_a_parameter_that_a_read_does_not_take_is_called_a_parameter(stage: Stage, query: str) -> None:
    headers = {"authorization": f"Bearer {stage.signer.token()}"}
    async with stage.door.http.get(f"/v1/auth/logins?{query}", headers=headers) as response:
        answer = await response.json()
    assert response.status == 400
    assert "parameter" in answer["message"]
    assert "body" not in answer["message"]


NOT_JSON = {
    "texts in single quotes": b"{'game_id': 'g', 'foo': 1}",
    "names without quotes": b'{game_id: "g", foo: 1}',
    "some in single quotes": b"""{"game_id": "g", 'foo': 4}""",
    "a quote within single quotes": b"""{"game_id": '"', "foo": 1, "bar": '"'}""",
    "a comma at the end": b'{"game_id": "g",}',
    "a comma at the end of a list": b'{"scores": [{},]}',
    "a comment": b'{"game_id": "g" /* foo */}',
    "a mark of the byte order": b'\xef\xbb\xbf{"game_id": "g"}',
    "a word": b'{"game_id": g}',
    "half of it": b'{"game_id": "g"',
    "half of a text": b'{"game_id": "g',
    "hexadecimal": b'{"game_id": 0x1}',
}


@pytest.mark.parametrize("name", NOT_JSON)
async def test_what_the_transcoder_would_take_for_json_and_is_not_is_refused(stage: Stage, name: str) -> None:
    arrived = len(stage.backend.arrivals)
    status, answer = await stage.send(SUBMIT_MANY, NOT_JSON[name])
    assert status == 400
    assert "not JSON" in answer["message"]
    assert len(stage.backend.arrivals) == arrived


@pytest.mark.parametrize("end", ["/", "//", "/.", "/./"])
async def test_a_slash_at_the_end_of_a_path_opens_no_way_around(stage: Stage, end: str) -> None:
    arrived = len(stage.backend.arrivals)
    status, _ = await stage.send(SUBMIT_MANY + end, b'{"Score": 1}', "text/plain")
    assert status in (404, 415)
    status, _ = await stage.send(SUBMIT_MANY + end, b'{"Score": 1}')
    if status == 200:
        assert stage.backend.last.headers[UNKNOWN_FIELDS_HEADER] == "Score"
    else:
        assert status == 404
        assert len(stage.backend.arrivals) == arrived


async def test_names_in_a_mask_that_is_no_text_are_told(stage: Stage) -> None:
    body = b'{"account": {"display_name": "A"}, "update_mask": {"paths": ["display_name"], "foo": 1}}'
    status, _ = await stage.send("/v1/account", body, method="PATCH")
    if status == 200:
        assert "update_mask.foo" in stage.backend.last.headers[UNKNOWN_FIELDS_HEADER]
    else:
        assert status == 400
