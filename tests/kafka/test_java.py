"""The Java recipe of the documentation, compiled and run as it stands."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pkg.ids import new_id
from pkg.testing.backends import ROOT, require_apache_kafka
from pkg.testing.brokers import JARS
from tests.integration.events.test_subscribing import finished, publish

PAGE = ROOT / "docs" / "how-to" / "subscribe-to-matches.md"


def done(*command: str | Path) -> str:
    told = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert told.returncode == 0, told.stderr
    return told.stdout


async def test_the_recipe_follows_matches(kafka_bootstrap: str, tmp_path: Path) -> None:
    require_apache_kafka()
    if shutil.which("javac") is None:
        pytest.skip("Apache Kafka: there is no Java 17 to compile with")
    (recipe,) = re.findall(r"```java\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "FollowMatches.java").write_text(recipe)
    (compiler,) = JARS.glob("protoc-*.exe")
    compiler.chmod(0o755)
    # The descriptors bring Google's messages along, which a whole installation of the compiler has at hand.
    described = ROOT / "sdk/src/oofgg/events/v1/events.binpb"
    done(compiler, f"--descriptor_set_in={described}", f"--java_out={tmp_path}", "oofgg/events/v1/match.proto")
    classes = f"{JARS}/*:{tmp_path}"
    done("javac", "-cp", classes, "-d", tmp_path, *tmp_path.rglob("*.java"))
    game = new_id()
    events = [finished(game) for _ in range(3)]
    await publish(kafka_bootstrap, game, [(event, number, number - 1) for number, event in enumerate(events, 1)])
    told = await asyncio.to_thread(done, "java", "-cp", classes, "FollowMatches", kafka_bootstrap, game)
    assert told.splitlines() == [f"{offset} {event.key} 2" for offset, event in enumerate(events)]
