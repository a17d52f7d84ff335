"""What a data directory remembers."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from pkg.embedded import AlreadyRunning, EmbeddedError, read_state
from pkg.embedded.state import DataDirectory


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    directory = DataDirectory(tmp_path / "data")
    directory.acquire()
    return directory


def test_a_directory_has_one_holder(directory: DataDirectory) -> None:
    other = DataDirectory(directory.path)
    with pytest.raises(AlreadyRunning, match=r"already running on .*supervisor pid \d+.*--data-dir"):
        other.acquire()
    directory.release()
    other.acquire()


@pytest.mark.parametrize(
    "path", ["/dev/null", "/dev/null/data", "/proc/data"], ids=["a file", "in a file", "unwritable"]
)
def test_a_directory_that_cannot_be_used_is_refused_in_words(path: str) -> None:
    with pytest.raises(EmbeddedError, match=rf"{path} cannot be the data directory: .*--data-dir"):
        DataDirectory(Path(path)).acquire()


def test_the_state_is_private_and_comes_back(directory: DataDirectory) -> None:
    assert directory.read() == {}
    directory.write({"ports": {"kafka": 1}})
    assert read_state(directory.path) == {"ports": {"kafka": 1}}
    assert (directory.path / "state.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]"], ids=["empty", "cut off", "not an object"])
def test_a_broken_state_counts_as_none(directory: DataDirectory, content: str) -> None:
    (directory.path / "state.json").write_text(content)
    assert directory.read() == {}


def test_secrets_are_made_once_and_private(directory: DataDirectory) -> None:
    path = directory.secret("master_key")
    first = path.read_text()
    assert len(base64.b64decode(first, validate=True)) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert directory.secret("master_key").read_text() == first
    assert directory.secret("service_secret").read_text() != first
