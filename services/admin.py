"""`python -m services admin …`: what an operator does, beside the running platform.

admin set-role USERNAME admin|developer|player     the first admin is made like this: there is no default password
admin make-developer USERNAME                      the same as set-role USERNAME developer
admin rotate-keys                                  access tokens are signed with a new key, as on schedule
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import timedelta

from pkg.auth.caller import CallerRole
from pkg.auth.sealing import Sealer
from pkg.clock import SystemClock
from pkg.config import Settings
from pkg.db.database import open_database
from pkg.errors import OofggError, Reason
from pkg.ids import new_id
from services.auth.audit import Audit, Kind
from services.auth.stores.accounts import AccountStore
from services.auth.stores.api_keys import ApiKeyStore
from services.auth.stores.logins import LoginStore
from services.auth.stores.signing_keys import SigningKeyStore
from services.serve import load_settings

CONNECTIONS = 2
OPERATOR = "operator"
ROLES = {role.value: role for role in (CallerRole.PLAYER, CallerRole.DEVELOPER, CallerRole.ADMIN)}
ARTICLES = {CallerRole.PLAYER: "a player", CallerRole.DEVELOPER: "a developer", CallerRole.ADMIN: "an admin"}


def run(arguments: list[str]) -> int:
    """Runs an administrative command. 0 when it is done, 1 when it cannot be, 2 for wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m services admin", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True)
    set_role = commands.add_parser("set-role", help="make an account an admin's, a developer's, or a player's")
    set_role.add_argument("username", help="its username or email address")
    set_role.add_argument("role", choices=sorted(ROLES))
    make_developer = commands.add_parser("make-developer", help="let an account register games")
    make_developer.add_argument("username")
    commands.add_parser("rotate-keys", help="have access tokens signed with a new key")
    told = parser.parse_args(arguments)
    settings = load_settings()
    if settings is None:
        return 2
    try:
        if told.command == "rotate-keys":
            return asyncio.run(_rotate_keys(settings))
        role = CallerRole.DEVELOPER if told.command == "make-developer" else ROLES[told.role]
        known = asyncio.run(_set_role(settings, told.username, role))
    except (OSError, OofggError) as error:
        print(f"PostgreSQL: {error}", file=sys.stderr)
        return 1
    if not known:
        print(f"There is no account {told.username}. Register it first.", file=sys.stderr)
        return 1
    print(f"{told.username} is {ARTICLES[role]}. Its console logins have ended: log in again.")
    return 0


async def _set_role(settings: Settings, username: str, role: CallerRole) -> bool:
    """Whether there is such an account."""
    clock = SystemClock()
    async with open_database(settings.postgres_url, "auth", size=CONNECTIONS) as database:
        found = await AccountStore(database).by_login_name(username)
        if found is None:
            return False
        account, logins = found.account, LoginStore(database)
        async with database.transaction() as connection:
            await AccountStore(database).set_role(connection, account.user_id, role)
            console = await logins.open_ids(connection, account.user_id, clock.now(), game_id="")
            await logins.end(connection, console, Reason.TOKEN_REVOKED, clock.now())
            if role is CallerRole.PLAYER:  # keys act as a developer's
                for api_key_id in await ApiKeyStore(database).end_all(connection, account.user_id, clock.now()):
                    await logins.revoke_key(connection, api_key_id, clock.now())
            await Audit(database, clock, new_id).note(
                connection, Kind.ROLE_CHANGED, user_id=account.user_id, actor=OPERATOR, detail=role
            )
    return True


async def _rotate_keys(settings: Settings) -> int:
    clock = SystemClock()
    now = clock.now()
    activate = now + timedelta(seconds=settings.signing_key_lead_seconds)
    async with open_database(settings.postgres_url, "auth", size=CONNECTIONS) as database:
        store = SigningKeyStore(database, Sealer(settings.master_key_text()))
        key = await store.rotate(new_id(), now, activate, unless_after=now)
        if key is not None:
            await Audit(database, clock, new_id).alone(Kind.SIGNING_KEY_ROTATED, detail=key.key_id)
    if key is None:
        print("A new key is on its way already.")
    else:
        print(f"Key {key.key_id} is published now and signs from {activate:%Y-%m-%d %H:%M:%S} UTC on.")
    return 0
