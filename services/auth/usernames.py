"""Names and email addresses of accounts: which there can be, and when two are the same."""

from __future__ import annotations

import secrets
import unicodedata
from functools import cache
from typing import Final

import email_validator
import regex

from pkg.errors import InvalidArgument, invalid_field
from services.auth.lookalikes import INVISIBLE, skeleton

_SHORTEST: Final = 3
_LONGEST: Final = 32
_MARKS: Final = "_-."
# Beside what is invisible by its nature: the empty pattern of Braille.
_BLANK: Final = regex.compile(r"[\s\u2800\p{Default_Ignorable_Code_Point}]")
_SHARED: Final = regex.compile(r"[\p{Script=Common}\p{Script=Inherited}]")
_EAST_ASIAN: Final = regex.compile(
    r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}]"
)
# More than this many combining marks in a row are no script's: they are drawn over what stands around the name.
_MANY_COMBINING_MARKS: Final = regex.compile(r"\p{M}{3}")
GUEST_PREFIX: Final = "guest-"
# As its documentation has it, this list is for programs to change.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
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
    if hidden := INVISIBLE.search(text):
        raise invalid_field(field, f"has a character that cannot be seen: U+{ord(hidden[0][0]):04X}")
    name = unicodedata.normalize("NFKC", text)
    if not _SHORTEST <= len(name) <= _LONGEST:
        raise invalid_field(field, f"must have {_SHORTEST} to {_LONGEST} characters")
    if any(character.isspace() for character in name):
        raise invalid_field(field, "may hold no spaces; the account's `display_name` may, and players see that one")
    if not (_is_letter(name[0]) or name[0].isdigit()):
        raise invalid_field(field, "must begin with a letter or a digit")
    wrong = sorted({letter for letter in name if not (_is_letter(letter) or letter.isdigit() or letter in _MARKS)})
    if " " in wrong:
        raise invalid_field(field, "may have no spaces; the account's `display_name` may")
    if wrong:
        raise invalid_field(field, f"may hold letters, digits, `_`, `-` and `.`, but not {wrong[0]!r}")
    if (scripts := _scripts(name)) and len(scripts) > 1:
        raise invalid_field(field, f"mixes scripts ({', '.join(sorted(scripts))}), so that it could pass for another")
    if _MANY_COMBINING_MARKS.search(unicodedata.normalize("NFD", name)):
        raise invalid_field(field, "has more than two combining marks in a row")
    if _looks_reserved(name):
        raise _reserved(field)
    return name


def clean_email(text: str, field: str = "email") -> str:
    """The address in the form it is kept in. Raises InvalidArgument for what is not an email address.

    Only the form is checked: whether mail arrives there, nobody asks. So addresses of private networks
    (`ada@studio.internal`) and of domains that never get mail (`bot@load.invalid`) are addresses, too.
    """
    try:
        checked = email_validator.validate_email(
            text, check_deliverability=False, globally_deliverable=False, allow_smtputf8=False, strict=True
        )
    except email_validator.EmailNotValidError as error:
        raise invalid_field(field, f"is not an email address: {error}") from None
    return checked.normalized


def clean_display_name(text: str, field: str = "display_name") -> str:
    """The name that others are shown, without spaces around it; may be empty. Raises InvalidArgument.

    It may have spaces and emoji, and several accounts may have the same. But it can be seen, and stays on its line.
    """
    name = text.strip()
    if not name.isprintable():
        raise invalid_field(field, "holds characters that cannot be shown")
    if name and not _BLANK.sub("", name):
        raise invalid_field(field, "has nothing that can be seen")
    if _MANY_COMBINING_MARKS.search(unicodedata.normalize("NFD", name)):
        raise invalid_field(field, "has more than two combining marks in a row")
    return name


def load() -> None:
    """Loads the data that names are checked with, which takes 70 ms at the first name otherwise."""
    _reserved_skeletons()


def fold(name: str) -> str:
    """What two usernames or email addresses have in common when they are the same.

    NFKC_Casefold of Unicode (chapter 3.13, D146 and R5): case, width and invisible characters make no difference.
    """
    folded = unicodedata.normalize("NFKC", name)
    for _ in range(2):  # composition may bring about what can be folded once more
        folded = unicodedata.normalize("NFKC", INVISIBLE.sub("", folded.casefold()))
    return folded


def new_guest_name() -> str:
    """A name for a guest, which nobody can choose."""
    return GUEST_PREFIX + "".join(secrets.choice(_GUEST_LETTERS) for _ in range(12))


def _looks_reserved(name: str) -> bool:
    folded = fold(name)
    if folded in RESERVED or folded.startswith(GUEST_PREFIX):
        return True
    shape = skeleton(folded)
    return shape in _reserved_skeletons() or shape.startswith(skeleton(GUEST_PREFIX))


@cache
def _reserved_skeletons() -> frozenset[str]:
    """The first call loads what looks alike: 70 ms."""
    return frozenset(map(skeleton, RESERVED))


def _is_letter(character: str) -> bool:
    # Marks belong to the letters of many scripts.
    return unicodedata.category(character)[0] in "LM"


def _scripts(name: str) -> set[str]:
    """The scripts of its letters: HAN for those that are written together, as in Japanese and Korean; otherwise by the
    letters' Unicode names (LATIN, CYRILLIC, GREEK, …). Letters that several scripts share, such as `ー`, have none.
    """
    found = set()
    for character in name:
        if unicodedata.category(character)[0] != "L" or _SHARED.fullmatch(character):
            continue
        script = unicodedata.name(character, "UNKNOWN").split(" ")[0]
        found.add("HAN" if _EAST_ASIAN.fullmatch(character) else script)
    return found


def _reserved(field: str) -> InvalidArgument:
    return invalid_field(field, "is reserved; choose another")
