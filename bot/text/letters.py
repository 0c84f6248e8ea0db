"""Replaces decorated alphabets with plain letters: 𝓯𝓪𝓷𝓬𝔂, ⓒⓘⓡⓒⓛⓔⓓ, sᴍᴀʟʟ ᴄᴀᴘɪᴛᴀʟs, ʳᵃⁱˢᵉᵈ."""

# ruff: noqa: RUF002 - letters that look like others are the subject
from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import chain

from bot.text.countries import COUNTRIES

_SMALL_CAPITALS = str.maketrans("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢғǫ", "abcdefghijklmnopqrstuvwyzfq")
_SMALL_CAPITAL_WORD = re.compile("[ғǫ]*[ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ][ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢғǫ]*")
"""Cyrillic ғ and Latin ǫ are letters of their own, so they count beside small capitals only."""

_FIRST_REGIONAL = 0x1F1E6
_REGIONAL = "\U0001f1e6-\U0001f1ff"
_REGIONAL_GROUP = re.compile(f"[{_REGIONAL}]+")
_REGIONAL_GROUPS = re.compile(rf"[{_REGIONAL}]+(?:[ \u200b-\u200d\u2060][{_REGIONAL}]+)*")
"""Letters that are shown as flags in pairs. People put a space between them to avoid that."""

_CAPITALS = {  # those without a decomposition: in black circles and in black squares
    first + number: chr(ord("A") + number) for first in (0x1F150, 0x1F170) for number in range(26)
}
_SQUARED_WORDS = {  # in Unicode's order, and AB and ten
    **dict(
        zip(
            range(0x1F191, 0x1F19B),
            ("CL", "COOL", "FREE", "ID", "NEW", "NG", "OK", "SOS", "UP!", "VS"),
            strict=True,
        )
    ),
    0x1F18E: "AB",
    0x1F51F: "10",
}
_ORDINARY = {  # where NFKC gives the plain letters of a character, or one letter in brackets
    "<font>": (range(0x2102, 0x214A), range(0x1D400, 0x1D800)),
    "<wide>": (range(0xFF10, 0xFF1A), range(0xFF21, 0xFF3B), range(0xFF41, 0xFF5B)),
    "<narrow>": (range(0xFF66, 0xFFDD),),
    "<circle>": (range(0x2460, 0x24EB), range(0x3251, 0x3300), range(0x1F12B, 0x1F12D)),
    "<compat>": (
        range(0x2160, 0x2180),  # roman numerals
        range(0x2474, 0x24B6),
        range(0xFB00, 0xFB07),  # ligatures
        range(0x1F110, 0x1F12A),
    ),
    "<square>": (range(0x1F130, 0x1F14A),),
    "<isolated>": (range(0xFB50, 0xFEFD),),
    "<initial>": (range(0xFB50, 0xFEFD),),
    "<medial>": (range(0xFB50, 0xFEFD),),
    "<final>": (range(0xFB50, 0xFEFD),),
}
_NUMBERS = (range(0x24EB, 0x2500), range(0x2776, 0x2794), range(0x3248, 0x3250))
PICTURES = (0x2139, 0x3297, 0x3299)
"""Emoji, in spite of their decompositions to letters."""

_LONGEST_LIGATURE = 4  # a few Arabic ones are whole sentences
_RAISED = (
    range(0x2B0, 0x2E5), range(0x1D2C, 0x1D6B), range(0x1D78, 0x1D79), range(0x1D9B, 0x1DC0),
    range(0x2071, 0x2072), range(0x207F, 0x2080), range(0x2090, 0x209D), range(0x2C7C, 0x2C7E),
    range(0xA7F2, 0xA7FA),
)  # fmt: skip
_RAISED_LETTER = "[{}]".format(
    "".join(
        chr(code)
        for code in chain(*_RAISED)
        if unicodedata.decomposition(chr(code)).startswith(("<super>", "<sub>"))
    )
)
_RAISED_LETTERS = re.compile(rf"{_RAISED_LETTER}{{2,}}|(?<![^\W_]){_RAISED_LETTER}")
"""Without a single one on another letter, as in xⁿ."""


def plain_letters(text: str, *, around_number: str) -> str:
    """Replace letters that only look different with plain ones.

    NFKC is applied to some characters only. It would also change how punctuation, units, fractions
    and powers are spoken. Flags stay: letters that are shown as a flag are no text.

    Args:
        text: Any text.
        around_number: What to put on both sides of a digit in a circle or the like, because it is a
            number by itself.
    """
    text = _REGIONAL_GROUPS.sub(_regional_letters, text)
    text = _SMALL_CAPITAL_WORD.sub(lambda word: word[0].translate(_SMALL_CAPITALS), text)
    text = text.translate(_plain_characters(around_number))
    return _RAISED_LETTERS.sub(lambda raised: unicodedata.normalize("NFKC", raised[0]), text)


def _regional_letters(groups: re.Match[str]) -> str:
    """Regional letters as capitals, unless all of them are shown as flags."""
    letters = "".join(
        chr(ord("A") + ord(each) - _FIRST_REGIONAL) if _REGIONAL_GROUP.match(each) else " "
        for each in groups[0]
    )
    words = letters.split(" ")
    if all(map(_is_flags, words)):
        return groups[0]
    return re.sub(r"(?<=\b\w) (?=\w\b)", "", letters)


def _is_flags(word: str) -> bool:
    pairs = [word[at : at + 2] for at in range(0, len(word), 2)]
    return all(pair in COUNTRIES for pair in pairs)


@cache
def _plain_characters(around_number: str) -> dict[int, str]:
    """The table of the characters that are replaced one by one."""
    table = dict(_CAPITALS)
    for code, word in _SQUARED_WORDS.items():
        table[code] = f"{around_number}{word}{around_number}"
    for tag, ranges in _ORDINARY.items():
        for code in chain(*ranges):
            if unicodedata.decomposition(chr(code)).startswith(tag) and code not in PICTURES:
                plain = unicodedata.normalize("NFKC", chr(code)).strip("().")
                is_number = tag in {"<circle>", "<compat>"} and plain.isdigit()
                if len(plain) <= _LONGEST_LIGATURE:
                    table[code] = f"{around_number}{plain}{around_number}" if is_number else plain
    for code in chain(*_NUMBERS):
        number = int(unicodedata.numeric(chr(code)))
        table[code] = f"{around_number}{number}{around_number}"
    return table
