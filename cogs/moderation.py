"""`/moderation`: who may use the bot in a server, which voices, and what happened there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import discord
import structlog
from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.guilds.records import AuditAction, Freeze, FreezeKind
from bot.interface.actors import actor_of
from bot.interface.audit_log import lines as audit_lines
from bot.interface.options import MAX_CHOICES, in_servers_only
from bot.interface.views import Pages, Render
from bot.text import MAX_TEXT_CHARACTERS

PER_PAGE = 10
"""So many lines fit into a message, 2,000 characters."""

_LONGEST_CHOICE = 100
_MOST_SEARCHED = 200
"""So many of the voices used last are searched for what a member types."""
_LONGEST_NUMBER = 9
"""Of the digits of a voice's number: the database holds no larger ones."""

Person = discord.Member | discord.User

log = structlog.get_logger(__name__)


async def suggest_used(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    """Offer the voices that were used in the server and not removed from it."""
    return await _suggest(interaction, typed, _used_in)


async def suggest_kept_away(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    """Offer the voices that the server froze or removed."""
    return await _suggest(interaction, typed, _kept_away_from)


@app_commands.default_permissions(manage_guild=True)
@in_servers_only
class Moderation(
    commands.GroupCog,
    group_name="moderation",
    group_description="Decide who and which voices may speak here (for server managers)",
):
    """What the members with Manage Server decide about people and voices in their server."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(description="Keep somebody from using me in this server")
    @app_commands.describe(member="Who may not use me here any more")
    async def block(self, interaction: Interaction, member: Person) -> None:
        """Block a person, and end what they have running here."""
        async with self.bot.reply(interaction, Action.MANAGE) as reply:
            guild_id, policy = _server_of(interaction), self.bot.policy
            self._check_may_block(interaction, member)
            if not await policy.moderation.block(member.id, guild_id, by=interaction.user.id):
                raise Refusal(Reason.ALREADY_BLOCKED, person=member.mention)
            self._note(interaction, AuditAction.BLOCKED, owner_id=member.id)
            await self.bot.enforcement.enforce()
            await reply.show(
                f"Blocked {member.mention}. I don't speak for them in this server any more; "
                "they're told so when they try. `/moderation unblock` undoes it."
            )

    @app_commands.command(description="Let somebody use me in this server again")
    @app_commands.describe(member="Who may use me again; leave it out to see who is blocked")
    async def unblock(self, interaction: Interaction, member: Person | None = None) -> None:
        """Lift a person's block, or show all blocks."""
        if member is None:
            await self._show_pages(interaction, self._render_blocks)
            return
        async with self.bot.reply(interaction, Action.MANAGE) as reply:
            moderation, guild_id = self.bot.policy.moderation, _server_of(interaction)
            if not await moderation.unblock(member.id, guild_id):
                raise Refusal(Reason.NOT_BLOCKED, person=member.mention)
            self._note(interaction, AuditAction.UNBLOCKED, owner_id=member.id)
            await reply.show(
                f"{member.mention} can use me here again."
                if await moderation.is_blocked(member.id, guild_id) is None
                else f"This server doesn't block {member.mention} any more. Whoever runs this bot "
                "still does, though."
            )

    @app_commands.command(description="Show the voices that were used in this server")
    @app_commands.describe(member="Only the voices of this member")
    async def voices(self, interaction: Interaction, member: Person | None = None) -> None:
        """Voices with their number, owner and state, the most recently used first."""

        async def render(asking: Interaction, page: int) -> tuple[str, int]:
            guild_id, policy = _server_of(asking), self.bot.policy
            uses = await policy.audit.voices_in(
                guild_id,
                owner_id=None if member is None else member.id,
                offset=page * PER_PAGE,
                limit=PER_PAGE,
            )
            ids = [use.voice_id for use in uses.voices]
            known = await self.bot.library.about(ids)
            decided = await policy.moderation.decisions((), ids)
            return audit_lines.voices_used(uses, known, decided, guild_id, page, PER_PAGE)

        await self._show_pages(interaction, render)

    @app_commands.command(description="Remove a voice from this server")
    @app_commands.describe(voice="A voice that was used here; `/moderation voices` shows them all")
    @app_commands.autocomplete(voice=suggest_used)
    async def remove(
        self, interaction: Interaction, voice: app_commands.Range[str, 1, _LONGEST_CHOICE]
    ) -> None:
        """Let nobody use a voice here any more. Its owner keeps it."""
        async with self.bot.reply(interaction, Action.MANAGE) as reply:
            guild_id, policy = _server_of(interaction), self.bot.policy
            number = _number_of(voice)
            use = await policy.audit.use_of(guild_id, number)
            if use is None:
                raise Refusal(Reason.NO_SUCH_VOICE_HERE)
            is_new = await policy.moderation.freeze(
                number, use.owner_id, guild_id, FreezeKind.REMOVED, by=interaction.user.id
            )
            if not is_new:
                raise Refusal(Reason.ALREADY_REMOVED_HERE)
            self._note(interaction, AuditAction.REMOVED, voice_id=number, owner_id=use.owner_id)
            await self.bot.enforcement.enforce()
            name = audit_lines.numbered_voice(number, await self.bot.library.about([number]))
            await reply.show(
                f"Removed {name}. It can't be used in this server any more; its owner keeps it "
                "elsewhere, and is told when they try. `/moderation restore` undoes it."
            )

    @app_commands.command(description="Let a frozen or removed voice be used here again")
    @app_commands.describe(voice="A voice that was frozen or removed in this server")
    @app_commands.autocomplete(voice=suggest_kept_away)
    async def restore(
        self, interaction: Interaction, voice: app_commands.Range[str, 1, _LONGEST_CHOICE]
    ) -> None:
        """Lift what this server decided about a voice."""
        async with self.bot.reply(interaction, Action.MANAGE) as reply:
            guild_id, moderation = _server_of(interaction), self.bot.policy.moderation
            number = _number_of(voice)
            _check_may_restore(interaction, await moderation.freezes_among([number]))
            lifted = await moderation.lift(number, guild_id)
            if lifted is None:
                raise Refusal(Reason.NOT_REMOVED_HERE)
            self._note(interaction, AuditAction.UNFROZEN, voice_id=number, owner_id=lifted.owner_id)
            name = audit_lines.numbered_voice(number, await self.bot.library.about([number]))
            still = await moderation.freeze_of(number, guild_id)
            await reply.show(
                f"{name} can be used here again."
                if still is None
                else f"This server lets {name} be used again. It stays {still.kind} everywhere, "
                "though, until whoever runs this bot decides."
            )

    @app_commands.command(name="log", description="Show what happened here with me, without texts")
    @app_commands.describe(
        member="Only what this member did, or what was done about them",
        text="Only where exactly this was said; I keep no texts, but I recognise them",
    )
    async def show_log(
        self,
        interaction: Interaction,
        member: Person | None = None,
        text: app_commands.Range[str, 1, MAX_TEXT_CHARACTERS] | None = None,
    ) -> None:
        """The audit log of this server, the latest first."""

        async def render(asking: Interaction, page: int) -> tuple[str, int]:
            lines = await self.bot.policy.audit.page(
                _server_of(asking),
                user_id=None if member is None else member.id,
                text=text,
                offset=page * PER_PAGE,
                limit=PER_PAGE,
            )
            days = self.bot.settings.audit_days
            return audit_lines.audit_page(lines, page, PER_PAGE, days=days)

        await self._show_pages(interaction, render)

    async def _show_pages(self, interaction: Interaction, render: Render) -> None:
        """Show a list, a page at a time. Each page asks again whether the member may see it."""

        async def checked(asking: Interaction, page: int) -> tuple[str, int]:
            await self.bot.policy.check(actor_of(asking), Action.MANAGE)
            return await render(asking, page)

        async with self.bot.reply(interaction, Action.MANAGE):
            await Pages(checked).show(interaction)

    async def _render_blocks(self, asking: Interaction, page: int) -> tuple[str, int]:
        blocks = await self.bot.policy.moderation.blocks(
            _server_of(asking), offset=page * PER_PAGE, limit=PER_PAGE
        )
        return audit_lines.block_list(blocks, page, PER_PAGE)

    def _check_may_block(self, interaction: Interaction, member: Person) -> None:
        """Raise `Refusal` for those whom a server's managers can't block."""
        if member.id == interaction.user.id:
            raise Refusal(Reason.CANNOT_BLOCK_YOURSELF)
        if self.bot.policy.is_operator(member.id):
            raise Refusal(Reason.CANNOT_BLOCK_OPERATORS)
        if not isinstance(member, discord.Member):
            return  # who has left has no permissions
        permissions = member.resolved_permissions or member.guild_permissions
        if permissions.manage_guild and member.guild.owner_id != interaction.user.id:
            raise Refusal(Reason.CANNOT_BLOCK_MANAGERS)

    def _note(
        self,
        interaction: Interaction,
        action: AuditAction,
        *,
        owner_id: int,
        voice_id: int | None = None,
    ) -> None:
        self.bot.policy.audit.note(
            action,
            actor_id=interaction.user.id,
            guild_id=interaction.guild_id,
            voice_id=voice_id,
            owner_id=owner_id,
        )


async def _suggest(
    interaction: Interaction, typed: str, find: Callable[[VoiceBot, int], Awaitable[list[int]]]
) -> list[app_commands.Choice[str]]:
    """Offer voices whose number or name contains what was typed; nothing rather than an error.

    Args:
        interaction: The autocompletion.
        typed: What the member has typed so far.
        find: Returns the ids of the voices to choose from, given the bot and the server's id.
    """
    bot, part = interaction.client, typed.strip().casefold()
    try:
        await bot.policy.check(actor_of(interaction), Action.MANAGE)
        voice_ids = await find(bot, _server_of(interaction))
        known = await bot.library.about(voice_ids)
    except Refusal:
        return []
    except Exception:
        log.exception("autocompletion failed")
        return []
    shown = {
        voice_id: f"#{voice_id} {known[voice_id].name if voice_id in known else '(deleted)'}"
        for voice_id in voice_ids
    }
    return [
        app_commands.Choice(name=name[:_LONGEST_CHOICE], value=str(voice_id))
        for voice_id, name in shown.items()
        if part in name.casefold()
    ][:MAX_CHOICES]


async def _used_in(bot: VoiceBot, guild_id: int) -> list[int]:
    uses = await bot.policy.audit.voices_in(guild_id, limit=_MOST_SEARCHED)
    voice_ids = [use.voice_id for use in uses.voices]
    removed = {
        freeze.voice_id
        for freeze in await bot.policy.moderation.freezes_among(voice_ids)
        if freeze.guild_id == guild_id and freeze.kind is FreezeKind.REMOVED
    }
    return [voice_id for voice_id in voice_ids if voice_id not in removed]


async def _kept_away_from(bot: VoiceBot, guild_id: int) -> list[int]:
    freezes = await bot.policy.moderation.freezes(guild_id, limit=_MOST_SEARCHED)
    return [freeze.voice_id for freeze in freezes]


def _check_may_restore(interaction: Interaction, freezes: Collection[Freeze]) -> None:
    """Raise `Refusal` for those who would undo what others decided about their own voice."""
    person, guild = interaction.user.id, interaction.guild
    if guild is not None and guild.owner_id == person:
        return
    here = (freeze for freeze in freezes if freeze.guild_id == interaction.guild_id)
    if any(freeze.owner_id == person != freeze.by for freeze in here):
        raise Refusal(Reason.OWN_VOICE_KEPT_AWAY)


def _number_of(typed: str) -> int:
    """The number of a voice, chosen or typed with or without its #. Raises `Refusal`."""
    number = typed.strip().removeprefix("#").partition(" ")[0]
    if not (number.isascii() and number.isdecimal() and len(number) <= _LONGEST_NUMBER):
        raise Refusal(Reason.NO_SUCH_VOICE_HERE)
    return int(number)


def _server_of(interaction: Interaction) -> int:
    """The id of the server where a command is used. Raises `Refusal` in a direct message."""
    if interaction.guild_id is None:
        raise Refusal(Reason.ONLY_IN_SERVERS)
    return interaction.guild_id


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Moderation(bot))
