"""`python -m services admin make-developer USERNAME`: what an operator does, beside the running platform."""

from __future__ import annotations

import argparse
import asyncio
import sys

from pkg.auth.caller import CallerRole
from pkg.config import Settings
from pkg.db.database import open_database
from pkg.errors import OofggError
from services.auth.store import AccountStore
from services.serve import load_settings

CONNECTIONS = 2


def run(arguments: list[str]) -> int:
    """Runs an administrative command. 0 when it is done, 1 when it cannot be, 2 for wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m services admin", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make_developer = commands.add_parser("make-developer", help="let an account register games")
    make_developer.add_argument("username")
    told = parser.parse_args(arguments)
    settings = load_settings()
    if settings is None:
        return 2
    try:
        role = asyncio.run(_make_developer(settings, told.username))
    except (OSError, OofggError) as error:
        print(f"PostgreSQL: {error}", file=sys.stderr)
        return 1
    if role is None:
        print(f"There is no account {told.username}. Register it first.", file=sys.stderr)
        return 1
    print(f"{told.username} is {_ARTICLES[role]}. Tokens made before do not know it: log in again.")
    return 0


_ARTICLES = {CallerRole.DEVELOPER: "a developer", CallerRole.ADMIN: "an admin"}


async def _make_developer(settings: Settings, username: str) -> CallerRole | None:
    """The role the account has then; None when there is no such account."""
    async with open_database(settings.postgres_url, "auth", size=CONNECTIONS) as database:
        accounts = AccountStore(database)
        credentials = await accounts.by_username(username)
        if credentials is None:
            return None
        account = await accounts.make_developer(credentials.account.user_id)
    return account.role if account else None
