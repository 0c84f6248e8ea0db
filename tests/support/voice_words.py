"""What a member is told: commands are typed at once, and their answers are awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.voice_guild import eventually, last_word

if TYPE_CHECKING:
    from tests.support.discord_server import Answer, Member
    from tests.support.voice_guild import Speaker, VoiceGuild


async def told(member: Member, command: str, **options: Any) -> str:
    """Type a command; return the final words of its answer."""
    words = await last_word(await member.types(command, **options), within=10)
    assert words is not None
    return words


async def waits_for(answer: Answer, words: str) -> None:
    """Wait until an answer has some words, while the bot is still at work."""
    await eventually(lambda: words in answer.told)


async def one_speaks_and_two_wait(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> tuple[Answer, Answer, Answer]:
    """Answers to ada's items 1, of which the bot says some, and 2, and to grace's item 3."""
    said = await ada.says(1, 9.0)
    await guild.call.begins()
    waits = await ada.says(2, 1.0)
    others = await grace.says(3, 0.5)
    await waits_for(waits, "in the queue")
    await waits_for(others, "in the queue")
    return said, waits, others
