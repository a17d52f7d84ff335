"""Which usernames there can be, and when two are one."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.errors import InvalidArgument
from services.auth.usernames import (
    GUEST_PREFIX,
    RESERVED,
    clean_display_name,
    clean_email,
    clean_username,
    fold,
    new_guest_name,
)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        pytest.param("ada", "ada", id="plain"),
        pytest.param("Ada_L-1.x", "Ada_L-1.x", id="marks"),
        pytest.param("1ada", "1ada", id="a digit first"),
        pytest.param("ａｄａ", "ada", id="full width"),
        pytest.param("ﬁnn", "finn", id="a ligature"),
        pytest.param("ada²", "ada2", id="a superscript"),
        pytest.param("e\u0301lan", "\u00e9lan", id="composed"),
        pytest.param("Ольга", "Ольга", id="Cyrillic"),
        pytest.param("さくら桜カ", "さくら桜カ", id="Japanese"),
        pytest.param("한국어", "한국어", id="Korean"),
        pytest.param("佐々木", "佐々木", id="a Japanese mark of repetition"),
        pytest.param("マリオカート", "マリオカート", id="a Japanese mark of length"),
        pytest.param("日本ユーザー", "日本ユーザー", id="Han and Katakana"),
        pytest.param("ʻokina", "ʻokina", id="a Hawaiian letter"),
        pytest.param("नमस्ते", "नमस्ते", id="marks of a script"),
        pytest.param("ada" + "x" * 29, "ada" + "x" * 29, id="longest"),
    ],
)
def test_names_that_can_be(typed: str, kept: str) -> None:
    assert clean_username(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param("", id="empty"),
        pytest.param("ab", id="short"),
        pytest.param("ad" + "x" * 31, id="long"),
        pytest.param("a b c", id="blanks"),
        pytest.param(" ada", id="a blank first"),
        pytest.param("_ada", id="a mark first"),
        pytest.param("ada@x.org", id="an address"),
        pytest.param("ada\u200bx", id="a zero-width space"),
        pytest.param("ada\u202ex", id="right to left"),
        pytest.param("ada\x00x", id="zero"),
        pytest.param("ada\nx", id="a line"),
        pytest.param("ada🙂", id="an emoji"),
        pytest.param("a'; drop", id="quotes"),
        pytest.param("раypal", id="Cyrillic among Latin"),
        pytest.param("αda", id="Greek among Latin"),
        pytest.param("admin", id="reserved"),
        pytest.param("ADMIN", id="reserved in capitals"),
        pytest.param("ａｄｍｉｎ", id="reserved in full width"),
        pytest.param("ſupport", id="reserved with a long s"),
        pytest.param("guest-abc", id="a guest's"),
        pytest.param("GUEST-abc", id="a guest's in capitals"),
        pytest.param("admın", id="reserved with a dotless i"),
        pytest.param("ɑdmin", id="reserved with a script a"),
        pytest.param("adrnin", id="reserved with rn for m"),
        pytest.param("admin\u034f", id="reserved with a grapheme joiner"),
        pytest.param("guɛst-abc".replace("ɛ", "e").replace("g", "ɡ"), id="a guest's with a script g"),
        pytest.param("ada\u3164", id="a Hangul filler"),
        pytest.param("ada\u115f\u1160", id="Hangul fillers for parts of letters"),
        pytest.param("ada\uffa0", id="a half-width filler"),
        pytest.param("ada\ufe0f", id="a variation selector"),
        pytest.param("a\u0301\u0302\u0303da", id="three marks over one letter"),
        pytest.param("नमस्ते" + "\u0902" * 3, id="three marks in a row"),
    ],
)
def test_names_that_cannot(typed: str) -> None:
    with pytest.raises(InvalidArgument):
        clean_username(typed)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ada", "aDA"), ("STRASSE", "straße"), ("ﬁnn", "FINN"), ("Élan", "e\u0301lan"), ("ＡＤＡ", "ada"), ("ΣΑΣ", "σας")],
)
def test_names_that_are_one(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@given(st.text(max_size=40))
def test_what_is_kept_stays_as_it_is(typed: str) -> None:
    try:
        kept = clean_username(typed)
    except InvalidArgument:
        return
    assert clean_username(kept) == kept
    assert unicodedata.is_normalized("NFKC", kept)
    assert fold(fold(kept)) == fold(kept) == fold(typed)
    assert fold(kept) not in RESERVED


@given(st.text(max_size=40))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize("hidden", ["\u034f", "\u200b", "\u00ad", "\ufe0f", "\U000e0041", "\u3164"])
def test_characters_that_cannot_be_seen_make_no_other_name(hidden: str) -> None:
    assert fold(f"a{hidden}da") == fold("ada")


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_reserved_name_can_be_written_with_letters_that_look_like_its_own(name: str) -> None:
    likeness = {"a": "ɑ", "g": "ɡ", "i": "ı", "m": "rn", "y": "ʏ", "o": "ᴏ", "v": "ᴠ", "w": "ᴡ", "s": "ꜱ", "u": "ᴜ"}
    for letter, other in likeness.items():
        if letter in name[1:]:
            with pytest.raises(InvalidArgument):
                clean_username(name[0] + name[1:].replace(letter, other))


@pytest.mark.parametrize("name", ["modern", "summer", "grandmother", "Grüße", "Самара", "ilia", "born2run", "coder"])
def test_ordinary_names_are_not_taken_for_reserved_ones(name: str) -> None:
    assert clean_username(name) == name


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("ada@example.org", "ada@example.org"),
        ("Ada@EXAMPLE.org", "Ada@example.org"),
        ("a.b+c@x.co", "a.b+c@x.co"),
        ("bot@load.invalid", "bot@load.invalid"),
        ("ada@studio.internal", "ada@studio.internal"),
    ],
)
def test_addresses_that_can_be(typed: str, kept: str) -> None:
    assert clean_email(typed) == kept


@pytest.mark.parametrize(
    "typed",
    ["", "ada", "@", "ada@", "@x.org", "a..b@x.org", ".a@x.org", "a@x..org", "a\u200bda@x.org", "ada@x\u200d.org",
     "a\x00b@x.org", "a\nb@x.org", "a b@x.org", "ada@x.org\r\nBcc: b@x.org", "ada@@x.org", "\u202eada@x.org",
     "x" * 65 + "@x.org"],
    ids=ascii,
)  # fmt: skip
def test_addresses_that_cannot(typed: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        clean_email(typed)
    assert [violation.field for violation in caught.value.violations] == ["email"]


@pytest.mark.parametrize("name", ["", "Ada Lovelace", "佐々木 希", "Zoë ❤️", "Größe 2", "नमस्ते"])
def test_display_names_that_can_be(name: str) -> None:
    assert clean_display_name(f" {name} ") == name


@pytest.mark.parametrize(
    "name", ["\u3164", "\u2800\u2800", "\u115f \u1160", "a\u202eb", "a\nb", "a" + "\u0301" * 20], ids=ascii
)
def test_display_names_that_cannot(name: str) -> None:
    with pytest.raises(InvalidArgument):
        clean_display_name(name)


def test_nobody_can_choose_a_guests_name() -> None:
    names = {new_guest_name() for _ in range(100)}
    assert len(names) == 100
    for name in names:
        assert name.startswith(GUEST_PREFIX)
        with pytest.raises(InvalidArgument):
            clean_username(name)


def test_a_name_with_a_space_is_told_of_the_display_name() -> None:
    with pytest.raises(InvalidArgument) as caught:
        clean_username("Ada Lovelace")
    assert "no spaces; the account's `display_name` may" in caught.value.violations[0].description
