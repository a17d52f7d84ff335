"""Wires the leaderboards of a process together."""

from __future__ import annotations

from dataclasses import dataclass

from pkg.db.database import Database
from pkg.games import GameDirectory
from pkg.runtime.host import Host
from services.scoring.leaderboards.archive import Archive
from services.scoring.leaderboards.builder import Builder
from services.scoring.leaderboards.changes import Changes
from services.scoring.leaderboards.definitions import DefinitionServicer
from services.scoring.leaderboards.directory import BoardDirectory
from services.scoring.leaderboards.entries import EntryStore
from services.scoring.leaderboards.feed import ResultFeed
from services.scoring.leaderboards.ranks import Ranks
from services.scoring.leaderboards.reading import BoardReader
from services.scoring.leaderboards.removing import RemovalServicer
from services.scoring.leaderboards.servicer import LeaderboardServicer
from services.scoring.leaderboards.store import LeaderboardStore, SeasonStore
from services.scoring.leaderboards.submissions import SubmissionServicer
from services.scoring.leaderboards.submitting import Submitting
from services.scoring.standings.builtin import BuiltInBoards


@dataclass(frozen=True, slots=True)
class Leaderboards:
    """What the rest of the service needs of them."""

    servicer: LeaderboardServicer
    feed: ResultFeed


def open_leaderboards(host: Host, database: Database, games: GameDirectory, builtin: BuiltInBoards) -> Leaderboards:
    """Starts their background work, too."""
    clock = host.clock
    boards, seasons, entries = LeaderboardStore(database), SeasonStore(database), EntryStore(database)
    ranks = Ranks(host.redis, clock)
    builder = Builder(
        database, ranks, clock, host.new_id, lambda building: host.spawn(building, name="leaderboard builder")
    )
    changes = Changes(database, entries, ranks)
    submitting = Submitting(database, entries, seasons, ranks, changes, clock)
    directory = BoardDirectory(boards, clock)
    reader = BoardReader(entries, ranks, builder)
    host.spawn(submitting.run(), name="leaderboard scores")
    host.spawn(changes.run(), name="leaderboard changes")
    host.spawn(Archive(database, ranks, clock).run(), name="leaderboard archive")
    servicer = LeaderboardServicer(
        builtin,
        DefinitionServicer(database, boards, directory, games, clock, host.new_id),
        SubmissionServicer(submitting, reader, directory, games, clock),
        RemovalServicer(database, entries, changes, directory, games),
        seasons,
        reader,
        directory,
        games,
        clock,
    )
    return Leaderboards(servicer, ResultFeed(boards, seasons, entries))
