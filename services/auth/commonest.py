"""The commonest passwords, which are guessed first. The list is the one that zxcvbn ships: 30,000 from public leaks."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Final

from pkg.errors import invalid_field

_SHORTEST: Final = 8


def require_uncommon(password: str, username: str, field: str) -> None:
    """Raises InvalidArgument for a password that is among the first to be guessed."""
    folded = password.casefold()
    if folded in _commonest() or folded.rstrip("0123456789!") in _commonest():
        raise invalid_field(field, "is one of the commonest passwords; choose another")
    if username and folded in (username.casefold(), username.casefold()[::-1]):
        raise invalid_field(field, "is the username; choose another")
    if len(set(folded)) <= 2:
        raise invalid_field(field, "repeats the same characters; choose another")


@cache
def _commonest() -> frozenset[str]:
    # The module alone, and dropped afterwards: the package builds indexes that nothing here needs.
    package = find_spec("zxcvbn")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("zxcvbn, which brings the list of the commonest passwords, is not installed")
    path = Path(package.submodule_search_locations[0]) / "frequency_lists.py"
    spec = spec_from_file_location("_oofgg_frequency_lists", path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"{path} cannot be loaded")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    lists: dict[str, list[str]] = module.FREQUENCY_LISTS
    return frozenset(password for password in lists["passwords"] if len(password) >= _SHORTEST)
