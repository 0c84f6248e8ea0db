"""Consent that is spoken: a sentence to read aloud, and whether it is heard in a recording.

Each sentence has words that were drawn for it, so no recording of earlier speech holds it. People
read it once, so the words are short, common and hard to mistake.
"""

from __future__ import annotations

import secrets
import time
import tomllib
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.contract import Heard

WORDS_DRAWN = 4

SECONDS_TO_READ = 900.0
"""How long a sentence is good for: to record it, and to record it again."""

MOST_WAITING = 10_000
"""So many sentences may wait to be read. The oldest give way."""

WORDS_TO_HEAR = 3
"""So many of the drawn words have to be heard, in their order: transcribers mistake one in ten."""

LEAST_LIKENESS = 0.6
"""How much of the whole sentence's letters has to be heard, in their order."""

MOST_LETTERS = 1.4
"""A recording holds at most so many letters for each of the sentence's: somebody may begin twice,
but nobody else may speak in it for longer than a few words."""

MOST_SECONDS = 20.0
"""A recording is at most so long. Read slowly, a sentence takes 12 s; transcribers leave out what
they don't understand."""

FALLBACK_LANGUAGE = "English"

_HIRAGANA = {katakana: katakana - 0x60 for katakana in range(0x30A1, 0x30F7)}
"""Of each katakana. Transcribers write the same word in either."""

_SIMPLIFIED = str.maketrans(
    "許這個機聲說説話詞語蘋園戶臺檯燈鉛筆廚黃島樂學莊氣檸橋雲馬麵",
    "许这个机声说说话词语苹园户台台灯铅笔厨黄岛乐学庄气柠桥云马面",
)
"""Of each traditional character that our sentence and words have. Transcribers write either."""


@dataclass(frozen=True, slots=True)
class ConsentSentence:
    """A sentence to read aloud.

    Attributes:
        text: The sentence.
        words: The words that were drawn for it, in their order.
        language: One of `backend.contract.LANGUAGES`.
    """

    text: str
    words: tuple[str, ...]
    language: str


class SpokenConsents:
    """The sentences that wait to be read, in memory: after a restart, people get new ones.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: OrderedDict[tuple[int, int], tuple[float, ConsentSentence]] = OrderedDict()

    def current(self, user_id: int, guild_id: int) -> ConsentSentence | None:
        """Return the sentence that a member was given to read, if it is still good."""
        until, sentence = self._waiting.get((user_id, guild_id), (0.0, None))
        return sentence if self._clock() < until else None

    def give(self, user_id: int, guild_id: int, language: str) -> ConsentSentence:
        """Give a member a new sentence to read. The one before is no longer good.

        Args:
            user_id: The member.
            guild_id: The server.
            language: One of `backend.contract.LANGUAGES`; without a sentence of its own, English.
        """
        sentence = new_sentence(language)
        self._waiting.pop((user_id, guild_id), None)
        self._waiting[user_id, guild_id] = self._clock() + SECONDS_TO_READ, sentence
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)
        return sentence

    def use(self, user_id: int, guild_id: int, sentence: ConsentSentence) -> None:
        """Note that a sentence was read, which is good for one voice.

        Raises `Refusal` if it was read for another one meanwhile.
        """
        _, waiting = self._waiting.get((user_id, guild_id), (0.0, None))
        if waiting is not sentence:
            raise Refusal(Reason.SENTENCE_USED)
        del self._waiting[user_id, guild_id]


def new_sentence(language: str) -> ConsentSentence:
    """Draw words, and put them into the sentence of that language."""
    forms = _forms()
    known = language if language in forms else FALLBACK_LANGUAGE
    words = tuple(secrets.SystemRandom().sample(forms[known]["words"].split(), WORDS_DRAWN))
    return ConsentSentence(forms[known]["sentence"].format(*words), words, known)


@cache
def _forms() -> dict[str, dict[str, str]]:
    """Return the sentence and the words of each language."""
    file = Path(__file__).with_suffix(".toml")
    return tomllib.loads(file.read_text("utf-8"))


def is_heard(sentence: ConsentSentence, transcript: str) -> bool:
    """Return whether a recording whose transcript this is holds the sentence.

    Transcribers write some words in another way, so not all of it has to be there.
    """
    heard = _letters(transcript)
    position = found = 0
    for word in sentence.words:
        at = heard.find(_letters(word), position)
        if at >= 0:
            found += 1
            position = at + 1
    return found >= WORDS_TO_HEAR and _likeness(_letters(sentence.text), heard) >= LEAST_LIKENESS


def is_alone(sentence: ConsentSentence, transcript: str, seconds: float) -> bool:
    """Return whether a recording that holds the sentence holds little else.

    Otherwise somebody could add their own reading to a recording of somebody else's voice.
    """
    is_short = len(_letters(transcript)) <= MOST_LETTERS * len(_letters(sentence.text))
    return is_short and seconds <= MOST_SECONDS


def check_heard(sentence: ConsentSentence, heard: Heard | None, seconds: float) -> None:
    """Raise `Refusal` if it is not certain that a recording holds the sentence, and little else.

    Args:
        sentence: What was to be read aloud.
        heard: What was heard in the recording; None if nobody listened.
        seconds: The length of the recording, as it is kept.
    """
    if heard is None:
        raise Refusal(Reason.NOTHING_IS_HEARD)
    if not is_heard(sentence, heard.text):
        raise Refusal(Reason.SENTENCE_NOT_HEARD, sentence=sentence.text)
    if not is_alone(sentence, heard.text, seconds):
        raise Refusal(Reason.SENTENCE_NOT_ALONE, sentence=sentence.text)


def _likeness(wanted: str, heard: str) -> float:
    """Return the share of the wanted letters that are heard, in their order."""
    matcher = SequenceMatcher(None, wanted, heard, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(wanted)


def _letters(text: str) -> str:
    """Return the letters and digits alone, in one way of writing.

    They have neither case nor accents. Of kana, they are hiragana; of the Chinese characters that
    our sentence has, they are the simplified ones.
    """
    plain = unicodedata.normalize("NFKD", text).casefold()
    letters = "".join(letter for letter in plain if letter.isalnum())
    return letters.translate(_HIRAGANA).translate(_SIMPLIFIED)
