"""Client SDK of oofgg, the open, self-hosted game backend.

async with oofgg.Client("localhost:8080", game="…") as client:
    await client.login("ada", "…")
    session = await client.sessions.create()
    async with client.play(session) as play: ...
"""

from oofgg import errors
from oofgg._channel import Stubs
from oofgg._events import Event, LogReset, Message, Presence, ResultChange, SessionChange, StateChange
from oofgg._own_account import OwnAccount
from oofgg._play import PlaySession
from oofgg._resources import Games, History, Leaderboards, Ratings, Sessions
from oofgg._types import (
    Account,
    ApiKey,
    ApiKeyInfo,
    Delivery,
    EndReason,
    Game,
    GameSettings,
    LeaderboardEntry,
    Login,
    LoginInfo,
    Match,
    MatchNews,
    MatchOutcome,
    MatchParticipant,
    Outcome,
    PresenceChange,
    Rank,
    Rating,
    RatingChange,
    RatingRules,
    ResultState,
    Role,
    Seat,
    SeatResult,
    Session,
    SessionState,
    TokenInfo,
)
from oofgg.client import Client
from oofgg.errors import OofggError, Reason

__version__ = "0.1.0"

__all__ = [
    "Account",
    "ApiKey",
    "ApiKeyInfo",
    "Client",
    "Delivery",
    "EndReason",
    "Event",
    "Game",
    "GameSettings",
    "Games",
    "History",
    "LeaderboardEntry",
    "Leaderboards",
    "LogReset",
    "Login",
    "LoginInfo",
    "Match",
    "MatchNews",
    "MatchOutcome",
    "MatchParticipant",
    "Message",
    "OofggError",
    "Outcome",
    "OwnAccount",
    "PlaySession",
    "Presence",
    "PresenceChange",
    "Rank",
    "Rating",
    "RatingChange",
    "RatingRules",
    "Ratings",
    "Reason",
    "ResultChange",
    "ResultState",
    "Role",
    "Seat",
    "SeatResult",
    "Session",
    "SessionChange",
    "SessionState",
    "Sessions",
    "StateChange",
    "Stubs",
    "TokenInfo",
    "__version__",
    "errors",
]
