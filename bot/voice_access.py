"""Whether a person may use a voice: the one place that decides it, for everything that speaks.

It brings together what the voice's owner decided (`bot.voices`), and what moderators and the
operator decided about the voice, its owner and the person (`bot.guilds`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal
from bot.guilds.access import Action, Actor
from bot.storage.errors import DatabaseFailedError
from bot.voices.consent import is_spoken
from bot.voices.defaults import Why
from bot.voices.rights import Asker

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bot.guilds.moderation import Decisions
    from bot.guilds.policy import Policy
    from bot.voices.defaults import DefaultVoice
    from bot.voices.library import VoiceLibrary
    from bot.voices.records import SavedVoice
    from bot.voices.rights import NamedShare, SharedPage, SharedVoice, VoiceRights


def asker_of(actor: Actor) -> Asker:
    """Return the same person as `bot.voices` knows them."""
    return Asker(user_id=actor.user_id, guild_id=actor.guild_id, role_ids=actor.role_ids)


@dataclass(frozen=True, slots=True)
class Standing:
    """All that decides who may use some voices, at one moment.

    Attributes:
        rights: Who may use them by what their owners decided; without those that were deleted.
        decisions: What was decided about these voices, their owners, and who uses them.
    """

    rights: Mapping[int, VoiceRights] = field(default_factory=dict)
    decisions: Decisions | None = None

    def refusal(self, actor: Actor, voice_id: int | None) -> Refusal | None:
        """Return why a person may not use a voice where they are, or None if they may.

        Args:
            actor: The person.
            voice_id: The voice; None for one that isn't saved.
        """
        assert self.decisions is not None  # noqa: S101 - `VoiceAccess.standing` sets it
        if voice_id is None:
            return self.decisions.refusal(actor.user_id, None, actor.guild_id)
        rights = self.rights.get(voice_id)
        refusal = self.decisions.refusal(
            actor.user_id,
            voice_id,
            actor.guild_id,
            owner_id=None if rights is None else rights.owner_id,
        )
        if refusal is not None:
            return refusal
        if rights is None:
            return Refusal(Reason.VOICE_DELETED)
        return rights.refusal(asker_of(actor))


class VoiceAccess:
    """Finds the voices that people may use, and checks that they still may.

    Args:
        policy: What moderators and the operator decided.
        library: The saved voices, and what their owners decided.
    """

    def __init__(self, policy: Policy, library: VoiceLibrary) -> None:
        self._policy = policy
        self._library = library

    async def standing(self, people: Collection[int], voice_ids: Collection[int]) -> Standing:
        """Return all that decides now whether some people may use some voices."""
        rights = await self._library.sharing.rights(voice_ids)
        owners = {each.owner_id for each in rights.values()}
        return Standing(rights, await self._policy.decisions({*people, *owners}, voice_ids))

    async def find(self, actor: Actor, reference: str) -> SavedVoice:
        """Return the voice that a person means, see `Sharing.find`. Raises `Refusal`.

        They may use it where they are.
        """
        voice = await self._library.sharing.find(asker_of(actor), reference)
        await self.check(actor, voice)
        return voice

    async def voice(self, actor: Actor, voice_id: int) -> SavedVoice:
        """Return a voice by its id. Raises `Refusal` if a person may not use it where they are."""
        voice = (await self._library.about((voice_id,))).get(voice_id)
        if voice is None:
            raise Refusal(Reason.VOICE_DELETED)
        await self.check(actor, voice)
        return voice

    async def own(self, actor: Actor, reference: str) -> SavedVoice:
        """Return the voice of their own that a person means. Raises `Refusal`."""
        try:
            voice = await self._library.sharing.find(asker_of(actor), reference)
        except Refusal as refusal:
            is_nobodys = refusal.reason in {Reason.NO_VOICE_TO_USE, Reason.VOICE_NOT_SHARED}
            raise Refusal(Reason.NO_SUCH_VOICE) if is_nobodys else refusal from None
        if voice.owner_id != actor.user_id:
            raise Refusal(Reason.NOT_YOUR_VOICE, name=voice.name)
        return voice

    async def own_by_id(self, actor: Actor, voice_id: int) -> SavedVoice:
        """Return a voice of their own that was shown to a person before.

        Raises `Refusal` if it was deleted, or isn't theirs.
        """
        voice = (await self._library.about((voice_id,))).get(voice_id)
        if voice is None or voice.owner_id != actor.user_id:
            raise Refusal(Reason.VOICE_GONE)
        return voice

    async def default(self, actor: Actor) -> DefaultVoice:
        """Return the voice that a person uses if they name none. Raises `Refusal`.

        They may use it where they are.
        """
        servers_choice = None
        if actor.guild_id is not None:
            servers_choice = (await self._policy.settings.of(actor.guild_id)).default_voice_id
        default = await self._library.defaults.voice_for(
            asker_of(actor), servers_choice=servers_choice
        )
        if default is None:
            raise Refusal(Reason.NO_VOICE_YET)
        try:
            await self.check(actor, default.voice)
        except Refusal as refusal:
            if refusal.reason is not Reason.VOICE_NOT_SHARED:
                raise
            is_chosen = default.why is Why.CHOSEN
            raise Refusal(
                Reason.DEFAULT_NOT_SHARED if is_chosen else Reason.LAST_NOT_SHARED,
                name=default.voice.name,
            ) from None
        return default

    async def chosen_default(self, actor: Actor) -> int | None:
        """Return the id of the voice that a person chose as their default, if it counts here."""
        default = await self._library.defaults.voice_for(asker_of(actor))
        is_chosen = default is not None and default.why is Why.CHOSEN
        return default.voice.id if default is not None and is_chosen else None

    async def check(self, actor: Actor, voice: SavedVoice | None) -> None:
        """Raise `Refusal` if a person may not use a voice where they are.

        Args:
            actor: The person.
            voice: The voice; None for one that isn't saved.
        """
        voice_id = None if voice is None else voice.id
        standing = await self.standing((actor.user_id,), () if voice is None else (voice.id,))
        refusal = standing.refusal(actor, voice_id)
        if refusal is not None:
            raise refusal
        if voice is None or is_spoken(voice.consent.statement_version):
            return
        if await self._policy.asks_for_spoken_consent(actor.guild_id):
            is_own = voice.owner_id == actor.user_id
            reason = Reason.CONSENT_NOT_SPOKEN if is_own else Reason.OTHERS_CONSENT_NOT_SPOKEN
            raise Refusal(reason, name=voice.name)

    async def check_still(self, actor: Actor, voice: SavedVoice | None) -> None:
        """As `check`, for speech that is made. If the database fails, it is not lost."""
        with suppress(DatabaseFailedError):
            await self.check(actor, voice)

    async def is_first_borrowing(self, actor: Actor, voice: SavedVoice) -> bool:
        """Return whether a person uses a voice of somebody else where they never used one.

        If the database fails, nobody is told twice: it is False then.
        """
        if voice.owner_id == actor.user_id:
            return False
        with suppress(DatabaseFailedError):
            return not await self._library.defaults.has_borrowed(asker_of(actor))
        return False

    async def suggest(self, actor: Actor, typed: str) -> tuple[list[str], list[SharedVoice]]:
        """Return voices whose names contain what a person typed, see `Suggestions.search`.

        Those of others are left out that can't be used here now.
        """
        own, shared = await self._library.suggestions.search(asker_of(actor), typed)
        return own, await self.usable(actor, shared)

    async def usable(self, actor: Actor, shared: Collection[SharedVoice]) -> list[SharedVoice]:
        """Return those of the voices that are shared with a person which they may use now."""
        if not shared:
            return []
        owners = {voice.owner_id for voice in shared}
        decisions = await self._policy.decisions(owners, [voice.id for voice in shared])
        asks_aloud = await self._policy.asks_for_spoken_consent(actor.guild_id)
        return [
            voice
            for voice in shared
            if decisions.block_of(voice.owner_id, actor.guild_id) is None
            and decisions.freeze_of(voice.id, actor.guild_id) is None
            and (is_spoken(voice.statement_version) or not asks_aloud)
        ]

    async def shared_by_name(self, user_id: int) -> list[tuple[Actor, NamedShare]]:
        """Return the voices that are shared with a person by name, and the person in that server.

        A voice that is shared in several servers is there once. What a server's moderators, roles
        and channels would keep the person from using is left out.
        """
        shares: dict[int, list[NamedShare]] = {}
        for share in await self._library.sharing.by_name(user_id):
            shares.setdefault(share.guild_id, []).append(share)
        found: dict[int, tuple[Actor, NamedShare]] = {}
        for guild_id, here in shares.items():
            actor = Actor(user_id, guild_id, uses_api=True)
            try:
                await self._policy.check(actor, Action.SPEAK)
            except Refusal:
                continue
            usable = {voice.id for voice in await self.usable(actor, [each.voice for each in here])}
            for share in here:
                if share.voice.id in usable:
                    found.setdefault(share.voice.id, (actor, share))
        return sorted(
            found.values(), key=lambda each: (each[1].voice.name.casefold(), each[1].voice.id)
        )

    async def shared_with(self, actor: Actor, *, offset: int = 0, limit: int = 10) -> SharedPage:
        """Return a page of the voices of others that are shared with a person where they are."""
        return await self._library.sharing.page(asker_of(actor), offset=offset, limit=limit)
