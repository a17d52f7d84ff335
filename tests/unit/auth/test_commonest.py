"""Passwords that are guessed first."""

from __future__ import annotations

import pytest

from pkg.errors import InvalidArgument
from services.auth.commonest import require_uncommon


@pytest.mark.parametrize(
    "password",
    ["password", "PASSWORD", "Password1", "password123!", "qwertyuiop", "12345678", "iloveyou", "aaaaaaaa", "abababab"],
)
def test_common_ones_are_refused(password: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        require_uncommon(password, "ada", "new_password")
    assert [violation.field for violation in caught.value.violations] == ["new_password"]


@pytest.mark.parametrize("password", ["ada-lovelace", "ADA-LOVELACE", "ecalevol-ada"])
def test_the_username_is_none(password: str) -> None:
    with pytest.raises(InvalidArgument):
        require_uncommon(password, "ada-lovelace", "password")


@pytest.mark.parametrize("password", ["correct horse", "Tr0ub4dor&3x", "пароль из слов", "x7-q2-m9"])
def test_others_are_not(password: str) -> None:
    require_uncommon(password, "ada-lovelace", "password")
