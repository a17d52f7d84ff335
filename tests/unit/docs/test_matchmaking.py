"""The how-to of matchmaking shows what the simulator prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from services.__main__ import main

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "matchmaking.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
COMMAND = ".venv/bin/python -m services "


def test_the_page_can_be_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told = ""
    shown = 0
    for language, text in BLOCK.findall(PAGE.read_text()):
        if language == "yaml":
            name = text.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(text)
        elif language == "sh":
            for line in text.splitlines():
                assert line.startswith(COMMAND)
                assert main(shlex.split(line.removeprefix(COMMAND))) == 0
            told = capsys.readouterr().out
        elif language == "text":
            assert [line for line in text.splitlines() if line not in told.splitlines()] == []
            shown += 1
    assert shown == 6
