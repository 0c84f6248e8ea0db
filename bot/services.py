"""What every front works with: saved voices, limits, the voice pipeline. Discord is one front."""

from __future__ import annotations

import asyncio
import atexit
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import structlog

from bot.audio.reference import ReferenceReader
from bot.audio.temporary import delete_leftovers, private_folder
from bot.export import Exports
from bot.guilds.access import OperatorRules
from bot.guilds.limits import Limits
from bot.guilds.policy import Policy
from bot.speech import open_backend
from bot.storage.database import open_database
from bot.storage.keys import read_keys
from bot.storage.personal import PersonalData
from bot.studio import Studio
from bot.text import load_languages
from bot.verification import Verification
from bot.voice_access import VoiceAccess
from bot.voices.dictionary import Dictionaries
from bot.voices.library import VoiceLibrary

if TYPE_CHECKING:
    from bot.settings import Settings
    from bot.speech.backend import SpeechBackend
    from bot.storage.database import Database

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What a front works with, opened.

    Attributes:
        settings: What the operator decided.
        speech: Where speech comes from.
        library: The saved voices.
        dictionaries: How words are pronounced.
        policy: What is allowed, where, and what happened.
        voice_access: Who may use which voice.
        exports: What is kept about a person, for that person.
        studio: The voice pipeline.
        verification: Tells whether the bot made a recording.
    """

    settings: Settings
    speech: SpeechBackend
    library: VoiceLibrary
    dictionaries: Dictionaries
    policy: Policy
    voice_access: VoiceAccess
    exports: Exports
    studio: Studio
    verification: Verification


async def open_services(settings: Settings, speech: SpeechBackend | None = None) -> Services:
    """Open the database and start the speech backend.

    Args:
        settings: What the operator decided.
        speech: Where speech comes from; by default what the settings name.

    Raises `DatabaseUnusableError`, or `BackendUnavailableError` if its packages are missing.
    """
    if leftovers := await asyncio.to_thread(delete_leftovers):
        log.info("deleted temporary files of a run that was killed", folders=leftovers)
    async with AsyncExitStack() as opened:
        if speech is None:
            speech = open_backend(settings)
            opened.push_async_callback(speech.close)
        database = await _open_database(settings, opened)
        library = VoiceLibrary(database, max_voices_per_user=settings.max_voices_per_user)
        rules = OperatorRules(
            operators=settings.operators,
            allowed_servers=settings.allowed_servers,
            direct_messages=settings.direct_messages,
            warm_servers=settings.warm_servers,
        )
        policy = Policy(database, rules, _limits(settings))
        await speech.start()
        await asyncio.to_thread(load_languages)
        reader = ReferenceReader(max_parallel=settings.max_parallel_uploads)
        services = Services(
            settings=settings,
            speech=speech,
            library=library,
            dictionaries=Dictionaries(database),
            policy=policy,
            voice_access=VoiceAccess(policy, library),
            exports=Exports(PersonalData(database)),
            studio=Studio(speech=speech, reader=reader, library=library),
            verification=Verification(speech=speech, reader=reader),
        )
        opened.pop_all()  # from here on, whoever called closes them
    log.info("ready to speak", backend=services.studio.backend.name)
    return services


async def _open_database(settings: Settings, opened: AsyncExitStack) -> Database:
    """Open the database, or one for this process alone, which is deleted at its end.

    Limits are counted in that one, too. Voices are not saved there, see `Settings.has_database`.
    """
    url = settings.database_url
    if not settings.has_database:
        kept = ExitStack()
        url = f"sqlite:///{kept.enter_context(private_folder()) / 'limits.db'}"
        atexit.register(kept.close)
    keys = read_keys(settings.storage_keys.get_secret_value())
    database = await open_database(url, keys)
    opened.push_async_callback(database.close)
    if database.is_partly_encrypted:
        log.warning(
            "some recordings are not encrypted yet", fix=".venv/bin/python -m bot rotate-keys"
        )
    return database


def _limits(settings: Settings) -> Limits:
    """Return how much may be used; where the operator wrote 0, there is no limit."""
    return Limits(**{field.name: getattr(settings, field.name) or None for field in fields(Limits)})
