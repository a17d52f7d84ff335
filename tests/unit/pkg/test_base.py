"""Ids, page tokens, settings, sealing."""

from __future__ import annotations

import base64
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pkg.auth.sealing import Sealer, UnsealError
from pkg.config import Environment, Settings
from pkg.errors import InvalidArgument, Reason
from pkg.ids import is_id, new_id
from pkg.pagination import decode_token, encode_token

KEY = base64.b64encode(bytes(range(32))).decode()


def test_ids_are_uuid7_of_now() -> None:
    before = time.time_ns() // 1_000_000
    value = uuid.UUID(new_id())
    after = time.time_ns() // 1_000_000
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert before <= value.int >> 80 <= after


def test_ids_differ() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


UUID = uuid.UUID("01a20f55-9ea5-7b7d-9bee-8aeb56634dd0")


@pytest.mark.parametrize("text", ["", "abc", str(UUID).upper(), f"{{{UUID}}}", UUID.hex])
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_id(text)


def test_an_id_is_one() -> None:
    assert is_id(new_id())


@given(st.text(), st.integers())
def test_page_tokens_come_back(text: str, number: int) -> None:
    assert decode_token(encode_token([text, number]), str, int) == [text, number]


def test_no_token_is_the_first_page() -> None:
    assert decode_token("", str) is None


@given(st.text(min_size=1))
def test_other_tokens_are_refused_or_of_the_right_form(token: str) -> None:
    try:
        key = decode_token(token, str, int)
    except InvalidArgument as error:
        if error.reason is not Reason.INVALID_PAGE_TOKEN:
            raise
    else:
        assert key is not None
        assert [type(part) for part in key] == [str, int]


def settings(**changed: object) -> Settings:
    values: dict[str, object] = {
        "postgres_url": "postgresql://x/y",
        "redis_url": "redis://x",
        "kafka_bootstrap": "x:1",
        "master_key": KEY,
        "service_secret": "s" * 32,
        **changed,
    }
    return Settings(**values)  # type: ignore[arg-type]


def test_production_is_the_default_and_refuses_what_is_unsafe() -> None:
    assert settings().environment is Environment.PRODUCTION
    with pytest.raises(ValidationError, match="OOFGG_DEVELOPER_SELF_SERVICE"):
        settings(developer_self_service=True)
    assert settings(environment="development", developer_self_service=True).developer_self_service


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        pytest.param({"master_key": ""}, "OOFGG_MASTER_KEY", id="no master key"),
        pytest.param({"master_key": "c2hvcnQ="}, "OOFGG_MASTER_KEY", id="short master key"),
        pytest.param({"master_key": "!"}, "OOFGG_MASTER_KEY", id="master key not base64"),
        pytest.param({"service_secret": "short"}, "OOFGG_SERVICE_SECRET", id="short service secret"),
    ],
)
def test_settings_name_what_is_wrong(changed: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        settings(**changed)


def test_secrets_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("f" * 40 + "\n")
    assert settings(service_secret="", service_secret_file=file).service_secret_text() == "f" * 40


def test_secrets_do_not_show() -> None:
    assert KEY not in repr(settings())


def test_addresses_fall_back_to_this_process() -> None:
    mine = settings(grpc_address="0.0.0.0:9000", catalog_address="catalog:9000")
    assert mine.address_of("catalog") == "catalog:9000"
    assert mine.address_of("auth") == "127.0.0.1:9000"


@given(st.binary())
def test_sealed_secrets_open_with_the_same_key_only(plain: bytes) -> None:
    sealed = Sealer(KEY).seal(plain)
    assert Sealer(KEY).unseal(sealed) == plain
    assert plain == b"" or plain not in sealed[12:] or len(plain) < 4
    with pytest.raises(UnsealError, match="OOFGG_MASTER_KEY"):
        Sealer(base64.b64encode(bytes(32)).decode()).unseal(sealed)
