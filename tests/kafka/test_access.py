"""Access by game on Apache Kafka: who was granted a topic reads it, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import oofgg
from oofgg.kafka import MatchHistory, Security
from pkg.ids import new_id
from pkg.testing.addresses import reserve_address
from pkg.testing.backends import ROOT, require_apache_kafka
from pkg.testing.brokers import ApacheBroker
from tests.integration.events.test_subscribing import finished, ids_of, publish, take
from tests.kafka.programs import environment

PASSWORDS = {"ada": "ada-secret", "bob": "bob-secret"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApacheBroker, str]]:
    """A broker whose plain listener is the platform's alone, and the address of the one for everybody else."""
    require_apache_kafka()
    door = reserve_address()
    users = "".join(f' user_{name}="{password}"' for name, password in PASSWORDS.items())
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    settings = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{login}{users};",
    }
    broker = ApacheBroker(tmp_path_factory.mktemp("guarded"), settings, f"SASL_PLAINTEXT://{door}")
    broker.start()
    yield broker, door
    broker.stop()


def topics(broker: ApacheBroker, *arguments: str) -> str:
    """What `python -m services topics …` says."""
    settings = environment("operator", "postgresql://nobody@127.0.0.1:1/none", "redis://127.0.0.1:1", broker.bootstrap)
    done = subprocess.run(
        [sys.executable, "-m", "services", "topics", *arguments],
        cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_user(name: str) -> Security:
    return Security(name, PASSWORDS[name], mechanism="PLAIN")


async def test_a_developer_reads_the_games_that_were_granted(guarded: tuple[ApacheBroker, str]) -> None:
    broker, door = guarded
    mine, theirs = new_id(), new_id()
    matches = {game: [finished(game) for _ in range(2)] for game in (mine, theirs)}
    for game, events in matches.items():
        await publish(broker.bootstrap, game, [(event, number, number - 1) for number, event in enumerate(events, 1)])
    with pytest.raises(oofgg.errors.PermissionDenied):
        async with MatchHistory(door, mine, security=as_user("ada")):
            pass
    granting = ("--game", mine, "--principal", "User:ada", "--group", "ada.")
    shown = topics(broker, "grant", *granting)
    assert topics(broker, "grant", *granting) == shown  # again changes nothing
    assert topics(broker, "list") == shown == (
        f"User:ada  topic  oofgg.match-history.{mine}\nUser:ada  group  ada.\n"
    )  # fmt: skip
    async with MatchHistory(door, mine, security=as_user("ada"), group="ada.billing") as history:
        assert ids_of(await take(history, 2)) == [event.key for event in matches[mine]]
        await history.commit()
    for game, name, group in ((theirs, "ada", ""), (mine, "bob", ""), (mine, "ada", "bob.billing")):
        with pytest.raises(oofgg.errors.PermissionDenied):
            async with MatchHistory(door, game, security=as_user(name), group=group):
                pass
    assert topics(broker, "revoke", *granting) == "2 taken away\n"
    assert topics(broker, "list") == ""
    with pytest.raises(oofgg.errors.PermissionDenied):
        async with MatchHistory(door, mine, security=as_user("ada")):
            pass


async def test_a_wrong_password_is_no_way_in(guarded: tuple[ApacheBroker, str]) -> None:
    with pytest.raises(oofgg.errors.OofggError):
        async with MatchHistory(
            guarded[1], new_id(), security=Security("ada", "wrong", mechanism="PLAIN"), timeout=3.0
        ):
            pass


def test_what_is_no_grant() -> None:
    for principal in ("ada", "User:", "User:*"):
        done = subprocess.run(
            [sys.executable, "-m", "services", "topics", "grant", "--game", new_id(), "--principal", principal],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "User:NAME" in done.stderr
