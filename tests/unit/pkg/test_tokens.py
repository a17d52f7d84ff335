"""Access tokens and service tokens against forgeries and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkg.auth.caller import Caller, CallerRole
from pkg.auth.tokens import ServiceTokens, TokenVerifier, sign_access_token
from pkg.errors import Reason, Unauthenticated
from pkg.ids import new_id

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
ADA = Caller(user_id="u1", username="ada", role=CallerRole.PLAYER, game_id="g1", login_id="s1")


class TurnedClock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


class Keys:
    async def get(self, key_id: str) -> ec.EllipticCurvePublicKey | None:
        return KEY.public_key() if key_id == "k1" else None


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def verifier(clock: TurnedClock) -> TokenVerifier:
    return TokenVerifier(Keys(), clock)


def sign(clock: TurnedClock, key: ec.EllipticCurvePrivateKey = KEY, key_id: str = "k1") -> str:
    return sign_access_token(ADA, key=key, key_id=key_id, clock=clock, new_id=new_id, seconds=60)


async def test_a_signed_token_gives_its_caller_until_it_expires(verifier: TokenVerifier, clock: TurnedClock) -> None:
    token = sign(clock)
    for _ in range(2):
        assert (await verifier.verify(token)).caller == ADA
    clock.time += timedelta(seconds=61)
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(token)
    assert caught.value.reason is Reason.TOKEN_EXPIRED


def forged(clock: TurnedClock, *, algorithm: str = "ES256", key: Any = KEY, kid: Any = "k1", **changed: Any) -> str:
    now = int(clock.now().timestamp())
    claims = {
        "iss": "oofgg", "aud": "oofgg", "sub": "u1", "name": "ada", "role": "player", "game": "g1", "sid": "s1",
        "iat": now, "exp": now + 60, "jti": "j", **changed,
    }  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"key": OTHER}, id="signed with another key"),
        pytest.param({"kid": "k2"}, id="unknown kid"),
        pytest.param({"kid": None}, id="no kid"),
        pytest.param({"kid": "../k1"}, id="kid as a path"),
        pytest.param({"algorithm": "none", "key": None}, id="alg none"),
        pytest.param({"algorithm": "HS256", "key": "x" * 64}, id="another algorithm"),
        pytest.param({"aud": "elsewhere"}, id="wrong aud"),
        pytest.param({"iss": "elsewhere"}, id="wrong iss"),
        pytest.param({"nbf": 32503680000}, id="not yet valid"),
        pytest.param({"exp": None}, id="no exp"),
        pytest.param({"sid": None}, id="no sid"),
        pytest.param({"role": "service"}, id="role service"),
        pytest.param({"role": "root"}, id="unknown role"),
    ],
)
async def test_forgeries_are_refused(verifier: TokenVerifier, clock: TurnedClock, changed: dict[str, Any]) -> None:
    assert (await verifier.verify(forged(clock))).caller == ADA
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(forged(clock, **changed))
    assert caught.value.reason is Reason.TOKEN_INVALID


async def test_the_public_key_is_no_shared_secret(verifier: TokenVerifier, clock: TurnedClock) -> None:
    header, payload, _ = forged(clock, algorithm="HS256", key="x" * 64).split(".")
    import hashlib
    import hmac

    from jwt.utils import base64url_encode

    signature = hmac.new(PUBLIC_PEM, f"{header}.{payload}".encode(), hashlib.sha256).digest()
    with pytest.raises(Unauthenticated):
        await verifier.verify(f"{header}.{payload}.{base64url_encode(signature).decode()}")


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c", "....", "\x00", "é.é.é"])
async def test_garbage_is_refused(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


def test_service_tokens_are_good_between_services_and_for_a_minute(clock: TurnedClock) -> None:
    tokens = ServiceTokens("s" * 32, "game-1", clock)
    token = tokens.issue()
    assert tokens.issue() == token
    assert tokens.verify(token).role is CallerRole.SERVICE
    clock.time += timedelta(seconds=31)
    assert tokens.issue() != token
    with pytest.raises(Unauthenticated):
        ServiceTokens("t" * 32, "thief", clock).verify(token)
    expired = ServiceTokens("s" * 32, "game-1", clock)
    clock.time -= timedelta(hours=1)
    with pytest.raises(Unauthenticated):
        tokens.verify(expired.issue())


async def test_an_access_token_is_no_service_token(clock: TurnedClock, verifier: TokenVerifier) -> None:
    tokens = ServiceTokens("s" * 32, "game-1", clock)
    with pytest.raises(Unauthenticated):
        tokens.verify(sign(clock))
    with pytest.raises(Unauthenticated):
        await verifier.verify(tokens.issue())
