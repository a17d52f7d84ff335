"""`python -m services dead-letters …`: records that scoring could not apply. See docs/operations/dead-letters.md.

dead-letters list                    all of them, with their reasons
dead-letters replay NUMBER… | all    have them applied again, each once, by the running services
dead-letters discard NUMBER… | all   forget them
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from pkg.db.database import open_database
from pkg.errors import OofggError
from pkg.events.dead_letters import DeadLetters, Letter
from services.serve import load_settings

_PAGE = 500
_CONNECTIONS = 2
_WAIT_SECONDS = 30.0
_LOOK_SECONDS = 0.5


def run(arguments: list[str]) -> int:
    """Runs a command. 0 when it is done, 1 when letters are left or PostgreSQL is away, 2 for what cannot be meant."""
    parser = argparse.ArgumentParser(prog="python -m services dead-letters", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all of them, with their reasons")
    for name, purpose in (("replay", "have them applied again"), ("discard", "forget them")):
        commands.add_parser(name, help=purpose).add_argument("letter", nargs="+", metavar="NUMBER|all")
    told = parser.parse_args(arguments)
    wanted: list[int] | None = None
    if told.command != "list" and told.letter != ["all"]:
        if not all(text.isdecimal() for text in told.letter):
            parser.error("name letters by their numbers, or say all")
        wanted = [int(text) for text in told.letter]
    settings = load_settings()
    if settings is None:
        return 2
    try:
        return asyncio.run(_carry_out(told.command, settings.postgres_url, wanted))
    except OofggError as error:
        print(f"dead-letters: {error}", file=sys.stderr)
        return 1


async def _carry_out(command: str, postgres_url: str, wanted: Sequence[int] | None) -> int:
    async with open_database(postgres_url, "scoring", size=_CONNECTIONS) as database:
        letters = DeadLetters(database)
        if command == "list":
            for letter in await _all(letters):
                print(_line(letter))
            return 0
        if command == "discard":
            print(f"{len(await letters.discard(wanted))} forgotten")
            return 0
        return await _replay(letters, wanted)


async def _replay(letters: DeadLetters, wanted: Sequence[int] | None) -> int:
    """Waits for the running services to see to it, and tells what became of the letters."""
    asked: set[int] = set(await letters.replay(wanted))
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        left = [letter for letter in await _all(letters) if letter.letter_id in asked]
        if not any(letter.waiting for letter in left) or time.monotonic() > deadline:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    print(f"{len(asked) - len(left)} applied")
    for letter in left:
        print(_line(letter))
    return 1 if left else 0


async def _all(letters: DeadLetters) -> list[Letter]:
    found: list[Letter] = []
    while page := await letters.page(found[-1].letter_id if found else 0, _PAGE):
        found += page
    return found


def _line(letter: Letter) -> str:
    waiting = "  (waits to be applied)" if letter.waiting else ""
    place = f"{letter.topic}/{letter.partition}@{letter.offset}"
    return f"{letter.letter_id}  {letter.create_time:%Y-%m-%d %H:%M:%S}  {place}  {letter.reason}{waiting}"
