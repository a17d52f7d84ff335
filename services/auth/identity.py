"""Logins: by password, as a guest, by API key; their tokens, and their end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pkg.auth.caller import Caller, CallerRole
from pkg.auth.revocations import Revocations
from pkg.auth.tokens import TokenVerifier, VerifiedToken
from pkg.clock import Clock
from pkg.config import Settings
from pkg.db.database import Connection, Database
from pkg.errors import AlreadyExists, NotFound, PermissionDenied, Reason, Unauthenticated, invalid_field
from pkg.games import GameDirectory, GameRecord
from pkg.ids import NewId, is_id
from pkg.rpc.call import Call
from services.auth.accounts import Account, ApiKey, Credentials, Login, LoginRecord, Origin
from services.auth.audit import Audit, Kind
from services.auth.ended import EndedLogins
from services.auth.guard import Guard
from services.auth.issuer import AccessToken, TokenIssuer
from services.auth.passwords import Passwords
from services.auth.secrets import PREFIX_LETTERS, digest_of, new_api_key, new_refresh_token
from services.auth.stores.accounts import AccountStore, DeviceStore
from services.auth.stores.api_keys import ApiKeyStore
from services.auth.stores.logins import LoginStore, Refusal
from services.auth.stores.players import PlayerStore
from services.auth.stores.renames import RenameStore
from services.auth.usernames import new_guest_name

_GUEST_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login gets."""

    caller: Caller
    access: AccessToken
    refresh: str


@dataclass(frozen=True, slots=True)
class Stores:
    """The tables."""

    database: Database
    accounts: AccountStore
    devices: DeviceStore
    logins: LoginStore
    api_keys: ApiKeyStore
    players: PlayerStore
    renames: RenameStore


@dataclass(frozen=True, slots=True)
class Identity:
    """The rules of logins over the stores."""

    stores: Stores
    passwords: Passwords
    guard: Guard
    audit: Audit
    issuer: TokenIssuer
    verifier: TokenVerifier
    revocations: Revocations
    ended: EndedLogins
    games: GameDirectory
    settings: Settings
    clock: Clock
    new_id: NewId

    async def new_account(self, username: str, email: str, password: str) -> tuple[Account, str]:
        """An account that is not stored yet, and the hash of its password."""
        password_hash = await self.passwords.hash(password)
        return Account(self.new_id(), username, email, CallerRole.PLAYER, self.clock.now()), password_hash

    async def register(
        self, connection: Connection, account: Account, password_hash: str, game: GameRecord | None, origin: Origin
    ) -> Tokens:
        """Stores the account and logs it in. Raises AlreadyExists, ResourceExhausted(QUOTA_EXCEEDED)."""
        await self.stores.accounts.insert(connection, account, password_hash)
        await self.audit.note(connection, Kind.ACCOUNT_CREATED, user_id=account.user_id, origin=origin)
        return await self._open(connection, account, game, origin)

    async def login(self, verified: Credentials, game: GameRecord | None, origin: Origin) -> Tokens:
        """Logs in whoever brought these credentials.

        Raises ResourceExhausted(QUOTA_EXCEEDED), and Unauthenticated(BAD_CREDENTIALS) when the password was changed or
        the account deleted since they were verified: that has ended all logins, and this one must not outlive it.
        """
        async with self.stores.database.transaction() as connection:
            current = await self.stores.accounts.lock(connection, verified.account.user_id)
            if current is None or current.password_hash != verified.password_hash:
                raise bad_credentials()
            tokens = await self._open(connection, current.account, game, origin)
        self.ended.hint()
        return tokens

    async def verify_login(self, name: str, password: str, origin: Origin) -> Credentials:
        """The account with this name and password.

        Raises Unauthenticated(BAD_CREDENTIALS), in the same time for any cause, ResourceExhausted(LOCKED_OUT) after
        too many tries.
        """
        credentials = await self.stores.accounts.by_login_name(name)
        return await self._verify(name, password, credentials, origin)

    async def verify_owner(self, credentials: Credentials, password: str, origin: Origin) -> None:
        """Raises as `verify_login` does unless it is the account's password."""
        await self._verify(credentials.account.username, password, credentials, origin)

    async def login_guest(
        self, device_id: str, game: GameRecord | None, origin: Origin, *, existing_only: bool
    ) -> tuple[Tokens, Account, bool]:
        """Logs the account of a device in, making one if there is none; whether it was made.

        Raises NotFound(ACCOUNT_NOT_FOUND) when none may be made.
        """
        digest = digest_of(device_id)
        for _ in range(_GUEST_ATTEMPTS):
            account = await self.stores.devices.account(digest)
            if account is None and existing_only:
                raise NotFound(Reason.ACCOUNT_NOT_FOUND, "This device has no account.")
            try:
                async with self.stores.database.transaction() as connection:
                    created = account is None
                    if account is None:
                        account = await self._new_guest(connection, digest, origin)
                    await self.stores.devices.used(connection, digest, self.clock.now())
                    tokens = await self._open(connection, account, game, origin)
            except AlreadyExists:
                continue  # the same device, at the same moment; or a name that was made up before
            self.ended.hint()
            return tokens, account, created
        raise AssertionError("a device that is taken has an account")

    async def game(self, game_id: str, call: Call) -> GameRecord | None:
        """The game of a login; None on the console. Raises NotFound(GAME_NOT_FOUND)."""
        return await self.games.lookup(game_id, call) if game_id else None

    async def refresh(self, refresh_token: str, origin: Origin) -> Tokens:
        """The next pair of a login. Raises Unauthenticated(REFRESH_TOKEN_INVALID)."""
        now = self.clock.now()
        secret = new_refresh_token()
        grace = timedelta(seconds=self.settings.refresh_grace_seconds)
        async with self.stores.database.transaction() as connection:
            outcome = await self.stores.logins.rotate(
                connection, digest_of(refresh_token), secret.digest, now, now + self.issuer.refresh_life, grace
            )
            if isinstance(outcome, tuple):
                login = outcome[1]
                await self.audit.note(
                    connection,
                    Kind.REFRESH_REUSED,
                    user_id=login.account.user_id,
                    login_id=login.login_id,
                    game_id=login.game_id,
                    origin=origin,
                )
        if isinstance(outcome, Login):
            return Tokens(outcome.caller(), self.issuer.access(outcome.caller()), secret.text)
        if outcome is not Refusal.UNKNOWN:
            self.ended.hint()
        raise Unauthenticated(
            Reason.REFRESH_TOKEN_INVALID, "This refresh token is unknown, expired or was used before. Log in again."
        )

    async def logout(self, caller: Caller, origin: Origin) -> None:
        """Ends the caller's login everywhere, within a second.

        Raises PermissionDenied(ACCESS_DENIED) for an API key's token: it has no login, and to end what stands in its
        place would end the key.
        """
        caller.require_person()
        await self._end(caller, [caller.login_id], "logout", origin)

    async def list_logins(self, caller: Caller, after: tuple[datetime, str] | None, limit: int) -> list[LoginRecord]:
        """The caller's logins that have not ended, newest first."""
        caller.require_person()
        return await self.stores.logins.page(caller.user_id, self.clock.now(), after, limit)

    async def revoke_login(self, caller: Caller, login_id: str, origin: Origin) -> None:
        """Ends one of the caller's logins. Raises NotFound(LOGIN_NOT_FOUND)."""
        caller.require_person()
        async with self.stores.database.acquire() as connection:
            mine = await self.stores.logins.open_ids(connection, caller.user_id, self.clock.now())
        if login_id not in mine:
            raise NotFound(Reason.LOGIN_NOT_FOUND, "You have no such login, or it has ended.")
        await self._end(caller, [login_id], "revoked", origin)

    async def revoke_all_logins(self, caller: Caller, origin: Origin, *, keep_current: bool) -> int:
        """Ends the caller's logins; how many there were."""
        caller.require_person()
        async with self.stores.database.acquire() as connection:
            mine = await self.stores.logins.open_ids(connection, caller.user_id, self.clock.now())
        doomed = [login_id for login_id in mine if not (keep_current and login_id == caller.login_id)]
        return await self._end(caller, doomed, "revoked with all others", origin)

    async def validate(self, token: str) -> VerifiedToken | None:
        """The token's content, or None when a call with it would be refused."""
        try:
            verified = await self.verifier.verify(token)
        except Unauthenticated:
            return None
        if self.revocations.is_revoked(verified.caller.login_id):
            return None
        return replace(verified, caller=self.revocations.named_now(verified.caller))

    async def become_developer(self, caller: Caller, origin: Origin) -> tuple[Account, AccessToken]:
        """Makes the caller's account a developer's. Raises PermissionDenied, NotFound."""
        caller.require_console()
        if not self.settings.developer_self_service and caller.role is CallerRole.PLAYER:
            raise PermissionDenied(
                Reason.DEVELOPER_BY_OPERATOR, "On this platform an operator makes developers. Ask the operator."
            )
        async with self.stores.database.transaction() as connection:
            await self.stores.accounts.make_developer(connection, caller.user_id)
            credentials = await self.stores.accounts.lock(connection, caller.user_id)
            if credentials is None:
                raise account_not_found()
            account = credentials.account
            if caller.role is CallerRole.PLAYER:
                await self.audit.note(
                    connection, Kind.ROLE_CHANGED, user_id=account.user_id, origin=origin, detail=account.role
                )
        return account, self.issuer.access(Login(caller.login_id, account, "").caller())

    async def require_own_game(self, caller: Caller, game_id: str, call: Call) -> None:
        """Raises unless the caller is this game's developer, logged in on the console."""
        caller.require_console()
        await self.games.require_access(caller, game_id, call)

    async def create_api_key(
        self, connection: Connection, caller: Caller, game_id: str, name: str, expire_time: datetime | None,
        origin: Origin,
    ) -> tuple[ApiKey, str]:  # fmt: skip
        """A new key of a game and its secret, which is not kept."""
        now = self.clock.now()
        if expire_time is not None and expire_time <= now:
            raise invalid_field("expire_time", "is in the past")
        secret = new_api_key()
        key = ApiKey(
            self.new_id(), caller.user_id, game_id, name, secret.text[:PREFIX_LETTERS], now, expire_time
        )  # fmt: skip
        await self.stores.api_keys.insert(connection, key, secret.digest)
        await self.audit.note(
            connection,
            Kind.API_KEY_CREATED,
            user_id=key.user_id,
            api_key_id=key.api_key_id,
            game_id=game_id,
            origin=origin,
        )
        return key, secret.text

    async def list_api_keys(
        self, caller: Caller, game_id: str, after: tuple[datetime, str] | None, limit: int, call: Call
    ) -> Sequence[ApiKey]:
        """Keys of one of the caller's games, newest first."""
        await self.require_own_game(caller, game_id, call)
        return await self.stores.api_keys.page(game_id, after, limit)

    async def revoke_api_key(self, caller: Caller, api_key_id: str, origin: Origin) -> None:
        """Ends a key and its tokens, within a second. Raises NotFound(API_KEY_NOT_FOUND)."""
        caller.require_console()
        now = self.clock.now()
        async with self.stores.database.transaction() as connection:
            known = is_id(api_key_id)
            key = await self.stores.api_keys.end(connection, api_key_id, caller.user_id, now) if known else None
            if key is None:
                raise NotFound(Reason.API_KEY_NOT_FOUND, "Your games have no such key, or it has ended.")
            await self.stores.logins.revoke_key(connection, api_key_id, now)
            await self.audit.note(
                connection,
                Kind.API_KEY_REVOKED,
                user_id=key.user_id,
                api_key_id=api_key_id,
                game_id=key.game_id,
                origin=origin,
            )
        self.ended.hint()

    async def exchange(self, api_key: str, origin: Origin) -> tuple[ApiKey, AccessToken]:
        """A token for an API key. Raises Unauthenticated(API_KEY_INVALID), ResourceExhausted(RATE_LIMITED)."""
        now = self.clock.now()
        key = await self.stores.api_keys.by_digest(digest_of(api_key), now)
        if key is None:
            await self.guard.spend("unknown key", origin.address, origin.address)
            raise Unauthenticated(Reason.API_KEY_INVALID, "This API key is unknown, expired or deleted.")
        await self.guard.spend("key", key.api_key_id, origin.address)
        async with self.stores.database.transaction() as connection:
            await self.stores.api_keys.used(connection, key.api_key_id, now)
            await self.audit.note(
                connection,
                Kind.API_KEY_USED,
                user_id=key.user_id,
                api_key_id=key.api_key_id,
                game_id=key.game_id,
                origin=origin,
            )
        left = int((key.expire_time - now).total_seconds()) if key.expire_time is not None else None
        seconds = self.issuer.access_seconds if left is None else max(1, min(left, self.issuer.access_seconds))
        return key, self.issuer.access(key.caller(), seconds=seconds)

    async def _verify(self, name: str, password: str, credentials: Credentials | None, origin: Origin) -> Credentials:
        stored = credentials.password_hash if credentials else None
        user_id = credentials.account.user_id if credentials else ""
        locks = await self.guard.attempt(name, user_id, origin.address)
        verdict = await self.passwords.verify(password, stored)
        if credentials is None or not verdict.matches:
            await self.audit.alone(Kind.LOGIN_FAILED, user_id=user_id, origin=origin, detail="bad credentials")
            if locks:
                await self.audit.alone(Kind.LOCKED_OUT, user_id=user_id, origin=origin)
            raise bad_credentials()
        await self.guard.succeeded(name, user_id, origin.address)
        if verdict.renewed is None or stored is None:
            return credentials
        if await self.stores.accounts.renew_hash(user_id, stored, verdict.renewed):
            return replace(credentials, password_hash=verdict.renewed)
        # Another login renewed it, or the owner changed the password: what is stored now decides.
        return await self._verify(name, password, await self.stores.accounts.by_id(user_id), origin)

    async def _end(self, caller: Caller, login_ids: list[str], why: str, origin: Origin) -> int:
        now = self.clock.now()
        async with self.stores.database.transaction() as connection:
            ended = await self.stores.logins.end(connection, login_ids, Reason.TOKEN_REVOKED, now)
            for login_id in ended:
                await self.audit.note(
                    connection,
                    Kind.LOGIN_ENDED,
                    user_id=caller.user_id,
                    login_id=login_id,
                    game_id=caller.game_id,
                    origin=origin,
                    detail=why,
                )
        self.ended.hint()
        return len(ended)

    async def _new_guest(self, connection: Connection, digest: bytes, origin: Origin) -> Account:
        now = self.clock.now()
        account = Account(
            self.new_id(), new_guest_name(), "", CallerRole.PLAYER, now, has_password=False, devices=0
        )  # fmt: skip
        await self.stores.accounts.insert(connection, account, None)
        await self.stores.devices.link(connection, account, digest, now)
        await self.audit.note(
            connection, Kind.ACCOUNT_CREATED, user_id=account.user_id, origin=origin, detail="guest"
        )  # fmt: skip
        return replace(account, devices=1)

    async def _open(self, connection: Connection, account: Account, game: GameRecord | None, origin: Origin) -> Tokens:
        # Two logins of one account come one after the other: where a game allows one, the later ends the earlier.
        current = await self.stores.accounts.lock(connection, account.user_id)
        if current is None:
            raise account_not_found()
        now = self.clock.now()
        login = Login(self.new_id(), current.account, game.game_id if game else "")
        if game is not None:
            await self.stores.players.join(connection, game.game_id, account.user_id, game.quotas.players, now)
            if game.single_login:
                await self._replace_others(connection, login, origin, now)
        secret = new_refresh_token()
        await self.stores.logins.insert(
            connection, login, secret.digest, origin, now, now + self.issuer.refresh_life
        )  # fmt: skip
        await self.audit.note(
            connection,
            Kind.LOGIN,
            user_id=account.user_id,
            login_id=login.login_id,
            game_id=login.game_id,
            origin=origin,
        )
        return Tokens(login.caller(), self.issuer.access(login.caller()), secret.text)

    async def _replace_others(self, connection: Connection, login: Login, origin: Origin, now: datetime) -> None:
        others = await self.stores.logins.open_ids(connection, login.account.user_id, now, game_id=login.game_id)
        for ended in await self.stores.logins.end(connection, others, Reason.LOGGED_IN_ELSEWHERE, now):
            await self.audit.note(
                connection,
                Kind.LOGIN_ENDED,
                user_id=login.account.user_id,
                login_id=ended,
                game_id=login.game_id,
                origin=origin,
                detail="logged in elsewhere",
            )


def bad_credentials() -> Unauthenticated:
    """The one error for a wrong name and a wrong password."""
    return Unauthenticated(Reason.BAD_CREDENTIALS, "The username or the password is wrong.")


def account_not_found() -> NotFound:
    """The error for an account that was deleted meanwhile."""
    return NotFound(Reason.ACCOUNT_NOT_FOUND, "This account was deleted.")
