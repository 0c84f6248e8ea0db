"""Finds web addresses in what people type, and says where they lead."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from bot.text.characters import REMOVED, continues_letter
from bot.text.countries import COUNTRIES

_COUNTRY_ENDINGS = "|".join(sorted(country.lower() for country in COUNTRIES | {"UK", "SU"}))
_OTHER_ENDINGS = (
    "com|org|net|edu|gov|mil|int|info|biz|name|pro|xyz|app|dev|online|site|store|shop|club|live"
    "|link|page|pages|blog|cloud|tech|games?|gaming|wiki|news|media|art|design|chat|zone|world|space"
    "|website|fun|life|today|agency|studio|social|video|stream|music|one|top|icu|moe|lol|gay|ninja"
    "|rocks|tools|codes|network|systems|email|foundation|academy|education|land|party|works|gle|goog"
    "|рф|рус|онлайн|сайт|орг|ком|укр|бел|срб|мкд|бг|қаз|ελ"  # noqa: RUF001
)
_ENDING = f"(?-i:{_COUNTRY_ENDINGS}|{_OTHER_ENDINGS})"
"""In small letters only: "ASP.NET/Core" is no address."""

# Where words are written without spaces, an address without a scheme has ASCII letters only.
_LETTER = r"[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
_WORDS = "link[ ]to"
_BARE_HOST = (
    rf"(?:(?<!{_LETTER}){_WORDS}[ ])?"  # a host that is said already
    rf"(?<!{_LETTER})(?<![_.@/-])(?:{_LETTER}(?:{_LETTER}|-){{0,62}}\.){{1,8}}{_ENDING}"
    r"(?=/|[?\#][^\W_]|:[0-9]{1,5}/)"
)
_WEB = "(?:https?|ftp)://"
_SCHEME = r"[a-z][a-z0-9+.-]{1,20}"
_BEGINNING = rf"""
    (?: {_WEB}
      | (?<![a-z0-9+.-]) (?! [a-z0-9+.-]{{0,20}} {_WEB} ) (?: {_SCHEME}:// | magnet:\? )
      | (?<![a-z0-9.@/-]) www\. (?=[^\W_])
      | {_BARE_HOST} )
"""
_NO_ADDRESS = r"\s<>`|()、。「」『』【】《》！（），：；？“”«»"  # noqa: RUF001

ADDRESS = rf"""
    <? {_BEGINNING} (?: (?! [,;]+{_WEB} ) [^{_NO_ADDRESS}] | \( [^\s<>`|()]* \) )*+ >?
"""
"""A pattern for an address, for `re.VERBOSE | re.IGNORECASE`, with punctuation at its end."""

MARKDOWN_TARGET = rf"""
    \( [ ]? <? (?: {_BEGINNING} | mailto: ) (?: [^\s()] | \( [^\s()]* \) )*+
       (?: [ ]+ (?: "[^"\n]*" | '[^'\n]*' | \([^()\n]*\) ) )? [ ]? \)
"""
"""A pattern for what follows the label of a link: an address in brackets, maybe with a title."""

_AFTER_ADDRESS = f".,;:!?'\"*_~]}}\\{REMOVED}\N{HORIZONTAL ELLIPSIS}\N{RIGHT SINGLE QUOTATION MARK}"
_OPENING = {"}": "{", "]": "["}
_SCHEMES = re.compile(rf"\A(?:{_WEB})+")
_WWW = re.compile(r"(?:www\.)+(?=.)")


def spoken_address(address: str) -> tuple[str, str]:
    """Say where an address leads: "link to" its host, or to the program that opens it.

    Args:
        address: What `ADDRESS` has matched.

    Returns:
        The words, and the punctuation at the end that does not belong to the address.
    """
    is_enclosed = address.startswith("<") and address.endswith(">")
    inner = address.strip("<>")
    bare = inner if is_enclosed else _without_punctuation(inner)
    return _words(bare.lower()), inner[len(bare) :]


def _without_punctuation(address: str) -> str:
    """An address without what follows it; brackets that were opened in it belong to it."""
    bare = address.rstrip(_AFTER_ADDRESS)
    while closing := address[len(bare) : len(bare) + 1]:
        if closing not in _OPENING or bare.count(_OPENING[closing]) <= bare.count(closing):
            break
        bare += closing
    return bare


def _words(address: str) -> str:
    address = _SCHEMES.sub("https://", address.removeprefix("link to "), count=1)
    scheme, separator, rest = address.partition("://")
    if not separator:
        if address.startswith("magnet:"):
            return "link to magnet"
        rest = address
    elif not re.fullmatch(_WEB, scheme + separator):
        return f"link to {scheme}"
    if not rest.strip("/"):
        return ""
    try:
        host = urlsplit(f"https://{rest}").hostname or ""
    except ValueError:
        return "link"
    host = _WWW.sub("", host, count=1) if host.startswith("www.") else host
    return f"link to {host}" if _is_name(host) else "link"


def _is_name(host: str) -> bool:
    return host[:1].isalnum() and all(
        each.isalnum() or each in ".-" or continues_letter(each) for each in host
    )
