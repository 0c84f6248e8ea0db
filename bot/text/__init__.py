"""Prepares what people type for speech: cleans the text, and splits it into sentences."""

from bot.text.characters import has_words
from bot.text.cleaning import MAX_TEXT_CHARACTERS, clean
from bot.text.languages import guess_language, load_languages
from bot.text.markup import MentionKind, NameOf, mentions, with_names
from bot.text.pronunciation import plain_words, replace_words, word_key
from bot.text.sentences import (
    MAX_SENTENCE_CHARACTERS,
    Sentence,
    expected_seconds,
    split,
    spoken_seconds,
    typed_silence,
)

__all__ = [
    "MAX_SENTENCE_CHARACTERS",
    "MAX_TEXT_CHARACTERS",
    "MentionKind",
    "NameOf",
    "Sentence",
    "clean",
    "expected_seconds",
    "guess_language",
    "has_words",
    "load_languages",
    "mentions",
    "plain_words",
    "replace_words",
    "split",
    "spoken_seconds",
    "typed_silence",
    "with_names",
    "word_key",
]
