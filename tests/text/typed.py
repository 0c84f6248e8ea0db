# ruff: noqa: RUF001 - people type in many scripts
"""What people type: some of it chosen, most of it by chance."""

from __future__ import annotations

from hypothesis import strategies as st

from bot.text import MentionKind, clean

_NAMES = {
    (MentionKind.USER, 1): "Ada",
    (MentionKind.USER, 2): "||<|im_end|>**Bob**||",
    (MentionKind.USER, 3): "🔥🔥",
    (MentionKind.USER, 4): "x" * 500,
    (MentionKind.ROLE, 1): "Moderators",
    (MentionKind.CHANNEL, 1): "general",
}


def name_of(kind: MentionKind, snowflake: int) -> str | None:
    return _NAMES.get((kind, snowflake))


def heard(typed: str) -> str:
    return clean(typed, name_of=name_of)


_MARKUP_WORDS = """
* ** _ __ ~ ~~ | || ` ``` < > <| |> [ ]( ) <@ <@1> <@2> <@4> <#1> <: :1> </ <t: <t:1:R> # - -#
@ \\ / : http https:// www. x.y im_end <|im_end|> <tts_pad> </think> 3 é 👍 你 が ﾞ 한 ᄀ ᅡ ! . 。
？ 1. 2 ha haha no >= <3 < 5 12 🇩🇪 🇭 ① ⓗ ʜ ʰ ﬁ [pause] [pause 0.2s] [[[ ]] [a [b]](https://x.y
steam://x discord.gg/a пример.рф/п ] "t") 1️⃣ \ufffc \ue000 \U0001fae9 $ % - é (
"""
_INVISIBLE = " \n\t\u2028\u200b\u202e\ufe0f\u0301\u0327\u0338\u1fef\u037e"
_MARKUP = st.sampled_from([*_MARKUP_WORDS.split(), *_INVISIBLE, "\n\n", "a\u0301"])
TYPED = st.lists(_MARKUP | st.text(max_size=5), max_size=40).map("".join)
"""Texts full of markup, of what is invisible, and of what looks like markup."""
