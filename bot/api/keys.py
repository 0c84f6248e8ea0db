"""Whose key it is: those of the setting API_KEYS, and those that are stored."""

from __future__ import annotations

import re
from hmac import compare_digest
from typing import TYPE_CHECKING

from bot.guilds.api_keys import hash_of
from bot.settings import MAX_ID, SettingsError

if TYPE_CHECKING:
    from bot.guilds.api_keys import ApiKeys

MIN_KEY_CHARACTERS = 24
MAX_KEY_CHARACTERS = 200

_KEY = rf"[!-9;-~]{{{MIN_KEY_CHARACTERS},{MAX_KEY_CHARACTERS}}}"
_ENTRY = re.compile(rf"({_KEY}):(\d{{1,19}})", re.ASCII)

NO_KEY = (
    "Nobody could use the API, because there's no key yet. "
    "Make one with: .venv/bin/python -m bot api-key create --for YOUR_DISCORD_ID"
)
NO_KEY_IN_SETTINGS = (
    "Nobody could use the API, because there's no key yet. Without a database, keys are in the "
    f"setting API_KEYS, as key:discord_id, with at least {MIN_KEY_CHARACTERS} random characters."
)


class KeyRing:
    """Tells for which person a key stands.

    Args:
        setting: API_KEYS: `key:id`, with commas or spaces between several.
        stored: The keys in the database.

    Raises `SettingsError`, which quotes no key.
    """

    def __init__(self, setting: str, stored: ApiKeys) -> None:
        self._of_settings = _read(setting)
        self._stored = stored

    async def any(self) -> bool:
        """Return whether there is a key."""
        return bool(self._of_settings) or await self._stored.any()

    async def person_of(self, key: str) -> int | None:
        """Return the Discord id of the person that a key stands for, or None if it is no key."""
        if not MIN_KEY_CHARACTERS <= len(key) <= MAX_KEY_CHARACTERS:
            return None
        hashed, person = hash_of(key), None
        for known, user_id in self._of_settings:  # all of them, so that the time tells nothing
            if compare_digest(known, hashed):
                person = user_id
        if person is not None:
            return person
        found = await self._stored.find(key)
        return None if found is None else found.user_id


def _read(setting: str) -> list[tuple[str, int]]:
    keys = []
    for number, written in enumerate(re.split(r"[\s,]+", setting.strip()), start=1):
        if not written:
            continue
        entry = _ENTRY.fullmatch(written)
        if entry is None or not 0 < int(entry[2]) <= MAX_ID:
            raise SettingsError(
                f"API_KEYS: entry {number} can't be used. Write each as key:id, where the key has "
                f"at least {MIN_KEY_CHARACTERS} random characters and the id is a Discord id."
            )
        keys.append((hash_of(entry[1]), int(entry[2])))
    return keys
