"""What a new voice says if nobody wrote what it should say, in each language."""

# ruff: noqa: RUF001 - the punctuation of many scripts

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST_WORDS = {
    "Chinese": "你好！这是我的新声音，是用几秒钟的录音做出来的。很高兴认识你！",
    "English": "Hello! This is my new voice, made from a few seconds of speech. Nice to meet you!",
    "Japanese": "こんにちは！これは、数秒の録音から作られた私の新しい声です。どうぞよろしく！",
    "Korean": "안녕하세요! 몇 초의 녹음으로 만든 제 새 목소리예요. 만나서 반가워요!",
    "German": (
        "Hallo! Das ist meine neue Stimme, gemacht aus ein paar Sekunden Aufnahme. "
        "Schön, dich kennenzulernen!"
    ),
    "French": (
        "Bonjour ! Voici ma nouvelle voix, créée à partir de quelques secondes d'enregistrement. "
        "C'est un plaisir de te rencontrer !"
    ),
    "Russian": (
        "Привет! Это мой новый голос, созданный из нескольких секунд записи. Приятно познакомиться!"
    ),
    "Portuguese": (
        "Olá! Esta é a minha nova voz, feita a partir de alguns segundos de gravação. "
        "É um prazer conhecer você!"
    ),
    "Spanish": (
        "¡Hola! Esta es mi nueva voz, hecha con unos segundos de grabación. "
        "¡Es un placer conocerte!"
    ),
    "Italian": (
        "Ciao! Questa è la mia nuova voce, creata da pochi secondi di registrazione. "
        "È un piacere conoscerti!"
    ),
}
"""By the names of languages in `backend.contract.LANGUAGES`."""

_USUAL = "English"


def first_language(heard: str | None, spoken: Iterable[str]) -> str:
    """Return the language of a new voice's first words, if nobody chose one.

    That is the one that was heard in the recording. If the backend doesn't speak that, it is
    English, or else the first language that the backend speaks.

    Args:
        heard: The language of the recording, if it is known.
        spoken: The languages of the backend.
    """
    known = [language for language in spoken if language in FIRST_WORDS]
    return next((language for language in (heard, _USUAL, *known) if language in known), _USUAL)
