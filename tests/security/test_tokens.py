"""Forged tokens, at Envoy and at the services behind it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from oofgg.v1 import auth_pb2, auth_pb2_grpc
from pkg.auth.tokens import ServiceTokens
from pkg.clock import SystemClock
from pkg.embedded import Platform
from pkg.errors import Reason
from services.auth.keys import SigningKey
from tests.e2e.callers import METHODS, Cast, bearer, call, outcome
from tests.security.forge import claims_of, encoded, header_of, part, signing_keys, unsigned, with_hmac, with_key

THEIRS = ec.generate_private_key(ec.SECP256R1())
Forge = Callable[[str, SigningKey], str]


def public_pem(key: SigningKey) -> bytes:
    return key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hmac_with_the_public_key(token: str, key: SigningKey, secret: bytes) -> str:
    return with_hmac({**header_of(token), "alg": "HS256"}, claims_of(token), secret)


def point(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": encoded(numbers.x.to_bytes(32, "big")),
            "y": encoded(numbers.y.to_bytes(32, "big"))}  # fmt: skip


def as_admin(token: str) -> dict[str, Any]:
    return {**claims_of(token), "role": "admin"}


def with_kid(kid: Any) -> Forge:
    """Signed with a key of the attacker's, which the platform is asked to find under this name."""
    return lambda token, _: with_key({**header_of(token), "kid": kid}, claims_of(token), THEIRS)


BAD_SIGNATURES: dict[str, Forge] = {
    "alg none": lambda token, _: unsigned({**header_of(token), "alg": "none"}, as_admin(token)),
    "alg None": lambda token, _: unsigned({**header_of(token), "alg": "None"}, as_admin(token)),
    "alg nOnE with a signature": lambda token, _: unsigned({**header_of(token), "alg": "nOnE"}, as_admin(token), b"x"),
    "alg empty": lambda token, _: unsigned({**header_of(token), "alg": ""}, as_admin(token)),
    "no alg": lambda token, _: unsigned({"typ": "JWT"}, as_admin(token)),
    "no signature": lambda token, _: token.rpartition(".")[0] + ".",
    "two parts": lambda token, _: token.rpartition(".")[0],
    "a signature of zeros": lambda token, _: f"{token.rpartition('.')[0]}.{encoded(bytes(64))}",
    "another role under the signature": lambda token, _: ".".join(
        [token.split(".")[0], part(as_admin(token)), token.split(".")[2]]
    ),
    "key confusion, PEM": lambda token, key: hmac_with_the_public_key(token, key, public_pem(key)),
    "key confusion, PEM stripped": lambda token, key: hmac_with_the_public_key(token, key, public_pem(key).strip()),
    "key confusion, JWK": lambda token, key: hmac_with_the_public_key(token, key, json.dumps(key.jwk).encode()),
    "key confusion, x": lambda token, key: hmac_with_the_public_key(token, key, key.jwk["x"].encode()),
    "HMAC with nothing": lambda token, key: hmac_with_the_public_key(token, key, b""),
    "another key under our kid": lambda token, _: with_key(header_of(token), claims_of(token), THEIRS),
    "a key in the header": lambda token, _: with_key(
        {**header_of(token), "jwk": point(THEIRS)}, claims_of(token), THEIRS
    ),
    "a key by address": lambda token, _: with_key(
        {**header_of(token), "jku": "http://127.0.0.1:9/jwks.json", "x5u": "http://127.0.0.1:9/"},
        claims_of(token),
        THEIRS,
    ),
    "kid: a path": with_kid("../../../../../../dev/null"),
    "kid: a path, HMAC with nothing": lambda token, _: with_hmac(
        {"alg": "HS256", "typ": "JWT", "kid": "/dev/null"}, claims_of(token), b""
    ),
    "kid: SQL": with_kid("x' union select 'AAAA' as sealed_key; drop table signing_key; --"),
    "kid: an address": with_kid("http://127.0.0.1:9/jwks.json"),
    "kid: empty": with_kid(""),
    "kid: huge": with_kid("x" * 3_000),
    "kid: zero bytes": with_kid("\0\0\0"),
    "kid: a number": with_kid(1),
    "kid: a list": with_kid([]),
    "kid: null": with_kid(None),
    "no kid": lambda token, _: with_key({"alg": "ES256", "typ": "JWT"}, claims_of(token), THEIRS),
    "not a JWT": lambda *_: "abc",
    "empty parts": lambda *_: "..",
    "a header that is no object": lambda token, _: f"{part([])}.{token.split('.')[1]}.{token.split('.')[2]}",
}

# Signed with our own key: what is wrong is what they say.
BAD_CLAIMS: dict[str, tuple[dict[str, Any], Reason]] = {
    "another audience": ({"aud": "somebody"}, Reason.TOKEN_INVALID),
    "the services' audience": ({"aud": "oofgg-service"}, Reason.TOKEN_INVALID),
    "no audience": ({"aud": None}, Reason.TOKEN_INVALID),
    "another issuer": ({"iss": "https://evil.example"}, Reason.TOKEN_INVALID),
    "no issuer": ({"iss": None}, Reason.TOKEN_INVALID),
    "expired": ({"exp": -60}, Reason.TOKEN_EXPIRED),
    "expired long ago": ({"exp": -10 * 365 * 86_400}, Reason.TOKEN_EXPIRED),
    "no expiry": ({"exp": None}, Reason.TOKEN_INVALID),
    "not valid yet": ({"nbf": 3600}, Reason.TOKEN_INVALID),
}
BAD_FOR_SERVICES: dict[str, tuple[dict[str, Any], Reason]] = {
    **BAD_CLAIMS,
    "issued in the future": ({"iat": 3600}, Reason.TOKEN_INVALID),
    "a service's role": ({"role": "service"}, Reason.TOKEN_INVALID),
    "a role there is not": ({"role": "root"}, Reason.TOKEN_INVALID),
    "no role": ({"role": None}, Reason.TOKEN_INVALID),
    "no login": ({"sid": None}, Reason.TOKEN_INVALID),
    "no account": ({"sub": None}, Reason.TOKEN_INVALID),
    "no id": ({"jti": None}, Reason.TOKEN_INVALID),
}


@pytest.fixture(params=["through Envoy", "at the service"])
async def door(request: pytest.FixtureRequest, platform: Platform) -> AsyncIterator[grpc.aio.Channel]:
    """The platform's own, and the one behind it: a service does not rely on Envoy."""
    endpoints = platform.endpoints
    target = endpoints.envoy if request.param == "through Envoy" else endpoints.services_grpc
    async with grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as opened:
        yield opened


@pytest.fixture
def token(cast: Cast) -> str:
    return cast.console[0][1].removeprefix("Bearer ")


async def key_of(platform: Platform, token: str) -> SigningKey:
    (key,) = [key for key in await signing_keys(platform) if key.key_id == header_of(token)["kid"]]
    return key


async def attempt(channel: grpc.aio.Channel, token: str) -> tuple[grpc.StatusCode, Reason | None]:
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    code, error = await outcome(stub.GetAccount(auth_pb2.GetAccountRequest(), metadata=bearer(token), timeout=10))
    return code, error.reason if error else None


@pytest.mark.parametrize("name", BAD_SIGNATURES)
async def test_a_token_that_we_did_not_sign(door: grpc.aio.Channel, platform: Platform, token: str, name: str) -> None:
    forged = BAD_SIGNATURES[name](token, await key_of(platform, token))
    assert await attempt(door, forged) == (grpc.StatusCode.UNAUTHENTICATED, Reason.TOKEN_INVALID)
    assert (await attempt(door, token))[0] is grpc.StatusCode.OK
    assert await attempt(door, forged) == (grpc.StatusCode.UNAUTHENTICATED, Reason.TOKEN_INVALID), "the second time"


@pytest.mark.parametrize("name", BAD_FOR_SERVICES)
async def test_a_token_that_says_what_it_must_not(
    door: grpc.aio.Channel, platform: Platform, token: str, name: str
) -> None:
    changes, reason = BAD_FOR_SERVICES[name]
    key = (await key_of(platform, token)).private
    now = int(time.time())
    claims = claims_of(token)
    for claim, value in changes.items():
        if value is None:
            del claims[claim]
        else:
            claims[claim] = now + value if isinstance(value, int) else value
    assert await attempt(door, with_key(header_of(token), claims, key)) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    good = with_key(header_of(token), claims_of(token), key)
    assert (await attempt(door, good))[0] is grpc.StatusCode.OK, "the same without the change passes"


async def test_a_services_token_opens_nothing_from_outside(channel: grpc.aio.Channel, platform: Platform) -> None:
    secret = (platform.data_dir / "secrets" / "service_secret").read_text().strip()
    metadata = bearer(ServiceTokens(secret, "game", SystemClock()).issue())
    let_in = []
    for method in METHODS:
        nobody, _ = await outcome(call(channel, method, ()))
        code, _ = await outcome(call(channel, method, metadata))
        if code is not nobody:
            let_in.append(f"{method.full_name}: {code} instead of {nobody}")
    assert let_in == []


async def test_two_tokens_in_one_call(channel: grpc.aio.Channel, cast: Cast) -> None:
    """The second is not read in the place of the first, by Envoy or by a service."""
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    request = auth_pb2.GetAccountRequest()
    for metadata in ((*cast.console, *bearer("abc")), (*bearer("abc"), *cast.console)):
        code, _ = await outcome(stub.GetAccount(request, metadata=metadata, timeout=10))
        assert code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("place", ["x-access-token", "cookie", "proxy-authorization"])
async def test_a_token_in_another_place_is_none(channel: grpc.aio.Channel, cast: Cast, place: str) -> None:
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    metadata = ((place, cast.console[0][1]),)
    code, error = await outcome(stub.GetAccount(auth_pb2.GetAccountRequest(), metadata=metadata, timeout=10))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert error is not None
    assert error.reason is Reason.TOKEN_MISSING


async def test_a_token_in_the_address_is_none(envoy: str, token: str) -> None:
    async with (
        aiohttp.ClientSession(f"http://{envoy}") as session,
        session.get("/v1/auth/account", params={"access_token": token}) as response,
    ):
        assert response.status == 400  # no parameter is taken
