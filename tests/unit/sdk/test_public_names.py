"""What users may rely on. A change here is a change of the SDK's interface: note it in sdk/CHANGELOG.md."""

from __future__ import annotations

import ast
import inspect
import sys
from operator import attrgetter
from pathlib import Path

import pytest

import oofgg
import oofgg.kafka
import oofgg.sync
from oofgg import errors
from oofgg.kafka import MatchRecord, Security
from oofgg.v1 import errors_pb2

SDK = Path(__file__).parents[3] / "sdk" / "src" / "oofgg"

FOR_KAFKA = {"kafka.py", "_kafka_clients.py"}

NAMES = """
Account ApiKey ApiKeyInfo Around Client Delivery DistanceRule EndReason EqualRule Event Exclusion Expansion FoundMatch
Game GameSettings Games History Leaderboard LeaderboardEntry Leaderboards LogReset Login LoginInfo Match MatchNews
MatchOutcome MatchParticipant MatchPlayer Message OofggError Outcome OverlapRule OwnAccount PlaySession Presence
PresenceChange Queue QueueBalance QueueRole QueueRule QueueSession QueueStats Queues Rank Rating RatingChange
RatingRules Ratings Reason RegionRule ResultChange ResultState Role Score ScoreOperator ScoreOrder Season Seat
SeatResult Session SessionChange SessionState Sessions SkillRule StateChange Stubs Submitted Submitters Ticket
TicketPlayer TicketReason TicketState TicketStatus TokenInfo Window WindowKind __version__ errors
"""
MEMBERS = {
    "Client": (
        "account become_developer close enqueue login login_guest login_info logout metadata play register spectate "
        "ticket validate_token"
    ),
    "Games": "create create_api_key delete get list list_api_keys revoke_api_key update",
    "OwnAccount": (
        "change_password delete export link_device link_password logins revoke_all_logins revoke_login unlink_device "
        "unlink_password update"
    ),
    "Sessions": "backfill close create finish get join kick leave list pause replay start take_seat update",
    "Leaderboards": "all around create delete entries get info rank remove seasons submit submit_many update",
    "Queues": "create delete get list stats update",
    "Ratings": "get rules set_rules",
    "Ticket": "accept cancel decline leave matched state status ticket_id",
    "sync.Ticket": "accept cancel decline leave matched poll state status ticket_id",
    "History": "export get list watch",
    "kafka.MatchHistory": "commit position topic",
    "PlaySession": (
        "clock_offset connected finish flush info kick latency leave roster seat seats send session_id started state "
        "throttled update"
    ),
    "sync.Client": (
        "account become_developer close enqueue game login login_guest login_info logout metadata play register "
        "spectate ticket validate_token"
    ),
    "sync.PlaySession": (
        "clock_offset close connected ended finish flush info kick latency leave poll roster seat seats send "
        "session_id "
        "started state throttled update wait"
    ),
    "Message": "after_seq data event_time json key kind number parse seat seq text to",
    "OofggError": "add_note args code request_id with_traceback",
}
ERRORS = """
Aborted AlreadyExists Cancelled DataLoss DeadlineExceeded FailedPrecondition FieldViolation Internal InvalidArgument
NotFound OofggError OutOfRange PermissionDenied Reason ResourceExhausted TicketError Unauthenticated Unavailable
Unimplemented Unknown from_rpc_error from_status
"""


def test_names_of_the_package() -> None:
    assert sorted(oofgg.__all__) == sorted(NAMES.split())
    assert all(hasattr(oofgg, name) for name in oofgg.__all__)


@pytest.mark.parametrize("name", MEMBERS)
def test_members(name: str) -> None:
    public = [member for member in dir(attrgetter(name)(oofgg)) if not member.startswith("_")]
    assert public == MEMBERS[name].split()


def test_names_for_kafka() -> None:
    assert oofgg.kafka.__all__ == ["MatchHistory", "MatchRecord", "Security"]
    assert [*MatchRecord.__dataclass_fields__] == ["match", "position", "event_id"]
    assert [*Security.__dataclass_fields__] == ["username", "password", "mechanism", "tls"]


def test_errors() -> None:
    defined = [
        name
        for name, value in vars(errors).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == "oofgg.errors"
    ]
    assert sorted(defined) == sorted(ERRORS.split())


def test_reasons_are_those_of_the_protos() -> None:
    assert [f"ERROR_REASON_{reason}" for reason in oofgg.Reason] == errors_pb2.ErrorReason.keys()


@pytest.mark.parametrize("name", [name for name in NAMES.split() if name[0].isupper()])
def test_everything_says_what_it_is(name: str) -> None:
    public = getattr(oofgg, name)
    assert inspect.getdoc(public)
    for member, value in vars(public).items():
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"


@pytest.mark.parametrize("path", sorted([*SDK.glob("*.py"), *SDK.glob("sync/*.py")]), ids=lambda path: path.name)
def test_the_sdk_stands_on_grpc_and_protobuf_alone(path: Path) -> None:
    allowed = sys.stdlib_module_names | {"grpc", "google", "oofgg"}
    if path.name in FOR_KAFKA:
        allowed |= {"aiokafka"}  # the extra `oofgg[kafka]`; nothing else may import these
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported = [node.module or ""]
        else:
            continue
        assert {name.partition(".")[0] for name in imported} <= allowed
        if path.name not in FOR_KAFKA:
            assert not {"oofgg.kafka", "oofgg._kafka_clients"} & set(imported)
        google = {name for name in imported if name.startswith("google")}
        assert all(name.startswith("google.protobuf") for name in google)
