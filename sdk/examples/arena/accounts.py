"""Accounts for a game that asks for no password: one is made for each name, and kept in a file of this machine.

A name that somebody else has gets a few letters more.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Final

import oofgg
from oofgg import errors

DEFAULT_FILE: Final = Path.home() / ".oofgg-arena.json"
_TRIES: Final = 4


class Accounts:
    """The accounts of this machine, by platform and wanted name. The file is readable for its owner alone."""

    def __init__(self, file: Path = DEFAULT_FILE) -> None:
        self._file = file

    async def enter(self, client: oofgg.Client, name: str, *, place: str) -> str:
        """Logs a client in under a name, or makes the account first. Returns the name it has at this `place`."""
        kept = self._read().get(f"{place} {name}")
        if kept is not None:
            try:
                await client.login(kept["username"], kept["password"])
                return kept["username"]
            except errors.Unauthenticated:
                pass  # a platform whose data is gone
        username, password = name, secrets.token_urlsafe(18)
        for _ in range(_TRIES):
            try:
                await client.register(username, f"{username}@arena.invalid", password)
                break
            except errors.AlreadyExists:
                username = f"{name}-{secrets.token_hex(2)}"
        else:
            raise errors.AlreadyExists(f"the name {name} is taken")
        self._write({**self._read(), f"{place} {name}": {"username": username, "password": password}})
        return username

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            known: dict[str, dict[str, str]] = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return known

    def _write(self, known: dict[str, dict[str, str]]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(known, file, indent=1)
        fresh.replace(self._file)
