"""Client SDK of oofgg, the open, self-hosted game backend.

async with oofgg.Client("localhost:8080", game="…") as client:
    await client.login("ada", "…")
    ticket = await client.enqueue("duel")
    async with client.play(await ticket.matched()) as session: ...
"""

import oofgg._forks  # noqa: F401  before grpc
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
from oofgg._queue_types import (
    DistanceRule,
    EqualRule,
    Expansion,
    OverlapRule,
    Queue,
    QueueBalance,
    QueueRole,
    QueueRule,
    QueueSession,
    QueueStats,
    RegionRule,
    SkillRule,
)
from oofgg._queues import Queues
from oofgg._resources import Games, History, Ratings, Sessions
from oofgg._ticket_types import (
    Exclusion,
    FoundMatch,
    MatchPlayer,
    TicketPlayer,
    TicketReason,
    TicketState,
    TicketStatus,
)
from oofgg._tickets import Ticket
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
    "DistanceRule",
    "EndReason",
    "EqualRule",
    "Event",
    "Exclusion",
    "Expansion",
    "FoundMatch",
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
    "MatchPlayer",
    "Message",
    "OofggError",
    "Outcome",
    "OverlapRule",
    "OwnAccount",
    "PlaySession",
    "Presence",
    "PresenceChange",
    "Queue",
    "QueueBalance",
    "QueueRole",
    "QueueRule",
    "QueueSession",
    "QueueStats",
    "Queues",
    "Rank",
    "Rating",
    "RatingChange",
    "RatingRules",
    "Ratings",
    "Reason",
    "RegionRule",
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
    "SkillRule",
    "StateChange",
    "Stubs",
    "Submitted",
    "Submitters",
    "Ticket",
    "TicketPlayer",
    "TicketReason",
    "TicketState",
    "TicketStatus",
    "TokenInfo",
    "Window",
    "WindowKind",
    "__version__",
    "errors",
]
