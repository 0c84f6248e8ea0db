"""What the terminal shows of the bot's messages: words, and no Discord markup."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.demo.terminal import plain, starting
from bot.interface.typed_text import as_text, voice_name
from bot.interface.wording.sentences import link_commands
from bot.settings import Settings

IDS = {"say": 1, "clone": 22, "voice": 333}


@given(st.text())
def test_what_somebody_typed_is_shown_to_the_letter(typed: str) -> None:
    assert plain(as_text(typed)).replace("\u200b", "") == typed.replace("\u200b", "")


@given(
    st.text(
        st.characters(
            exclude_categories=("C", "M", "Z"),
            exclude_characters="\u115f\u1160\u2800\u3164\uffa0",
        ),
        min_size=1,
    )
)
def test_a_voice_is_shown_by_its_name(name: str) -> None:
    sentence = f"Your voice is saved as {voice_name(name)}."
    shown = f"Your voice is saved as {name}."
    assert plain(sentence).replace("\u200b", "") == shown.replace("\u200b", "")


@given(st.integers(min_value=-(10**12) + 1, max_value=10**12 - 1))
def test_a_moment_is_shown_as_one(seconds: int) -> None:
    assert "<t:" not in plain(f"starts <t:{seconds}:R>")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("-# This is a preview.", "This is a preview."),
        ("**Me** (asked by <@9>):\n-# Small.\n> Hi.", "Me (asked by you):\nSmall.\n> Hi."),
        (
            link_commands("Use `/say` or `/voice transcript`.", IDS),
            "Use /say or /voice transcript.",
        ),
        ("Use `/say` with `where: file`.", "Use /say with where: file."),
        (r"“2 \* 3 \~ 6, \`x\`, a\_b”", "“2 * 3 ~ 6, `x`, a_b”"),
        ("Number 1 in the queue: 2 * 3 - 1", "Number 1 in the queue: 2 * 3 - 1"),
    ],
)
def test_markup_is_not_shown(message: str, shown: str) -> None:
    assert plain(message) == shown


def test_a_moment_is_in_this_zones_time() -> None:
    local = datetime(2026, 11, 27, 16, 30, tzinfo=UTC).astimezone()
    words = plain(f"Number 2, starts <t:{round(local.timestamp())}:R>.")
    assert words == f"Number 2, starts {local:%Y-%m-%d %H:%M}."
    assert not re.search(r"[<>]", words)


@pytest.mark.parametrize(("backend", "kept"), [("local", True), ("preview", False)])
def test_who_stops_the_start_learns_that_the_download_goes_on(
    capsys: pytest.CaptureFixture[str], *, backend: str, kept: bool
) -> None:
    settings = Settings(_env_file=None, speech_backend=backend)
    with pytest.raises(asyncio.CancelledError), starting(settings):
        raise asyncio.CancelledError
    told = capsys.readouterr().out
    assert "The demo was stopped." in told
    assert ("the next start goes on from there" in told) == kept
