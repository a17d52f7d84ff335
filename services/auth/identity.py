"""What the service does: registers, logs in, refreshes, ends logins, hands out keys."""

from __future__ import annotations

from dataclasses import dataclass

from pkg.auth.caller import Caller, CallerRole
from pkg.auth.revocations import Revocations
from pkg.auth.tokens import TokenVerifier, VerifiedToken
from pkg.clock import Clock
from pkg.config import Settings
from pkg.db.database import Connection
from pkg.errors import NotFound, PermissionDenied, Reason, Unauthenticated
from pkg.games import GameDirectory
from pkg.ids import NewId
from pkg.rpc.call import Call
from services.auth.accounts import Account, ApiKey, Login
from services.auth.ended import EndedLogins
from services.auth.issuer import AccessToken, TokenIssuer
from services.auth.passwords import Passwords
from services.auth.secrets import digest_of, new_api_key, new_refresh_token
from services.auth.store import AccountStore, ApiKeyStore, LoginStore


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login gets."""

    caller: Caller
    access: AccessToken
    refresh: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The rules of accounts and logins over their stores."""

    accounts: AccountStore
    logins: LoginStore
    api_keys: ApiKeyStore
    passwords: Passwords
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
        account = Account(self.new_id(), username, email, CallerRole.PLAYER, self.clock.now())
        return account, password_hash

    async def register(self, connection: Connection, account: Account, password_hash: str, game_id: str) -> Tokens:
        """Stores the account and logs it in. Raises AlreadyExists."""
        await self.accounts.insert(connection, account, password_hash)
        return await self._open(connection, account, game_id)

    async def login(self, connection: Connection, account: Account, game_id: str) -> Tokens:
        """Logs an account in whose password was verified."""
        return await self._open(connection, account, game_id)

    async def verify_password(self, username: str, password: str) -> Account:
        """The account of these credentials. Raises Unauthenticated(BAD_CREDENTIALS), in the same time for any cause."""
        credentials = await self.accounts.by_username(username)
        if not await self.passwords.verify(password, credentials.password_hash if credentials else None) or (
            credentials is None
        ):
            raise Unauthenticated(Reason.BAD_CREDENTIALS, "The username or the password is wrong.")
        return credentials.account

    async def require_game(self, game_id: str, call: Call) -> None:
        """Raises NotFound(GAME_NOT_FOUND) when a login names a game that there is not."""
        if game_id:
            await self.games.lookup(game_id, call)

    async def refresh(self, refresh_token: str) -> Tokens:
        """The next pair of a login. Raises Unauthenticated(REFRESH_TOKEN_INVALID)."""
        now = self.clock.now()
        secret = new_refresh_token()
        login = await self.logins.rotate(digest_of(refresh_token), secret.digest, now, now + self.issuer.refresh_life)
        if login is None:
            self.ended.hint()
            raise Unauthenticated(
                Reason.REFRESH_TOKEN_INVALID, "This refresh token is unknown, expired or was used before. Log in again."
            )
        return Tokens(login.caller(), self.issuer.access(login.caller()), secret.text)

    async def logout(self, caller: Caller) -> None:
        """Ends the caller's login everywhere, within a second.

        Raises PermissionDenied(ACCESS_DENIED) for an API key's token: it has no login, and to end what stands in its
        place would end the key.
        """
        caller.require_person()
        await self.logins.end_login(caller.login_id, "logout", self.clock.now())
        self.ended.hint()

    async def validate(self, token: str) -> VerifiedToken | None:
        """The token's content, or None when a call with it would be refused."""
        try:
            verified = await self.verifier.verify(token)
        except Unauthenticated:
            return None
        return None if self.revocations.is_revoked(verified.caller.login_id) else verified

    async def account(self, caller: Caller) -> Account:
        """The caller's account.

        Raises NotFound(ACCOUNT_NOT_FOUND) when it was deleted meanwhile, PermissionDenied(ACCESS_DENIED) for an API
        key's token: whoever runs a game's server need not know the developer's address.
        """
        caller.require_person()
        account = await self.accounts.by_id(caller.user_id)
        if account is None:
            raise NotFound(Reason.ACCOUNT_NOT_FOUND, "This account was deleted.")
        return account

    async def become_developer(self, caller: Caller) -> tuple[Account, AccessToken]:
        """Makes the caller's account a developer's. Raises PermissionDenied, NotFound."""
        caller.require_console()
        if not self.settings.developer_self_service and caller.role is CallerRole.PLAYER:
            raise PermissionDenied(
                Reason.DEVELOPER_BY_OPERATOR, "On this platform an operator makes developers. Ask the operator."
            )
        account = await self.accounts.make_developer(caller.user_id)
        if account is None:
            raise NotFound(Reason.ACCOUNT_NOT_FOUND, "This account was deleted.")
        return account, self.issuer.access(Login(caller.login_id, account, "").caller())

    async def require_own_game(self, caller: Caller, game_id: str, call: Call) -> None:
        """Raises unless the caller is this game's developer, logged in on the console."""
        caller.require_console()
        await self.games.require_access(caller, game_id, call)

    async def create_api_key(
        self, connection: Connection, caller: Caller, game_id: str, name: str
    ) -> tuple[ApiKey, str]:
        """A new key of a game and its secret, which is not kept."""
        secret = new_api_key()
        key = ApiKey(self.new_id(), caller.user_id, game_id, name)
        await self.api_keys.insert(connection, key, secret.digest, self.clock.now())
        return key, secret.text

    async def exchange(self, api_key: str) -> tuple[ApiKey, AccessToken]:
        """A token for an API key. Raises Unauthenticated(API_KEY_INVALID)."""
        key = await self.api_keys.by_digest(digest_of(api_key))
        if key is None:
            raise Unauthenticated(Reason.API_KEY_INVALID, "This API key is unknown, expired or deleted.")
        return key, self.issuer.access(key.caller())

    async def _open(self, connection: Connection, account: Account, game_id: str) -> Tokens:
        now = self.clock.now()
        login = Login(self.new_id(), account, game_id)
        secret = new_refresh_token()
        await self.logins.insert(connection, login, secret.digest, now, now + self.issuer.refresh_life)
        return Tokens(login.caller(), self.issuer.access(login.caller()), secret.text)
