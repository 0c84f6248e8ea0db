"""What a member is told: commands are typed at once, and their answers are awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.voice_guild import eventually, last_word

if TYPE_CHECKING:
    from tests.support.discord_server import Answer, Member


async def told(member: Member, command: str, **options: Any) -> str:
    """Type a command; return the final words of its answer."""
    words = await last_word(await member.types(command, **options), within=10)
    assert words is not None
    return words


async def waits_for(answer: Answer, words: str) -> None:
    """Wait until an answer has some words, while the bot is still at work."""
    await eventually(lambda: words in answer.told)
