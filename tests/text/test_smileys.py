"""Typed smileys aren't read aloud, and what only looks like one stays."""

from __future__ import annotations

import pytest

from tests.text.typed import heard


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("hi :-) there", "hi there"),
        ("great :D", "great"),
        (";) :P", ""),
        ("thanks:) haha:D", "thanks haha"),
        ("**cool :D** ||no||", "cool spoiler"),
        ("oh :'( no :/ meh :|", "oh no meh"),
        ("^^ o_O what -_- T_T xD >:(", "what"),
        ("smile :) end. :D", "smile end."),
        ("at 12:30, 4:3 and :30", "at 12:30, 4:3 and :30"),
        ("C:D note:Do boxD fooOo", "C:D note:Do boxD fooOo"),
        ("me: (laughs) a) b) x =3", "me: (laughs) a) b) x =3"),
    ],
)
def test_what_is_said(typed: str, expected: str) -> None:
    assert heard(typed) == expected
