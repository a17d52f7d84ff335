"""`python -m services topics …`: who may read the Kafka topic of a game. See docs/how-to/kafka-access.md.

topics grant --game ID --principal User:NAME [--group PREFIX]    may read it, and keep offsets under PREFIX…
topics revoke --game ID --principal User:NAME [--group PREFIX]   may not any more
topics list                                                      who may read what
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from aiokafka.errors import KafkaError

from pkg.errors import OofggError
from pkg.events.access import Grant, grants_of, open_access
from pkg.events.cluster import Cluster
from pkg.ids import is_id
from services.serve import load_settings


def run(arguments: list[str]) -> int:
    """Runs a command. 0 when it is done, 1 when the broker does not answer or refuses, 2 for what cannot be meant."""
    parser = argparse.ArgumentParser(prog="python -m services topics", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (("grant", "let somebody read a game's topic"), ("revoke", "no longer")):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("--game", required=True, help="id of the game")
        command.add_argument("--principal", required=True, help="as Kafka writes it: User:NAME")
        command.add_argument("--group", default="", metavar="PREFIX", help="groups whose names begin so, for offsets")
    commands.add_parser("list", help="who may read what")
    told = parser.parse_args(arguments)
    grants: list[Grant] = []
    if told.command != "list":
        if not is_id(told.game):
            parser.error(f"{told.game!r} is no id of a game")
        try:
            grants = grants_of(told.principal, told.game, told.group)
        except ValueError as error:
            parser.error(str(error))
    settings = load_settings()
    if settings is None:
        return 2
    try:
        asyncio.run(_carry_out(told.command, Cluster.from_settings(settings), grants))
    except (OofggError, KafkaError) as error:
        print(f"topics: {error}", file=sys.stderr)
        return 1
    return 0


async def _carry_out(command: str, cluster: Cluster, grants: list[Grant]) -> None:
    async with open_access(cluster) as access:
        if command == "grant":
            await access.grant(grants)
            _show(grants)
        elif command == "revoke":
            count = await access.revoke(grants)
            print(f"{count} taken away")
        else:
            _show(await access.list())


def _show(grants: list[Grant]) -> None:
    for grant in grants:
        print(f"{grant.principal}  {grant.kind.name.lower()}  {grant.name}")
