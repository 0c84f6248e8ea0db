"""What the bot does by itself: decisions take effect, the audit log is posted, and ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from discord.ext import commands, tasks

from bot.client import VoiceBot
from bot.interface.audit_log.channels import AuditChannels
from bot.storage.errors import DatabaseFailedError

SECONDS_TO_ENFORCE = 2.0
"""A block that another process decided takes effect so soon."""

SECONDS_TO_POST = 5.0
HOURS_TO_CLEAN = 6.0

log = structlog.get_logger(__name__)


class Upkeep(commands.Cog):
    """Tasks that recur from the moment that the bot is connected."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot
        self._channels: AuditChannels | None = None

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Begin. Called by discord.py after every new session."""
        for loop in self._loops:
            if not loop.is_running():
                loop.start()

    def restart(self) -> None:
        """Begin anew, as tasks of whoever calls this."""
        for loop in self._loops:
            loop.restart()

    async def cog_unload(self) -> None:
        """End. Called by discord.py when the bot closes."""
        for loop in self._loops:
            loop.cancel()

    @tasks.loop(seconds=SECONDS_TO_ENFORCE)
    async def _enforce(self) -> None:
        await self._try(self.bot.enforcement.enforce)

    @tasks.loop(seconds=SECONDS_TO_POST)
    async def _post_audit_log(self) -> None:
        if self._channels is None:
            self._channels = AuditChannels(self.bot, self.bot.policy)
        await self._try(self._channels.post_new)

    @tasks.loop(hours=HOURS_TO_CLEAN)
    async def _clean(self) -> None:
        kept = timedelta(days=self.bot.settings.audit_days)
        self.bot.policy.drop_before(datetime.now(UTC) - kept)

    @property
    def _loops(self) -> tuple[tasks.Loop[Any], ...]:
        return (self._enforce, self._post_audit_log, self._clean)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work; if it fails, only the log tells, and it is done again next time."""
        if self.bot.replies.closed_for is not None:
            return
        try:
            await work()
        except DatabaseFailedError:
            pass  # logged where it happened
        except Exception:
            log.exception("upkeep failed")


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Upkeep(bot))
