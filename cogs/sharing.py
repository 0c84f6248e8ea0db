"""The commands of `/voice` about who else may use a voice, and which is used if none is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.guilds.records import AuditAction
from bot.interface.options import suggest_own_voices, suggest_voices
from bot.interface.reply import Reply
from bot.interface.typed_text import voice_name
from bot.interface.views import Question
from bot.interface.wording import sharing as sharing_wording
from bot.voice_access import asker_of
from bot.voices.consent import is_by_permission
from bot.voices.records import SavedVoice
from bot.voices.rights import MAX_REFERENCE_CHARACTERS, Audience, Share

if TYPE_CHECKING:
    from collections.abc import Collection

VoiceReference = app_commands.Range[str, 1, MAX_REFERENCE_CHARACTERS]

Others = discord.Member | discord.User | discord.Role


class SharingCommands(commands.Cog):
    """Mixed into the group `/voice`."""

    bot: VoiceBot

    @app_commands.command(description="Let others in this server speak with one of your voices")
    @app_commands.describe(
        voice="One of your voices", others="A member or a role; leave it out for everyone here"
    )
    @app_commands.rename(others="with")
    @app_commands.autocomplete(voice=suggest_own_voices)
    async def share(
        self, interaction: Interaction, voice: VoiceReference, others: Others | None = None
    ) -> None:
        """Share a voice with a member, a role or, after a question, everyone of this server."""
        async with self.bot.reply(interaction) as reply:
            share = _share(interaction, others)
            if share is None:
                raise Refusal(Reason.SHARING_ONLY_IN_SERVERS)
            saved = await self._own(reply, voice)
            _check_audience(interaction, others)
            await self.bot.voice_access.check(reply.actor, saved)
            shown, by_permission = voice_name(saved.name), is_by_permission(saved.consent)
            if share.audience is Audience.EVERYONE:
                await self._check_not_shared(saved, share)
                words = sharing_wording.asks_for_everyone(shown, is_by_permission=by_permission)
                if not await reply.ask(Question(words, yes="Share")):
                    raise Refusal(Reason.NOTHING_SHARED, name=saved.name)
            owner_name = interaction.user.name
            has_api = await self._has_api()
            if not await self.bot.library.sharing.share(saved, share, owner_name=owner_name):
                raise _already_shared(saved, share)
            self._note(reply, AuditAction.SHARED, saved, share)
            words = sharing_wording.shared(
                shown, share, is_by_permission=by_permission, has_api=has_api
            )
            await reply.show(words)

    @app_commands.command(description="Let others speak with one of your voices no more")
    @app_commands.describe(
        voice="One of your voices", others="A member or a role; leave it out for all of this server"
    )
    @app_commands.rename(others="with")
    @app_commands.autocomplete(voice=suggest_own_voices)
    async def unshare(
        self, interaction: Interaction, voice: VoiceReference, others: Others | None = None
    ) -> None:
        """Share a voice no more with somebody, in this server; in a direct message, anywhere."""
        async with self.bot.reply(interaction, Action.OWN) as reply:
            saved, sharing = await self._own(reply, voice), self.bot.library.sharing
            share = None if others is None else _share(interaction, others)
            guild_id = interaction.guild_id
            ended = await sharing.unshare(
                saved, guild_id=guild_id, audience_id=None if share is None else share.audience_id
            )
            shares = (await sharing.rights((saved.id,)))[saved.id].shares
            here = [each for each in shares if each.guild_id == guild_id]
            through = _shared_through(here, others)
            if not ended:
                raise _nothing_ended(saved, share, through, is_anywhere=bool(shares))
            await self.bot.enforcement.enforce()
            self._note(reply, AuditAction.UNSHARED, saved, share)
            await reply.show(
                sharing_wording.unshared(
                    voice_name(saved.name),
                    share,
                    here=len(here),
                    is_direct=guild_id is None,
                    through=through,
                )
            )

    @app_commands.command(description="Choose the voice I use when you name none")
    @app_commands.describe(
        voice="Yours, or one shared with you here; leave it out to see which it is",
        clear="Use the one you used last again",
    )
    @app_commands.autocomplete(voice=suggest_voices)
    async def default(
        self, interaction: Interaction, voice: VoiceReference | None = None, *, clear: bool = False
    ) -> None:
        """Choose, show or clear a person's default voice."""
        changes = voice is not None and not clear
        async with self.bot.reply(interaction, Action.OTHER if changes else Action.OWN) as reply:
            defaults, access = self.bot.library.defaults, self.bot.voice_access
            if changes and voice is not None:
                saved = await access.find(reply.actor, voice)
                await defaults.choose(asker_of(reply.actor), saved)
                is_own = saved.owner_id == reply.actor.user_id
                await reply.show(
                    sharing_wording.default_chosen(voice_name(saved.name), is_own=is_own)
                )
            elif clear:
                was_chosen = await defaults.clear(reply.actor.user_id)
                await reply.show(sharing_wording.default_cleared(was_chosen=was_chosen))
            else:
                default = await access.default(reply.actor)
                await reply.show(
                    sharing_wording.default_is(voice_name(default.voice.name), default.why)
                )

    async def _own(self, reply: Reply, reference: str) -> SavedVoice:
        """The person's voice of that name. Raises `Refusal`, also for a voice of others."""
        return await self.bot.voice_access.own(reply.actor, reference)

    async def _check_not_shared(self, voice: SavedVoice, share: Share) -> None:
        rights = (await self.bot.library.sharing.rights((voice.id,))).get(voice.id)
        if rights is not None and share in rights.shares:
            raise _already_shared(voice, share)

    async def _has_api(self) -> bool:
        """Whether anybody has a key to the HTTP API."""
        keys = self.bot.settings.api_keys.get_secret_value()
        return bool(keys) or await self.bot.policy.api_keys.any()

    def _note(
        self, reply: Reply, action: AuditAction, voice: SavedVoice, share: Share | None
    ) -> None:
        with_whom = None if share is None else share.audience.value
        self.bot.policy.audit.note_own(action, reply.actor, voice.id, details=with_whom)


def _share(interaction: Interaction, others: Others | None) -> Share | None:
    """What the options say; None in a direct message."""
    if interaction.guild_id is None:
        return None
    if others is None or (isinstance(others, discord.Role) and others.is_default()):
        return Share.with_everyone(interaction.guild_id)
    is_role = isinstance(others, discord.Role)
    return Share(interaction.guild_id, Audience.ROLE if is_role else Audience.MEMBER, others.id)


def _check_audience(interaction: Interaction, others: Others | None) -> None:
    """Raise `Refusal` for those who could do nothing with a voice."""
    if others is None or isinstance(others, discord.Role):
        return
    if others.id == interaction.user.id:
        raise Refusal(Reason.ALREADY_YOURS)
    if others.bot:
        raise Refusal(Reason.CANNOT_SHARE_WITH_BOTS)
    if not isinstance(others, discord.Member):
        raise Refusal(Reason.NOT_A_MEMBER)


def _already_shared(voice: SavedVoice, share: Share) -> Refusal:
    who = sharing_wording.audience(share)
    return Refusal(Reason.ALREADY_SHARED, name=voice.name, with_whom=who)


def _shared_through(here: Collection[Share], others: Others | None) -> Share | None:
    """The share by which some others can use a voice though it isn't shared with just them.

    Args:
        here: With whom the voice is shared in this server.
        others: A member or a role; None for all of this server.
    """
    if others is None:
        return None
    roles = {role.id for role in others.roles} if isinstance(others, discord.Member) else set()
    through = [
        each for each in here if each.audience is Audience.EVERYONE or each.audience_id in roles
    ]
    return min(through, key=lambda each: each.audience is not Audience.EVERYONE, default=None)


def _nothing_ended(
    voice: SavedVoice, share: Share | None, through: Share | None, *, is_anywhere: bool
) -> Refusal:
    if share is not None and through is not None:
        whom = sharing_wording.audience(share)
        if through.audience is Audience.EVERYONE:
            return Refusal(Reason.SHARED_WITH_EVERYONE, name=voice.name, with_whom=whom)
        role = sharing_wording.audience(through)
        return Refusal(Reason.SHARED_WITH_ROLE, name=voice.name, with_whom=whom, role=role)
    if share is not None:
        who = sharing_wording.audience(share).replace("Everyone", "everyone")
        return Refusal(Reason.NOT_SHARED_WITH, name=voice.name, with_whom=who)
    return Refusal(Reason.NOT_SHARED_HERE if is_anywhere else Reason.NOT_SHARED, name=voice.name)
