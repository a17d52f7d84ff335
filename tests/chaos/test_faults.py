"""Whatever happens to the platform while people play, its promises hold. The judge are the bots."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.bots import Bots, Outcome
from tests.chaos.cluster import NODES, Cluster
from tests.chaos.faults import AFTER_AN_INTERRUPTION, FAULTS, Fault, Strike
from tests.chaos.proxy import Proxy

pytestmark = pytest.mark.timeout(120)

PLAYERS: Final = 24
# Some cut their streams and some do not read now and then, as people's devices do.
ARGUMENTS: Final = (
    "--players",
    str(PLAYERS),
    "--rate",
    "5",
    "--droppers",
    "3",
    "--slow",
    "2",
    "--spectators",
    "3",
    "--reconnect-for",
    "40",
)
BEFORE_SECONDS: Final = 1.5
AFTER_SECONDS: Final = 3.0
VERDICT_SECONDS: Final = 90.0
# About half a second of what all of them write: more would take back that players had taken their seats.
LOST_BYTES: Final = 12 * 1024


async def play_through(
    cluster: Cluster, report: Path, strike: Strike, lasts: float, *arguments: str
) -> tuple[Outcome, str]:
    """Bots play, something happens in the middle, and they judge."""
    seconds = str(BEFORE_SECONDS + lasts + AFTER_SECONDS)
    async with Proxy(cluster.address) as proxy:
        bots = await Bots.start(proxy.address, report, (*ARGUMENTS, "--seconds", seconds, *arguments))
        try:
            await bots.playing()
            await asyncio.sleep(BEFORE_SECONDS)
            began = time.monotonic()
            did = await strike(cluster, proxy)
            struck = time.monotonic() - began
            outcome = await bots.end(VERDICT_SECONDS)
        finally:
            await bots.close()
        assert proxy.accepted >= PLAYERS, "the bots came another way"
    print(f"\n{did} in {struck:.1f} s: {outcome.figures}")
    return outcome, did


async def test_sessions_are_spread_over_the_nodes_and_a_quiet_run_disturbs_nobody(
    cluster: Cluster, tmp_path: Path
) -> None:
    # The first to use the cluster: sessions go where the fewest are, and what faults leave behind is not even.
    async def nothing(_: Cluster, __: Proxy) -> str:
        await asyncio.sleep(1)
        return "nothing happened"

    arguments = ("--droppers", "0", "--slow", "0", "--max-outage", "2")
    outcome, _ = await play_through(cluster, tmp_path / "report.json", nothing, 1.0, *arguments)
    assert outcome.exit_code == 0, outcome.output
    assert (outcome.report["resumes"], outcome.report["log_resets"]) == (0, 0)
    assert set(outcome.report["nodes"]) == set(NODES)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_promises_hold_whatever_happens(cluster: Cluster, fault: Fault, tmp_path: Path) -> None:
    outcome, did = await play_through(cluster, tmp_path / "report.json", fault.strike, fault.lasts)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.outage <= fault.outage, f"{did}; players waited {outcome.outage:.2f} s\n{outcome.output}"
    assert outcome.report["sent"]["RELIABLE"] > PLAYERS
    assert outcome.report["resumes"] >= outcome.report["drops"] > 0, "the bots that drop are there, and come back"


async def test_who_has_seen_what_a_log_has_lost_is_told_so(cluster: Cluster, tmp_path: Path) -> None:
    async def lose(_: Cluster, __: Proxy) -> str:
        node = await asyncio.to_thread(cluster.busiest)
        await asyncio.to_thread(cluster.lose_log, node, LOST_BYTES)
        await asyncio.to_thread(cluster.start, node)
        await asyncio.to_thread(cluster.wait_whole)
        return f"lost {LOST_BYTES} bytes of the log, and {node}"

    outcome, did = await play_through(cluster, tmp_path / "report.json", lose, 3.0, "--allow-reset")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.report["log_resets"] > 0, "nothing that anybody had seen was lost"
    assert outcome.outage <= AFTER_AN_INTERRUPTION, did
