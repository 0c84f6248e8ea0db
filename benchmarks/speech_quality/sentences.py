"""What is said: a fixed set of English sentences, or the lines of a file.

They hold no digits, no abbreviations and few words that sound like others, because these would be
counted as errors of the speech whenever Whisper writes them in another way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.contract import MAX_SPOKEN_CHARACTERS
from benchmarks.speech_quality.errors import CannotMeasureError
from benchmarks.speech_quality.words import split_words

if TYPE_CHECKING:
    from pathlib import Path

SENTENCES = (
    "Good morning, everyone.",
    "I think we should leave soon.",
    "Where did you put the kettle?",
    "That was the best soup I have ever had!",
    "Please close the window before it starts to rain.",
    "The old bridge was painted green last summer.",
    "She keeps a small garden behind the kitchen.",
    "Nobody told me that the shop would be closed today.",
    "Could you help me carry this table up the stairs?",
    "The children laughed when the clown dropped his hat.",
    "If the train is late again, we will miss the beginning of the film.",
    "He found the letter in a drawer, folded between two maps.",
    "After dinner they walked along the river until it grew dark.",
    "My brother repairs bicycles, and my sister teaches music.",
    "There is a narrow path through the forest that leads to the lake.",
    "The doctor said that plenty of rest and fresh fruit would help her recover.",
    "When the storm had passed, the fishermen pushed their boats back into the water.",
    "It took us a whole afternoon to clean the attic, and we found my grandmother's violin.",
    (
        "The museum opens at noon on Sundays, but the garden behind it is open all day, "
        "and visitors are welcome to sit on the grass."
    ),
    (
        "Although the village looks quiet from the hill, its market is full of people every "
        "Saturday, and you can buy honey, cheese and fresh bread there."
    ),
    (
        "The captain watched the clouds for a long time, then he ordered the crew to lower the "
        "sails, because he remembered how quickly the wind can change near the islands."
    ),
    (
        "If you want to learn a language, listen to it every day, repeat what you hear, write down "
        "the words that you like, and do not worry about mistakes, because everybody makes them."
    ),
    (
        "On the last day of the journey the hikers reached a valley with yellow flowers, where "
        "a farmer gave them water, showed them the road to the city, and told them a story about a "
        "wolf that had lived in the mountains when he was a boy."
    ),
    (
        "The baker gets up long before sunrise, lights the oven, mixes flour and water, and waits "
        "until the dough has doubled in size; by the time the first customers arrive, the whole "
        "street smells of warm bread, and the shelves are full of loaves, rolls and little cakes."
    ),
)
"""From three words to fifty. A setting that rushes or wanders does so most in the long ones."""


def read_sentences(file: Path) -> tuple[str, ...]:
    """Read the sentences of a UTF-8 file, one a line; lines without a word are left out.

    Raises `CannotMeasureError` if there are none, or if one is too long for a request.
    """
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    sentences = tuple(dict.fromkeys(line for line in lines if split_words(line)))
    if not sentences:
        raise CannotMeasureError(f"{file} holds no sentences")
    longest = max(map(len, sentences))
    if longest > MAX_SPOKEN_CHARACTERS:
        raise CannotMeasureError(
            f"a line of {file} has {longest} characters, and a sentence at most "
            f"{MAX_SPOKEN_CHARACTERS}"
        )
    return sentences
