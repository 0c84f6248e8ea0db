"""What a voice server sends by UDP on its own: reports, and what other members say."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

from tests.support.voice_server import rtp

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.voice_server.call import Call
    from tests.support.voice_server.modes import Span
    from tests.support.voice_server.session import Session

FRAME_SECONDS = 0.02
LOOK_SECONDS = 0.2


class Traffic:
    """What comes by UDP on one connection without being asked for, as the call's mode says.

    Its methods run for as long as the connection stands. A mode may change meanwhile.
    """

    def __init__(self, call: Call, session: Session) -> None:
        self._call = call
        self._session = session

    async def run(self) -> None:
        """Send until cancelled."""
        await asyncio.gather(self._report(), self._talk(), self._report_on_members())

    async def _report(self) -> None:
        """Send receiver reports while the bot speaks."""
        reported = 0
        while True:
            await self._wait(self._call.mode.reports)
            if self._session.received > reported and self._call.mode.reports:
                reported = self._session.received
                self._session.send_udp(rtp.receiver_report(secrets.randbits(31)))

    async def _report_on_members(self) -> None:
        while True:
            await self._wait(self._call.mode.sender_reports)
            if self._call.mode.sender_reports:
                self._session.send_udp(rtp.sender_report(secrets.randbits(31)))

    async def _talk(self) -> None:
        """Let somebody talk, and be quiet, in turn; or as long as a test wants it."""
        while True:
            if self._call.somebody_talks is not None:
                if self._call.somebody_talks:
                    await self._say(lambda: self._call.somebody_talks is True)
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if self._call.mode.talk is None:
                await asyncio.sleep(LOOK_SECONDS)
                continue
            await self._say_for(self._call.draw(self._call.mode.talk))
            await asyncio.sleep(self._call.draw(self._call.mode.quiet))

    async def _say_for(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        await self._say(lambda: time.monotonic() < ends)

    async def _say(self, goes_on: Callable[[], bool]) -> None:
        ssrc, sequence = secrets.randbits(31), secrets.randbits(16)
        due = time.monotonic()
        while goes_on():
            self._session.send_udp(rtp.someones_speech(ssrc, sequence))
            sequence += 1
            due += FRAME_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _wait(self, span: Span | None) -> None:
        await asyncio.sleep(LOOK_SECONDS if span is None else self._call.draw(span))
