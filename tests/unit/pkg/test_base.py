"""Ids, page tokens, settings, sealing."""

from __future__ import annotations

import base64
import json
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
from pkg.events.cluster import Cluster
from pkg.ids import is_id, new_id
from pkg.pagination import decode_time_token, decode_token, encode_token

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


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1))
def test_page_tokens_come_back(text: str, number: int) -> None:
    assert decode_token(encode_token([text, number]), str, int) == [text, number]


@pytest.mark.parametrize(
    "key",
    [["a", 2**63], ["a", -(2**63) - 1], ["a\0", 1], ["\ud800", 1], ["a", 1.0], ["a", True], ["a"], {"a": 1}],
    ids=str,
)
def test_a_token_that_no_statement_can_compare_with_is_refused(key: object) -> None:
    token = base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")
    with pytest.raises(InvalidArgument) as caught:
        decode_token(token, str, int)
    assert caught.value.reason is Reason.INVALID_PAGE_TOKEN


@pytest.mark.parametrize(
    "time",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00", "10000-01-01T00:00:00Z", "x"],
)
def test_a_token_with_a_time_outside_the_calendar_is_refused(time: str) -> None:
    token = base64.urlsafe_b64encode(json.dumps([time, new_id()]).encode()).decode().rstrip("=")
    with pytest.raises(InvalidArgument) as caught:
        decode_time_token(token)
    assert caught.value.reason is Reason.INVALID_PAGE_TOKEN


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


BY_PASSWORD = {"kafka_security_protocol": "SASL_SSL", "kafka_username": "u", "kafka_password": "p"}


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
        pytest.param({"kafka_replication_factor": 0}, "kafka_replication_factor", id="no copy"),
        pytest.param(
            {"kafka_replication_factor": 2, "kafka_min_insync_replicas": 3},
            "OOFGG_KAFKA_MIN_INSYNC",
            id="too many in sync",
        ),
        pytest.param({"kafka_security_protocol": "SASL_SSL"}, "OOFGG_KAFKA_USERNAME", id="nobody for SASL"),
        pytest.param(
            {"kafka_username": "u", "kafka_password": "p"}, "OOFGG_KAFKA_SECURITY_PROTOCOL", id="unused password"
        ),
        pytest.param({"kafka_ca_file": "x"}, "OOFGG_KAFKA_CA_FILE", id="unused authority"),
        pytest.param(
            {"kafka_security_protocol": "SSL", "kafka_ca_file": "/no/such"}, "OOFGG_KAFKA_CA_FILE", id="no authority"
        ),
        pytest.param(
            {**BY_PASSWORD, "kafka_security_protocol": "SASL_PLAINTEXT"}, "SASL_PLAINTEXT", id="a password for all"
        ),
        pytest.param({**BY_PASSWORD, "kafka_sasl_mechanism": "GSSAPI"}, "kafka_sasl_mechanism", id="unknown mechanism"),
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
    told = settings(**{**BY_PASSWORD, "kafka_password": "hunter2"})
    for shown in (repr(told), repr(Cluster.from_settings(told))):
        assert KEY not in shown
        assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("copies", "least", "in_sync"),
    [pytest.param(1, 0, 1, id="one"), pytest.param(2, 0, 1, id="two"), pytest.param(3, 0, 2, id="three"),
     pytest.param(3, 1, 1, id="as told")],
)  # fmt: skip
def test_all_copies_but_one_must_have_a_record(copies: int, least: int, in_sync: int) -> None:
    cluster = Cluster.from_settings(settings(kafka_replication_factor=copies, kafka_min_insync_replicas=least))
    assert (cluster.replication, cluster.in_sync) == (copies, in_sync)


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
