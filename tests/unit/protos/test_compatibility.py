"""What `make breaking` refuses: changes of events that readers of old or of new records would feel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).parents[3]
BASELINE = ROOT / "proto" / "baseline.binpb"
EVENTS = {f"oofgg/events/v1/{path.name}" for path in (ROOT / "proto/oofgg/events/v1").glob("*.proto")}


def baseline() -> FileDescriptorSet:
    return FileDescriptorSet.FromString(BASELINE.read_bytes())


def without_a_field(file: FileDescriptorProto) -> None:
    message = file.message_type[0]
    if message.field[-1].proto3_optional:
        del message.oneof_decl[message.field[-1].oneof_index]
    del message.field[-1]


def with_another_type(file: FileDescriptorProto) -> None:
    field = file.message_type[0].field[0]
    field.type = field.TYPE_INT64 if field.type != field.TYPE_INT64 else field.TYPE_STRING


def with_another_number(file: FileDescriptorProto) -> None:
    file.message_type[0].field[0].number = 99


def without_a_value(file: FileDescriptorProto) -> None:
    del file.enum_type[0].value[-1]


def with_one_more_field(file: FileDescriptorProto) -> None:
    field = file.message_type[0].field.add()
    field.CopyFrom(file.message_type[0].field[0])
    field.name, field.number, field.json_name = "added", 99, "added"


def refused(changed: FileDescriptorSet, folder: Path) -> str:
    """What buf says against a change; empty where it has nothing against it."""
    path = folder / "changed.binpb"
    path.write_bytes(changed.SerializeToString())
    buf = Path(sys.executable).with_name("buf")
    done = subprocess.run(
        [buf, "breaking", path, "--against", BASELINE, "--config", ROOT / "proto" / "buf.yaml"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0 or done.stdout, done.stderr
    return done.stdout


def test_all_events_are_released() -> None:
    assert {file.name for file in baseline().file} >= EVENTS


@pytest.mark.parametrize("name", sorted(EVENTS))
@pytest.mark.parametrize(
    "change", [without_a_field, with_another_type, with_another_number, without_a_value], ids=lambda f: f.__name__
)
def test_breaking_an_event_is_refused(name: str, change: Callable[[FileDescriptorProto], None], tmp_path: Path) -> None:
    changed = baseline()
    file = next(file for file in changed.file if file.name == name)
    if change is without_a_value and not file.enum_type:
        return
    change(file)
    assert name in refused(changed, tmp_path)


def test_adding_a_field_is_not(tmp_path: Path) -> None:
    changed = baseline()
    for file in changed.file:
        if file.name in EVENTS:
            with_one_more_field(file)
    assert refused(changed, tmp_path) == ""
