"""Names of accounts: which there can be, and when two are the same."""

from __future__ import annotations

import secrets
import unicodedata
from typing import Final

from pkg.errors import InvalidArgument, invalid_field

_SHORTEST: Final = 3
_LONGEST: Final = 32
_MARKS: Final = "_-."
GUEST_PREFIX: Final = "guest-"
_GUEST_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"

# Names that could pass for the platform, its operators or a machine's own.
_RESERVED: Final = """
    abuse account accounts admin administrator all anonymous api auth billing bot contact deleted developer everyone
    guest help here hostmaster info legal me mod moderator news nobody null official oofgg operator owner payments
    postmaster privacy root sales security server service staff status store support system team terms
    undefined unknown user username webmaster www you
"""
RESERVED: Final = frozenset(_RESERVED.split())


def clean_username(text: str, field: str = "username") -> str:
    """The name in the form it is kept in, NFKC. Raises InvalidArgument for what cannot be one."""
    name = unicodedata.normalize("NFKC", text)
    if not _SHORTEST <= len(name) <= _LONGEST:
        raise invalid_field(field, f"must have {_SHORTEST} to {_LONGEST} characters")
    if any(character.isspace() for character in name):
        raise invalid_field(field, "may hold no spaces; the account's `display_name` may, and players see that one")
    if not (_is_letter(name[0]) or name[0].isdigit()):
        raise invalid_field(field, "must begin with a letter or a digit")
    wrong = sorted({letter for letter in name if not (_is_letter(letter) or letter.isdigit() or letter in _MARKS)})
    if wrong:
        raise invalid_field(field, f"may hold letters, digits, `_`, `-` and `.`, but not {wrong[0]!r}")
    if (scripts := _scripts(name)) and len(scripts) > 1:
        raise invalid_field(field, f"mixes scripts ({', '.join(sorted(scripts))}), so that it could pass for another")
    if fold(name) in RESERVED or fold(name).startswith(GUEST_PREFIX):
        raise _reserved(field)
    return name


def fold(name: str) -> str:
    """What two usernames or email addresses have in common when they are the same."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def new_guest_name() -> str:
    """A name for a guest, which nobody can choose."""
    return GUEST_PREFIX + "".join(secrets.choice(_GUEST_LETTERS) for _ in range(12))


def _is_letter(character: str) -> bool:
    # Marks belong to the letters of many scripts.
    return unicodedata.category(character)[0] in "LM"


def _scripts(name: str) -> set[str]:
    """The scripts of its letters, as far as their Unicode names tell: LATIN, CYRILLIC, GREEK, …

    Scripts that are written together, as in Japanese and Korean, count as one.
    """
    found = set()
    for character in name:
        if unicodedata.category(character)[0] == "L":
            script = unicodedata.name(character, "UNKNOWN").split(" ")[0]
            found.add("CJK" if script in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO") else script)
    return found


def _reserved(field: str) -> InvalidArgument:
    return invalid_field(field, "is reserved; choose another")
