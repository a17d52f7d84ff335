"""The reference of the Kafka topics: from their declarations, the protos with their comments, and a record of each."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from oofgg.events.v1 import dead_letter_pb2, identity_pb2, match_pb2, matchmaking_pb2
from pkg.events.outbox import Event
from pkg.events.records import headers_of
from pkg.events.topics import (
    ACCOUNTS,
    AUDIT,
    DEAD_LETTERS,
    MATCH_HISTORY_PREFIX,
    MATCH_RESULTS,
    MATCHMAKING,
    spec_of,
)

_GAME = "0199f3a0-0000-7000-8000-000000000001"
_MATCH = "0199f3a0-0000-7000-8000-000000000002"
_ADA = "0199f3a0-0000-7000-8000-000000000003"
_BOB = "0199f3a0-0000-7000-8000-000000000004"
_TIME = datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)
_MESSAGE_FIELD, _NESTED_FIELD, _ENUM_FIELD, _VALUE_FIELD = 4, 2, 5, 2  # numbers in descriptor.proto
_SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}


@dataclass(frozen=True, slots=True)
class Topic:
    """What the code does not say about a topic in one place, and an event that might be on it."""

    name: str
    """As it is called, or up to the id of a game."""
    purpose: str
    source: str
    """The service that publishes to it."""
    key: str
    example: Message
    example_key: str
    others: tuple[str, ...] = ()
    """Full names of other messages that are on it."""


def topics() -> list[Topic]:
    """All topics of the platform."""
    finished = _finished()
    published = match_pb2.MatchFinished()
    published.CopyFrom(finished)
    published.match_history_topic = ""
    for player, moved in zip(published.participants, (2.6, -2.6), strict=True):
        player.rating_change.before.CopyFrom(match_pb2.Rating(mu=25.0, sigma=8.333, provisional=True))
        player.rating_change.after.CopyFrom(match_pb2.Rating(mu=25.0 + moved, sigma=8.066, matches=1, provisional=True))
    deleted = identity_pb2.AccountDeleted(user_id=_ADA)
    deleted.delete_time.FromDatetime(_TIME)
    login = identity_pb2.SecurityEvent(
        kind=identity_pb2.SECURITY_EVENT_KIND_LOGIN,
        user_id=_ADA,
        game_id=_GAME,
        address="192.0.2.7",
        client="oofgg/0.1",
    )
    login.occur_time.FromDatetime(_TIME)
    letter = dead_letter_pb2.DeadLetter(
        dead_letter_id=1, topic=MATCH_RESULTS, partition=3, offset=412, reason="the header ce_id is missing",
        key=b"k", value=b"?",
    )  # fmt: skip
    return [
        Topic(
            MATCH_HISTORY_PREFIX,
            "The finished matches of one game, for its developer: see [how to subscribe]"
            "(../how-to/subscribe-to-matches.md) and [who may read it](../how-to/kafka-access.md).",
            "scoring", "the match", published, _MATCH,
        ),
        Topic(
            MATCH_RESULTS,
            "The finished matches of all games, for the platform's own projections.",
            "game", "the match", finished, _MATCH,
        ),
        Topic(
            MATCHMAKING,
            "Matches that were made from tickets, and tickets that are over without one.",
            "matchmaking", "the session, or the ticket", _formed(), _MATCH,
            (matchmaking_pb2.TicketEnded.DESCRIPTOR.full_name,),
        ),
        Topic(
            ACCOUNTS, "Accounts that are gone, for whoever keeps something about accounts.",
            "auth", "the account", deleted, _ADA,
        ),
        Topic(
            AUDIT, "What happens to accounts, logins and keys, for operators. Holds no secret.",
            "auth", "the account, or where it came from", login, _ADA,
        ),
        Topic(
            DEAD_LETTERS,
            "Records that a projection could not apply, with the reason: see "
            "[dead letters](../operations/dead-letters.md).",
            "scoring", "the topic it was on", letter, MATCH_RESULTS,
        ),
    ]  # fmt: skip


def topics_page() -> str:
    """The page."""
    described = _Described()
    lines = [
        "# Kafka topics",
        "",
        "How the topics are written and read, and what a broker that loses records means for readers:",
        "[events](../architecture/events.md). Messages only ever get new fields; `make lint` refuses",
        "other changes of `oofgg.events.v1`. The services create the topics, with these partitions and this retention.",
        "",
        "A record is a CloudEvent in binary mode: the value is the message, the rest is in the headers.",
        "",
    ]
    for topic in topics():
        lines += _section(topic, described)
    return "\n".join(lines)


def _section(topic: Topic, described: _Described) -> Iterator[str]:
    spec = spec_of(topic.name)
    shown = topic.name + ("<game_id>" if topic.name.endswith(".") else "")
    kind = topic.example.DESCRIPTOR.full_name
    yield from (f"## `{shown}`", "", topic.purpose, "", "| | |", "|---|---|")
    yield f"| key | {topic.key}, as text |"
    yield f"| partitions | {spec.partitions} |"
    yield f"| kept for | {spec.retention_days} days |"
    yield f"| published by | `{topic.source}` |"
    yield "| value | " + " or ".join(f"`{name}`" for name in (kind, *topic.others)) + " |"
    yield ""
    for name in (kind, *topic.others):
        yield from described.message(name)
    yield from ("A record, with its value as JSON:", "", "```json")
    yield json.dumps(_record(topic, shown), indent=2)
    yield from ("```", "")


def _record(topic: Topic, shown: str) -> dict[str, object]:
    event = Event(
        str(uuid.uuid5(uuid.NAMESPACE_OID, topic.name)),
        topic.example.DESCRIPTOR.full_name,
        topic.example_key,
        topic.example.SerializeToString(),
        _TIME,
    )
    return {
        "topic": shown.replace("<game_id>", _GAME),
        "key": topic.example_key,
        "headers": {
            name: value.decode() for name, value in headers_of(event, f"/oofgg/{topic.source}", 17, 16, 1)
        },
        "value": MessageToDict(topic.example, preserving_proto_field_name=True),
    }  # fmt: skip


class _Described:
    """The messages and enums of `oofgg.events.v1` with their comments."""

    def __init__(self) -> None:
        described = FileDescriptorSet.FromString(files("oofgg.events.v1").joinpath("events.binpb").read_bytes())
        self._messages: dict[str, tuple[DescriptorProto, Mapping[tuple[int, ...], str], tuple[int, ...]]] = {}
        self._enums: dict[str, tuple[EnumDescriptorProto, Mapping[tuple[int, ...], str], tuple[int, ...]]] = {}
        for file in (file for file in described.file if file.package == "oofgg.events.v1"):
            comments = {
                tuple(place.path): " ".join(place.leading_comments.split()) for place in file.source_code_info.location
            }
            for index, message in enumerate(file.message_type):
                self._messages[f"{file.package}.{message.name}"] = (message, comments, (_MESSAGE_FIELD, index))
            for index, enum in enumerate(file.enum_type):
                self._enums[f"{file.package}.{enum.name}"] = (enum, comments, (_ENUM_FIELD, index))

    def message(self, name: str) -> Iterator[str]:
        """The message and what it is made of, each once."""
        waiting, told = [name], set[str]()
        while waiting:
            current = waiting.pop(0)
            if current in told:
                continue
            told.add(current)
            if current in self._enums:
                yield from self._enum(current)
                continue
            message, comments, place = self._messages[current]
            yield from (f"**{message.name}**: {comments[place]}", "", "| field | | |", "|---|---|---|")
            for index, field in enumerate(message.field):
                kind, inner = self._type(message, field)
                yield f"| `{field.name}` | `{kind}` | {comments[(*place, _NESTED_FIELD, index)]} |"
                waiting += inner
            yield ""

    def _enum(self, name: str) -> Iterator[str]:
        enum, comments, place = self._enums[name]
        yield from (f"**{enum.name}**: {comments[place]}", "", "| value | |", "|---|---|")
        for index, value in enumerate(enum.value):
            yield f"| `{value.name}` | {comments[(*place, _VALUE_FIELD, index)]} |"
        yield ""

    def _type(self, message: DescriptorProto, field: FieldDescriptorProto) -> tuple[str, list[str]]:
        """How a field's type is shown, and which types it brings along."""
        name = field.type_name.removeprefix(".")
        for entry in message.nested_type:
            if name.endswith(f".{entry.name}") and entry.options.map_entry:
                return "map<{}, {}>".format(*(_SCALARS[part.type] for part in entry.field)), []
        shown = name.rpartition(".")[2] or _SCALARS[field.type]
        many = "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else ""
        return f"{many}{shown}", [name] if name in self._messages or name in self._enums else []


def _formed() -> matchmaking_pb2.MatchFormed:
    event = matchmaking_pb2.MatchFormed(
        session_id=_MATCH, game_id=_GAME, queue="duel", queue_version=3, attributes={"region": "eu"}
    )
    for team, (user, name) in enumerate(((_ADA, "ada"), (_BOB, "bob")), 1):
        event.players.add(
            user_id=user, username=name, team=team, wait_seconds=4.2, rating=25.0,
            ticket_id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        )  # fmt: skip
    event.form_time.FromDatetime(_TIME)
    return event


def _finished() -> match_pb2.MatchFinished:
    message = match_pb2.MatchFinished(
        match_id=_MATCH, game_id=_GAME, result_state=match_pb2.RESULT_STATE_AGREED, label="Friday night",
        attributes={"map": "harbour"}, match_history_topic=MATCH_HISTORY_PREFIX + _GAME,
    )  # fmt: skip
    message.start_time.FromDatetime(_TIME.replace(minute=0))
    message.finish_time.FromDatetime(_TIME)
    for seat, (user, name) in enumerate(((_ADA, "ada"), (_BOB, "bob")), 1):
        message.participants.add(
            seat=seat, user_id=user, username=name, placement=seat, score=30 // seat, stats={"moves": 40.0 + seat}
        )
    return message
