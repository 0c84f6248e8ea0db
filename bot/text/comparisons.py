"""Tells comparisons such as `<5` and `x >= 3` from hearts, arrows, tags and quotes."""

from __future__ import annotations

import re

_COMPARISON = re.compile(r"(?<![<>=-])(?:[<>]=?)(?![<>=|])")
_NUMBER_BEFORE = re.compile(r"\d[%°]? ?\Z")
_NUMBER_AFTER = re.compile(r"[ ]?[-+~±]?[ ]?[$€£]?[.,]?\d")
_WORD_BEFORE = re.compile(r"[^\W_] ?\Z")
_WORD_AFTER = re.compile(r"[ ]?[^\W\d_]")
_TAG_BEFORE = re.compile(r"</?[A-Za-z][^<>\s]{0,20}\Z")
_LINE_START = re.compile(r"(?:\A|\n)[^\w\n]*\Z")
_VARIABLE_BEFORE = re.compile(r"(?<![^\W_])[^\W\d_] ?\Z")
_VARIABLE_AFTER = re.compile(r" ?[^\W\d_](?![^\W_])")
_BRACKETED = re.compile(r"</?([^\s<>=|/][^\s<>]{0,30}?)/?>(?!=)")
"""A tag, or something else in angle brackets, as in "List<int>" or "<file1>"."""

_AT_MOST = re.compile(r"(?<![<>=-])=<(?=[ ]?[-+]?[0-9])")
_ARROW = re.compile(r"<[-=~]{1,20}>|(?<![-=~<>])[-=~]{1,20}>++(?!=)|<[-=~]{2,20}|<[-~](?=\s|\Z)")
_REACH = 24

_HEART = re.compile(r"(?<![0-9])(?<![0-9] )<3+(?: ?<3+)*(?![0-9])")
_BROKEN_HEART = re.compile(r"</3+(?![0-9])")
_UNIT = r"""
    [%°€$£]
    | ms|s|secs?|seconds?|min|mins|minutes?|h|hrs?|hours?|days?|nights?|weeks?|months?|years?|yrs?
    | sek\w*|minuten|std|stunden?|tagen?|wochen?|monaten?|jahren?
    | secondes?|heures?|jours?|semaines?|mois|ans?
    | segundos?|minutos?|horas?|d[ií]as?|semanas?|meses|a[nñ]os?
    | secondi|minuti|ore|giorni|settimane|mesi|anni
    | сек\w*|мин\w*|час\w*|дн\w*|лет|秒|分|時間|小时|天|日
    | mm|cm|m|km|miles?|ft|feet|inch\w*|met(?:er|re)s?|g|kg|mg|lbs?|oz|tons?|l|ml
    | kb|mb|gb|tb|fps|[kmg]?hz|px|kw|mph|hp|xp|mana|percent|prozent|degrees?|grad
    | bucks|dollars?|euros?|usd|eur|gbp|cents?|pounds?|coins?|gold
    | points?|pts|kills?|deaths?|wins?|loss(?:es)?|games?|rounds?|lives|players?|members?|users?
    | people|persons?|personen|personnes?|personas?|leute|spieler|times|mal|fois|veces
    | attempts?|tries|votes?|stars?|slots?|spots?|items?|words?|letters?|characters?|lines?|pages?
    | left
"""
"""What is counted or measured. In `<3 you`, nothing is."""

_MEASURE_AFTER = re.compile(
    rf"(?: [.,/][0-9] | [ ]? (?: {_UNIT} ) (?!\w) )", re.IGNORECASE | re.VERBOSE
)
_CUE_BEFORE = re.compile(
    r"(?<!\w)(?:[a-hj-tv-z]|if|when|only|needs?|takes?|wait|under|age|level|lvl|ping|score|rank"
    r"|rating|nur|wenn|unter|warte)[ ]?\Z",
    re.IGNORECASE,
)

_LOVER_BEFORE = re.compile(
    r"(?<!\w)(?:i|we|you|u|they|she|he|ich|wir|je|yo|io|eu)[ ]?\Z", re.IGNORECASE
)


def without_hearts(text: str, *, removed: str) -> str:
    """Replace hearts such as `<3` and `</3`, but not comparisons such as `<3 min`."""

    def judged(heart: re.Match[str]) -> str:
        before = text[max(0, heart.start() - _REACH) : heart.start()]
        after = text[heart.end() : heart.end() + _REACH]
        is_comparison = _MEASURE_AFTER.match(after) or _CUE_BEFORE.search(before)
        is_love = _LOVER_BEFORE.search(before)
        return heart[0] if is_comparison and not is_love else removed

    return _HEART.sub(judged, _BROKEN_HEART.sub(removed, text))


def without_angles(text: str, *, removed: str) -> str:
    """Replace `<` and `>`, except where they compare numbers or variables.

    Arrows such as `->` go as a whole. A kept `<` is followed by a space or a number, so it begins
    no tag and no control token.
    """
    text = _AT_MOST.sub("<=", text)
    text = _ARROW.sub(removed, text)
    text = _BRACKETED.sub(rf"{removed}\1{removed}", text)
    parts: list[str] = []
    end = 0
    for found in _COMPARISON.finditer(text):
        parts += [_without_angles(text[end : found.start()], removed), _judged(found, removed)]
        end = found.end()
    return "".join([*parts, _without_angles(text[end:], removed)])


def _without_angles(text: str, removed: str) -> str:
    return text.replace("<", removed).replace(">", removed)


def _judged(found: re.Match[str], removed: str) -> str:
    text, sign = found.string, found[0]
    before = text[max(0, found.start() - _REACH) : found.start()]
    after = text[found.end() : found.end() + _REACH]
    is_quote = after[:1] == " " and _LINE_START.search(before)
    if sign == ">" and (is_quote or _TAG_BEFORE.search(before)):
        return removed
    if _NUMBER_AFTER.match(after):
        return sign
    if len(sign) > 1 and _WORD_BEFORE.search(before) and _WORD_AFTER.match(after):
        return sign
    if _NUMBER_BEFORE.search(before) and _WORD_AFTER.match(after):
        return sign if after[0] == " " else f"{sign} "
    is_spaced = before.endswith(" ")
    if (
        is_spaced == after.startswith(" ")
        and _VARIABLE_BEFORE.search(before)
        and _VARIABLE_AFTER.match(after)
    ):
        return sign if is_spaced else f" {sign} "
    return _without_angles(sign, removed)
