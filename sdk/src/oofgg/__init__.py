"""Client SDK of oofgg, the open, self-hosted game backend.

async with oofgg.Client("localhost:8080", game="…") as client:
    await client.login("ada", "…")
    session = await client.sessions.create()
    async with client.play(session) as play: ...
"""

from oofgg import errors
from oofgg._channel import Stubs
from oofgg._events import Event, LogReset, Message, Presence, ResultChange, SessionChange, StateChange
from oofgg._leaderboard_types import (
    Around,
    Leaderboard,
    LeaderboardEntry,
    Rank,
    Score,
    ScoreOperator,
    ScoreOrder,
    Season,
    Submitted,
    Submitters,
    Window,
    WindowKind,
)
from oofgg._leaderboards import Leaderboards
from oofgg._own_account import OwnAccount
from oofgg._play import PlaySession
from oofgg._resources import Games, History, Ratings, Sessions
from oofgg._types import (
    Account,
    ApiKey,
    ApiKeyInfo,
    Delivery,
    EndReason,
    Game,
    GameSettings,
    Login,
    LoginInfo,
    Match,
    MatchNews,
    MatchOutcome,
    MatchParticipant,
    Outcome,
    PresenceChange,
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
    "Around",
    "Client",
    "Delivery",
    "EndReason",
    "Event",
    "Game",
    "GameSettings",
    "Games",
    "History",
    "Leaderboard",
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
    "Score",
    "ScoreOperator",
    "ScoreOrder",
    "Season",
    "Seat",
    "SeatResult",
    "Session",
    "SessionChange",
    "SessionState",
    "Sessions",
    "StateChange",
    "Stubs",
    "Submitted",
    "Submitters",
    "TokenInfo",
    "Window",
    "WindowKind",
    "__version__",
    "errors",
]
