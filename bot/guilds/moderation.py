"""Who is blocked, and which voices are frozen or removed, in a server or everywhere."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from bot.errors import Reason, Refusal
from bot.guilds.records import EVERYWHERE, Block, BlockPage, Freeze, FreezeKind
from bot.guilds.tables import BlockRow, FreezeRow
from bot.storage.database import DatabaseUser, carried_out

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.storage.database import Database

BLOCKS_PER_PAGE = 10


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided about some people and voices, in any server and everywhere.

    Attributes:
        blocks: Of these people.
        freezes: Of these voices.
    """

    blocks: tuple[Block, ...] = ()
    freezes: tuple[Freeze, ...] = ()

    def block_of(self, user_id: int, guild_id: int | None) -> Block | None:
        """Return the person's block that counts in a server, or None; None is a direct message."""
        counting = [
            block
            for block in self.blocks
            if block.user_id == user_id and block.guild_id in {EVERYWHERE, guild_id}
        ]
        return min(counting, key=lambda block: block.guild_id, default=None)

    def freeze_of(self, voice_id: int, guild_id: int | None) -> Freeze | None:
        """Return the voice's freeze that counts in a server, or None; None is a direct message."""
        counting = [
            freeze
            for freeze in self.freezes
            if freeze.voice_id == voice_id and freeze.guild_id in {EVERYWHERE, guild_id}
        ]
        return min(counting, key=lambda freeze: freeze.guild_id, default=None)

    def refusal(
        self,
        user_id: int,
        voice_id: int | None,
        guild_id: int | None,
        *,
        owner_id: int | None = None,
    ) -> Refusal | None:
        """Return why a person may not speak with a voice in a server, or None if they may.

        Args:
            user_id: The person.
            voice_id: The voice; None for one that isn't saved.
            guild_id: The server, or None for a direct message.
            owner_id: Whose voice it is, if that isn't the person's own.
        """
        block = self.block_of(user_id, guild_id)
        if block is not None:
            is_here = block.guild_id != EVERYWHERE
            return Refusal(Reason.BLOCKED_HERE if is_here else Reason.BLOCKED_EVERYWHERE)
        freeze = self.freeze_of(voice_id, guild_id) if voice_id is not None else None
        if freeze is not None:
            return Refusal(_FREEZES[freeze.kind, freeze.guild_id != EVERYWHERE])
        if owner_id is not None and self.block_of(owner_id, guild_id) is not None:
            return Refusal(Reason.VOICE_OWNER_BLOCKED)
        return None


_FREEZES = {
    (FreezeKind.FROZEN, False): Reason.VOICE_FROZEN,
    (FreezeKind.FROZEN, True): Reason.VOICE_FROZEN_HERE,
    (FreezeKind.REMOVED, False): Reason.VOICE_REMOVED,
    (FreezeKind.REMOVED, True): Reason.VOICE_REMOVED_HERE,
}
"""By the kind of a freeze, and whether it is a server's own: what people are told."""


class Moderation(DatabaseUser):
    """Keeps blocks and frozen voices. What it decides holds at once in every process.

    Each call is one short transaction, which runs to its end even if the caller is cancelled. Who
    may decide is checked by the caller, who also notes it in the audit log.

    `where` a decision holds is a server's id, or `EVERYWHERE`: every server and direct messages.
    """

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock

    @carried_out
    async def block(
        self, user_id: int, where: int, *, by: int | None, report_id: int | None = None
    ) -> bool:
        """Block a person in a server or everywhere; return False if they were blocked there.

        Args:
            user_id: The person.
            where: Where.
            by: The Discord id of who decides it; None for the operator's command line.
            report_id: The report that it is decided on, if any.
        """
        async with self._write() as session:
            if await session.get(BlockRow, (user_id, where)) is not None:
                return False
            session.add(
                BlockRow(
                    user_id=user_id,
                    guild_id=where,
                    by=by,
                    at=self._clock(),
                    report_id=report_id,
                )
            )
            return True

    @carried_out
    async def unblock(self, user_id: int, where: int) -> bool:
        """Lift a person's block in a server or everywhere; return False if there was none."""
        theirs = (BlockRow.user_id == user_id) & (BlockRow.guild_id == where)
        async with self._write() as session:
            lifted = delete(BlockRow).where(theirs).returning(BlockRow.user_id)
            return await session.scalar(lifted) is not None

    @carried_out
    async def is_blocked(self, user_id: int, guild_id: int | None) -> int | None:
        """Return where a person is blocked who does something now.

        Args:
            user_id: The person.
            guild_id: The server where they are, or None for a direct message.

        Returns:
            `EVERYWHERE`, or else the server's id, or None if they are not blocked.
        """
        places = {EVERYWHERE} if guild_id is None else {EVERYWHERE, guild_id}
        blocked = select(func.min(BlockRow.guild_id)).where(
            BlockRow.user_id == user_id, BlockRow.guild_id.in_(places)
        )
        async with self._database.read() as session:
            return await session.scalar(blocked)

    @carried_out
    async def blocks(
        self, where: int, *, offset: int = 0, limit: int = BLOCKS_PER_PAGE
    ) -> BlockPage:
        """Return a page of the people who are blocked in a server, or everywhere."""
        there = select(BlockRow).where(BlockRow.guild_id == where)
        ordered = there.order_by(BlockRow.at.desc(), BlockRow.user_id)
        async with self._database.read() as session:
            total = await session.scalar(select(func.count()).select_from(there.subquery()))
            rows = await session.scalars(ordered.offset(offset).limit(limit))
            return BlockPage(tuple(row.to_block() for row in rows), total or 0)

    @carried_out
    async def freeze(  # noqa: PLR0913 - a decision has these parts
        self,
        voice_id: int,
        owner_id: int,
        where: int,
        kind: FreezeKind,
        *,
        by: int | None,
        report_id: int | None = None,
    ) -> bool:
        """Let nobody use a voice in a server or everywhere, its owner neither.

        A voice that is removed stays so until `lift`. One that is frozen stays so on the report
        that it was first frozen on, unless it is now removed.

        Args:
            voice_id: The voice.
            owner_id: Whose voice it is.
            where: Where.
            kind: Until when.
            by: The Discord id of who decides it; None for the operator's command line.
            report_id: The report that it is decided on, if any.

        Returns:
            False if the voice was frozen or removed there already, and that stays as it is.
        """
        async with self._write() as session:
            row = await session.get(FreezeRow, (voice_id, where))
            if row is None:
                row = FreezeRow(voice_id=voice_id, guild_id=where)
                session.add(row)
            elif not (row.kind == FreezeKind.FROZEN and kind is FreezeKind.REMOVED):
                return False
            row.owner_id, row.kind, row.by = owner_id, kind, by
            row.at, row.report_id = self._clock(), report_id
            return True

    @carried_out
    async def lift(self, voice_id: int, where: int) -> Freeze | None:
        """Let a voice be used again in a server, or everywhere; return what had kept it, if any.

        What was decided elsewhere still holds: a voice that is frozen everywhere stays so, even if
        a server lifts its own decision.
        """
        async with self._write() as session:
            row = await session.get(FreezeRow, (voice_id, where))
            if row is None:
                return None
            lifted = row.to_freeze()
            await session.delete(row)
            return lifted

    async def freeze_of(self, voice_id: int, guild_id: int | None) -> Freeze | None:
        """Return what keeps a voice from being used now, or None; everywhere comes first.

        Args:
            voice_id: The voice.
            guild_id: The server where it is to be used, or None for a direct message.
        """
        decided = await self.decisions((), (voice_id,))
        return decided.freeze_of(voice_id, guild_id)

    async def freezes_among(self, voice_ids: Collection[int]) -> tuple[Freeze, ...]:
        """Return what keeps any of these voices from being used, in any server and everywhere."""
        return (await self.decisions((), voice_ids)).freezes

    @carried_out
    async def freezes(self, where: int, *, limit: int) -> tuple[Freeze, ...]:
        """Return the voices that may not be used in a server by its own decision; latest first."""
        there = select(FreezeRow).where(FreezeRow.guild_id == where)
        ordered = there.order_by(FreezeRow.at.desc(), FreezeRow.voice_id.desc()).limit(limit)
        async with self._database.read() as session:
            return tuple(row.to_freeze() for row in await session.scalars(ordered))

    @carried_out
    async def decisions(self, user_ids: Collection[int], voice_ids: Collection[int]) -> Decisions:
        """Return all that was decided about some people and some voices, in one read."""
        blocks = select(BlockRow).where(BlockRow.user_id.in_(user_ids))
        freezes = select(FreezeRow).where(FreezeRow.voice_id.in_(voice_ids))
        async with self._database.read() as session:
            return Decisions(
                blocks=tuple(row.to_block() for row in await session.scalars(blocks)),
                freezes=tuple(row.to_freeze() for row in await session.scalars(freezes)),
            )

    @carried_out
    async def forget(self, owner_id: int) -> None:
        """Erase what was decided about a person's voices, once those are erased.

        Blocks stay, or everybody could lift their own.
        """
        async with self._write() as session:
            await session.execute(delete(FreezeRow).where(FreezeRow.owner_id == owner_id))

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that no other decision is made beside."""
        async with self._database.write() as session:
            await self._database.lock(session, "moderation")
            yield session
