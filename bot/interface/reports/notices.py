"""Notices: the messages that show a report to who decides, and change when it is decided."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import discord
import structlog

from bot.guilds.records import EVERYWHERE, Notice
from bot.interface.delivery.answers import DISCORD_FAILURES
from bot.interface.reports import card as report_card
from bot.interface.reports.buttons import decision_buttons
from bot.interface.wording.reports import Reached
from bot.storage.errors import DatabaseFailedError

if TYPE_CHECKING:
    from bot.guilds.policy import Policy
    from bot.interface.reports.card import Case

log = structlog.get_logger(__name__)


class ReportNotices:
    """Posts reports where moderators and operators read them.

    Args:
        client: The bot.
        policy: Knows the channels that servers chose, and which notices there are.
        operators: The Discord ids of those who run the bot.
        operators_channel: The id of the channel for the operators' reports; None for direct
            messages to each of them.
    """

    def __init__(
        self,
        client: discord.Client,
        policy: Policy,
        *,
        operators: frozenset[int],
        operators_channel: int | None,
    ) -> None:
        self._client = client
        self._policy = policy
        self._operators = operators
        self._operators_channel = operators_channel

    async def send(self, case: Case, reason: str, *, to_server: bool = True) -> Reached:
        """Show a report to the server's moderators and to the operators.

        Args:
            case: The report.
            reason: What its sender writes about it.
            to_server: Whether the server's moderators are shown it, too.
        """
        moderators, guild_id = False, case.report.guild_id
        if guild_id is not None and to_server:
            channel_id = (await self._policy.settings.of(guild_id)).report_channel_id
            if channel_id is not None:
                place = self._channel(channel_id, guild_id)
                moderators = await self._post(case, reason, guild_id, place)
        places = await self._operators_places()
        posts = (self._post(case, reason, EVERYWHERE, place) for place in places)
        operators = any(await asyncio.gather(*posts))
        if not operators:
            log.warning("a report has not reached the operators", report=case.report.id)
        return Reached(moderators=moderators, operators=operators)

    async def update(self, case: Case) -> None:
        """Show in every notice of a report what was decided."""
        notices = await self._policy.reports.notices(case.report.id)
        await asyncio.gather(*(self._edit(notice, case) for notice in notices))

    async def _operators_places(self) -> list[discord.abc.Messageable]:
        """Where the operators read reports."""
        if self._operators_channel is not None:
            channel = self._channel(self._operators_channel)
            return [] if channel is None else [channel]
        people: list[discord.abc.Messageable] = []
        for user_id in sorted(self._operators):
            try:
                people.append(
                    self._client.get_user(user_id) or await self._client.fetch_user(user_id)
                )
            except DISCORD_FAILURES as error:
                log.warning("an operator can't be found", user=user_id, reason=repr(error))
        return people

    def _channel(
        self, channel_id: int, guild_id: int | None = None
    ) -> discord.abc.Messageable | None:
        """Return a channel if the bot may post reports there; None if it may not.

        Another process may know it better. Then it is tried.
        """
        channel = self._client.get_channel(channel_id)
        if channel is None:
            return self._client.get_partial_messageable(channel_id, guild_id=guild_id)
        if not isinstance(channel, discord.abc.Messageable) or not isinstance(
            channel, discord.abc.GuildChannel | discord.Thread
        ):
            return None
        allowed = channel.permissions_for(channel.guild.me)
        in_thread = isinstance(channel, discord.Thread)
        may_send = allowed.send_messages_in_threads if in_thread else allowed.send_messages
        is_allowed = allowed.view_channel and may_send and allowed.embed_links
        if not is_allowed or guild_id not in {None, channel.guild.id}:
            log.warning("reports may not be posted in their channel", channel=channel_id)
            return None
        return channel

    async def _post(
        self, case: Case, reason: str, where: int, place: discord.abc.Messageable | None
    ) -> bool:
        """Show a report somewhere; return whether that has worked."""
        if place is None:
            return False
        buttons = decision_buttons(case, where) or discord.utils.MISSING
        people = {case.report.owner_id, case.report.accused_id}
        names_reporter = not any([await _may_read(place, person, where) for person in people])
        try:
            message = await place.send(
                report_card.in_their_words(reason) or None,
                embed=report_card.card(case, where, names_reporter=names_reporter),
                view=buttons,
                allowed_mentions=discord.AllowedMentions.none(),
            )
        except DISCORD_FAILURES as error:
            log.warning("report not sent", report=case.report.id, reason=repr(error))
            return False
        notice = Notice(case.report.id, message.id, message.channel.id, where, names_reporter)
        with suppress(DatabaseFailedError):  # it was sent, though it won't change any more
            await self._policy.reports.note_notice(notice)
        return True

    async def _edit(self, notice: Notice, case: Case) -> None:
        place = self._client.get_partial_messageable(notice.channel_id)
        try:
            await place.get_partial_message(notice.message_id).edit(
                embed=report_card.card(case, notice.guild_id, names_reporter=notice.names_reporter),
                view=decision_buttons(case, notice.guild_id),
            )
        except DISCORD_FAILURES as error:
            log.info("a report's notice stays as it is", reason=repr(error))


async def _may_read(place: discord.abc.Messageable, person_id: int, where: int) -> bool:
    """Whether a person may read what is posted somewhere.

    If that can't be known, they may, but not in the operators' place.
    """
    if isinstance(place, discord.User):
        return place.id == person_id
    if not isinstance(place, discord.abc.GuildChannel | discord.Thread):
        return where != EVERYWHERE  # another process knows it better
    try:
        member = await place.guild.fetch_member(person_id)
    except discord.NotFound:  # who has left reads nothing
        return False
    except DISCORD_FAILURES as error:
        log.info("a report doesn't name who sent it", reason=repr(error))
        return where != EVERYWHERE
    return place.permissions_for(member).view_channel
