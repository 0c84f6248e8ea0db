"""Captions show names for what Discord shows as names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.text import MentionKind, mentions, with_names

MARKUP = re.compile(r"<(?:@[!&]?|#|a?:\w+:)\d+>")

mention = st.builds("<{}{}>".format, st.sampled_from(["@", "@!", "@&", "#"]), st.integers(0, 9**18))
emoji = st.builds(
    "<{}:{}:{}>".format, st.sampled_from(["", "a"]), st.just("pepe"), st.integers(1, 9**18)
)
words = st.text(st.characters(exclude_characters="<"), max_size=8)
typed = st.lists(words | mention | emoji, max_size=8).map("".join)


def name_of(kind: MentionKind, snowflake: int) -> str | None:
    return f"{kind.value} {snowflake}" if snowflake % 2 else None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<@1> <@!1> <@2>", "@user 1 @user 1 someone"),
        ("<@&1> <@&2>", "@role 1 some role"),
        ("<#1><#2>", "#channel 1some channel"),
        ("<:pepe:12><a:wave_2:34>", ":pepe::wave_2:"),
        ("`<@1>` ||<@1>||", "`@user 1` ||@user 1||"),
        ("</say:12> <t:0:t> <id:guide>", "/say 00:00 UTC Server Guide"),
        ("<@1 <@> <:a:> 1 < 2 <@x>", "<@1 <@> <:a:> 1 < 2 <@x>"),
    ],
)
def test_shows_names(text: str, shown: str) -> None:
    assert with_names(text, name_of=name_of) == shown


@given(typed)
def test_no_id_is_ever_shown(text: str) -> None:
    known = set(mentions(text))
    shown = with_names(text, name_of=lambda *what: "Ada" if what in known else pytest.fail("other"))
    assert not MARKUP.search(shown)
