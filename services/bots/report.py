"""What a run shows: a line a second, a summary at the end, and a file for programs."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from services.bots.breach import Breach
from services.bots.figures import Figures, Outage

# Breaches that are kept in full; the rest is counted.
_MOST_BREACHES: Final = 100


@dataclass
class Report:
    """Everything that is known of a run."""

    seed: int
    players: int
    """Spectators included."""
    sessions: int
    figures: Figures = field(default_factory=Figures)
    nodes: Counter[str] = field(default_factory=Counter)
    """Sessions by the node that made them."""
    breaches: list[Breach] = field(default_factory=list)
    breach_counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    """Of play, without setting up and settling."""
    exit_code: int | None = None

    def broken(self, breach: Breach) -> None:
        """A promise was broken: the first ones are shown at once."""
        self.breach_counts[breach.promise.name] += 1
        if len(self.breaches) < _MOST_BREACHES:
            self.breaches.append(breach)
            say(f"BROKEN  {breach}")

    def progress(self, seconds: float, connected: int, waiting: Outage) -> None:
        """A line of progress. `waiting` is the command that has not come back for longest."""
        figures = self.figures
        say(
            f"{seconds:5.0f} s  {connected}/{self.players} connected  {figures.sent.total()} sent  "
            f"{figures.seen.total()} seen  p99 {figures.round_trip.percentile(0.99) * 1000:.0f} ms  "
            f"waiting {waiting.seconds:.1f} s  longest {figures.outage.seconds:.1f} s  {figures.resumes} resumes  "
            f"{self.breach_counts.total()} broken"
        )

    def summary(self) -> None:
        """The end, for people."""
        figures = self.figures
        trip, outage = figures.round_trip, figures.outage
        say(f"\n{self.players} players in {self.sessions} sessions for {self.seconds:.0f} s, seed {self.seed}")
        say(f"  sessions by node     {_counts(self.nodes)}")
        say(f"  sent                 {_counts(figures.sent)}")
        say(f"  seen                 {_counts(figures.seen)}")
        p50, p99 = (trip.percentile(share) * 1000 for share in (0.5, 0.99))
        say(f"  RELIABLE round trip  p50 {p50:.1f} ms, p99 {p99:.1f} ms of {trip.count}")
        where = f"  sent {outage.at:.1f} s after the start, session {outage.session}, seat {outage.seat}"
        say(f"  longest outage       {outage.seconds:.2f} s{where if outage.session else ''}")
        say(
            f"  streams              {figures.resumes} resumed, {figures.drops} dropped on purpose, "
            f"{figures.log_resets} log resets"
        )
        if figures.skipped:
            say(f"  not sent             {figures.skipped}, because too many were on their way")
        if not self.breaches:
            say("\nEvery promise held.")
            return
        say(f"\n{self.breach_counts.total()} breaches ({_counts(self.breach_counts)}), the first of them:")
        for breach in self.breaches[:10]:
            say(f"  {breach}")

    def document(self) -> dict[str, Any]:
        """The end, for programs."""
        figures = self.figures
        return {
            "exit_code": self.exit_code,
            "seed": self.seed,
            "players": self.players,
            "sessions": self.sessions,
            "seconds": round(self.seconds, 3),
            "nodes": dict(self.nodes),
            "sent": dict(figures.sent),
            "seen": dict(figures.seen),
            "latency": {
                "count": figures.round_trip.count,
                "p50": figures.round_trip.percentile(0.5),
                "p99": figures.round_trip.percentile(0.99),
                "longest": figures.round_trip.longest,
            },
            "outage": asdict(figures.outage),
            "resumes": figures.resumes,
            "drops": figures.drops,
            "log_resets": figures.log_resets,
            "skipped": figures.skipped,
            "breaches": dict(self.breach_counts),
            "evidence": [asdict(breach) | {"promise": breach.promise.name} for breach in self.breaches],
        }

    def write(self, path: Path) -> None:
        """Writes the document; never half of it."""
        beside = path.with_name(f"{path.name}.{time.monotonic_ns()}")
        beside.write_text(json.dumps(self.document(), indent=2) + "\n")
        beside.replace(path)


def say(line: str) -> None:
    """A line for whoever watches."""
    print(line, flush=True)


def _counts(counts: Counter[str]) -> str:
    names: Sequence[str] = sorted(counts)
    return ", ".join(f"{counts[name]} {name}" for name in names) or "nothing"
