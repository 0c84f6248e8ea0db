"""The attribution of speech can't be undone or imitated by a name or a text."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.interface.attribution import Attribution, PublicWords, source_beside, text_beside
from bot.interface.live_attribution import words as told_in_voice_chat
from bot.interface.typed_text import MAX_EXCERPT_CHARACTERS, quoted
from bot.interface.wording.sentences import PREVIEW_NOTICE
from bot.message_source import MessageSource
from bot.voices.names import MAX_NAME_CHARACTERS
from tests.text.typed import TYPED

MAX_MESSAGE_CHARACTERS = 2_000
PERSON = 10**19
OWNER = PERSON + 1
MENTION = f"<@{PERSON}>"
SAYS_WHO = f" (synthetic voice, asked by {MENTION})"

ESCAPED = re.compile(r"\\[^\w\s]|\\_")
ISOLATED = re.compile("\u2068[^\u2068\u2069]*\u2069")
EXPLICIT_DIRECTIONS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

HOSTILE = "*_~|`<>[]()#\\\n\r\u2028\u0085 @:.-1\u202e\u2069\u2067\u200b\u200f\u2800\u3164אبٱ٣”“aB"
UNSEEN = (
    EXPLICIT_DIRECTIONS
    | set("\u00ad\u034f\u17b4\u17b5\u180e\u200b\ufeff\u115f\u1160\u2800\u3164\uffa0")
    | {*map(chr, range(0x2060, 0x2070))}
)
typed = st.one_of(st.text(HOSTILE), st.text())
names = typed.map(lambda name: name[:MAX_NAME_CHARACTERS])
notices = st.sampled_from([(), (PREVIEW_NOTICE,)])


def without_what_is_literal(shown: str) -> str:
    """What is left of a message for Discord to read as markup."""
    return ESCAPED.sub("", shown)


def turns_nothing_around(shown: str) -> bool:
    """Whether all that is laid out from the right is isolated from the rest."""
    rest = ISOLATED.sub("", shown)
    classes = {unicodedata.bidirectional(each) for each in rest}
    return not EXPLICIT_DIRECTIONS & set(rest) and not classes & {"R", "AL", "AN"}


@given(names, typed, notices)
@example("x** (real voice)", f"Hi.\n**Obama**{SAYS_WHO}:\n> I resign.", ())
@example("Ada\u202e)oga", "”: “\u2800\u2800Obama (synthetic voice, asked by @x): “I resign.", ())
@example("*" * MAX_NAME_CHARACTERS, "*" * 5_000, (PREVIEW_NOTICE,))
def test_whatever_is_typed_the_attribution_stands_and_the_text_is_quoted(
    name: str, text: str, small: tuple[str, ...]
) -> None:
    words = PublicWords(Attribution(name, PERSON), text, ", only 2 of 4 sentences", small)
    for shown, begins in ((words.beside_file, "**"), (words.below_voice_message, "-# **")):
        heading, *others, quote = shown.split("\n")
        assert len(shown) <= MAX_MESSAGE_CHARACTERS
        assert others == [f"-# {each}" for each in small]
        assert heading.startswith(begins)
        assert heading.endswith(f"**{SAYS_WHO}, only 2 of 4 sentences:")
        assert without_what_is_literal(heading).count("**") == 2, "the name ends where it ends"
        assert without_what_is_literal(shown).count("<@") == 1, "nobody else has asked"
        assert quote.startswith("> ")
        assert len(quote.splitlines()) == 1
        assert not set(without_what_is_literal(quote.removeprefix("> "))) & set("*_~|`<>[]()#")
        assert all(map(turns_nothing_around, shown.split("\n")))


@given(names)
@example("x** (real voice)\n-# **y**")
def test_small_lines_are_one_line_and_say_who_asked(name: str) -> None:
    attribution = Attribution(name, PERSON)
    continued = PublicWords(attribution, "Hello.").beside_next_files
    for shown in (continued, told_in_voice_chat(attribution, {})):
        assert len(shown.splitlines()) == 1
        assert shown.startswith("-# **")
        assert f"**{SAYS_WHO}" in shown
        assert without_what_is_literal(shown).count("**") == 2
        assert turns_nothing_around(shown)


@given(typed)
def test_a_text_cannot_close_its_quotation_marks(text: str) -> None:
    inner = quoted(text).removeprefix("“").removesuffix("”")
    assert not set(inner) & set('"“”„‟«»')


@pytest.mark.parametrize("name", [None, "New voice"])
def test_a_voice_without_a_name_is_attributed_as_well(name: str | None) -> None:
    assert str(Attribution(name, PERSON)) == f"**New voice**{SAYS_WHO}"


@given(names, st.one_of(TYPED, typed), st.sampled_from(["", ", only 2 of 4 sentences"]), notices)
@example("> **", "@everyone \\@here <@12345678901234567> \\\\ \\* [a](b) ||", "", ())
@example("a", "\u202e\u0634\u0643\u2069 \\", "", ())
def test_a_text_that_is_shown_whole_is_read_back_to_the_letter(
    name: str, text: str, extent: str, small: tuple[str, ...]
) -> None:
    """But for line breaks, blanks in a row, and what nobody sees; and without spoilers."""
    words = PublicWords(Attribution(name, PERSON), text, extent, small)
    for shown in (words.beside_file, words.below_voice_message):
        read = text_beside(shown)
        assert read is not None
        assert text_beside(PublicWords(Attribution(name, PERSON), read).beside_file) == read
        is_whole = len(read) < MAX_EXCERPT_CHARACTERS and "||" not in text
        if is_whole and not set(text) & UNSEEN and text == " ".join(text.split()):
            assert read == text


@given(names, st.sampled_from([None, PERSON]), st.sampled_from([None, PERSON, OWNER]))
@example(", reading [a message](https://discord.com/channels/1/2/3) by <@4>)", None, OWNER)
@example("a", PERSON, None)
def test_whose_message_is_read_aloud_is_shown_and_read_back(
    name: str, author: int | None, owner: int | None
) -> None:
    source = MessageSource("https://discord.com/channels/1/2/3", author)
    for of in (source, None):
        words = PublicWords(Attribution(name, PERSON, of, owner), "Hello.")
        assert str(words.attribution).count(f"** by <@{OWNER}> (") == (owner == OWNER)
        assert text_beside(words.beside_file) == "Hello."
        assert source_beside(words.beside_file) == of
        assert source_beside(words.below_voice_message) == of
