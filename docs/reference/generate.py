"""Writes the reference pages that follow from the code: `python docs/reference/generate.py` (part of `make proto`).

`--check` writes nothing and exits 1 when a page is not what the code says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from docs.reference.topics import topics_page
from pkg.config import Settings
from pkg.rpc.reflection import api_descriptors
from services.game.settings import GameSettings

HERE = Path(__file__).parent
_ENUM_FIELD = 5  # FileDescriptorProto.enum_type
_VALUE_FIELD = 2  # EnumDescriptorProto.value


def main(arguments: list[str]) -> int:
    """Writes or checks all pages."""
    pages = {"errors.md": errors_page(), "settings.md": settings_page(), "topics.md": topics_page()}
    stale = [name for name, text in pages.items() if not (HERE / name).is_file() or (HERE / name).read_text() != text]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/reference/{name} is not what the code says; run `make proto`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (HERE / name).write_text(pages[name])
    return 0


def errors_page() -> str:
    """Every reason with its gRPC code and meaning, from the comments in errors.proto."""
    lines = [
        "# Errors",
        "",
        "Every failure is a gRPC status whose details hold one `google.rpc.ErrorInfo` with domain `oofgg` and one of",
        "these reasons, the `request_id` in its metadata, and a `BadRequest` or `RetryInfo` where they apply. Branch",
        "on code and reason, never on the text. Every answer, also what Envoy refuses by itself, names the request id",
        "in the header `x-request-id` too.",
        "",
        "| reason | code | meaning |",
        "|---|---|---|",
    ]
    for name, comment in _reasons():
        code, _, meaning = comment.partition(": ")
        if code.isupper():
            lines.append(f"| `{name}` | `{code}` | {meaning[:1].upper()}{meaning[1:]} |")
    return "\n".join([*lines, ""])


def _reasons() -> Iterator[tuple[str, str]]:
    file = next(f for f in api_descriptors().file if f.name == "oofgg/v1/errors.proto")
    index = next(i for i, enum in enumerate(file.enum_type) if enum.name == "ErrorReason")
    comments = _comments(file)
    for number, value in enumerate(file.enum_type[index].value):
        comment = comments.get((_ENUM_FIELD, index, _VALUE_FIELD, number), "")
        yield value.name.removeprefix("ERROR_REASON_"), " ".join(comment.split())


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {tuple(place.path): place.leading_comments for place in file.source_code_info.location}


def settings_page() -> str:
    """Every setting with its default and meaning."""
    lines = [
        "# Settings",
        "",
        "Environment variables of `python -m services serve`. A process checks them before it starts and names what is",
        "wrong. A secret is better given as a file: `OOFGG_MASTER_KEY_FILE` instead of `OOFGG_MASTER_KEY`.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    lines += _rows(Settings)
    lines += ["", "## Live sessions", "", "For processes that serve `game`.", ""]
    lines += ["| variable | default | meaning |", "|---|---|---|", *_rows(GameSettings)]
    return "\n".join([*lines, ""])


def _rows(settings: type[BaseSettings]) -> Iterator[str]:
    prefix = settings.model_config["env_prefix"]
    for name, field in settings.model_fields.items():
        default = field.default
        if default is PydanticUndefined:
            shown = "the host's name" if field.default_factory else "required"
        elif default is None or default == "" or isinstance(default, SecretStr):
            shown = "–"
        else:
            shown = f"`{getattr(default, 'value', default)}`"
        yield f"| `{prefix}{name.upper()}` | {shown} | {field.description} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
