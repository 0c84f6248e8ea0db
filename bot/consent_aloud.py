"""Asking for consent that is read aloud, and checking that a recording is that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal
from bot.interface.wording import consent as consent_wording
from bot.voices.spoken_consent import check_heard

if TYPE_CHECKING:
    from bot.guilds.ledger import Work
    from bot.interface.reply import Reply
    from bot.services import Services
    from bot.studio import NewVoice
    from bot.voices.spoken_consent import ConsentSentence, SpokenConsents


class ConsentAloud:
    """Asks members of servers for consent that is read aloud.

    Args:
        services: What every front works with.
        spoken_consents: The sentences that members were given to read aloud.
    """

    def __init__(self, services: Services, spoken_consents: SpokenConsents) -> None:
        self._policy = services.policy
        self._studio = services.studio
        self._verification = services.verification
        self._spoken_consents = spoken_consents

    async def is_asked_for(self, reply: Reply) -> bool:
        """Return whether it is asked for where a person is.

        Raises `Refusal` if nobody would hear what they read.
        """
        if not await self._policy.asks_for_spoken_consent(reply.actor.guild_id):
            return False
        if not self._studio.backend.hears:
            raise Refusal(Reason.NOTHING_IS_HEARD)
        return True

    def sentence_of(self, reply: Reply) -> ConsentSentence | None:
        """Return the sentence that a person was given to read, if it is still good."""
        return self._spoken_consents.current(*_who_and_where(reply))

    async def give_sentence(self, reply: Reply, language: str) -> None:
        """Give a person a new sentence to read, in a language, and tell them what to do."""
        sentence = self._spoken_consents.give(*_who_and_where(reply), language)
        await reply.show(consent_wording.to_read_aloud(sentence))

    async def check(
        self, reply: Reply, sentence: ConsentSentence, upload: bytes, voice: NewVoice, work: Work
    ) -> None:
        """Note that a sentence was read, if a recording is that of a person who reads it.

        Without the search for our own mark, a voice that was made elsewhere could be made to say
        the sentence.

        Args:
            reply: Answers the person, and shows the progress.
            sentence: What was to be read.
            upload: The recording.
            voice: What was made of it.
            work: What the search counts for.

        Raises `Refusal`, or a `SpeechError` if the search fails.
        """
        check_heard(sentence, voice.heard, voice.clip_seconds)
        user_id, guild_id = _who_and_where(reply)
        if self._verification.can_search:
            verdict = await reply.work(
                lambda progress: self._verification.search(
                    upload,
                    caller=f"{guild_id}/{user_id}",
                    on_step=progress.step,
                    on_speech=work.made,
                )
            )
            if verdict.is_marked:
                raise Refusal(Reason.SENTENCE_SYNTHETIC, sentence=sentence.text)
        self._spoken_consents.use(user_id, guild_id, sentence)


def _who_and_where(reply: Reply) -> tuple[int, int]:
    """The ids of a person and of the server that they are in."""
    return reply.actor.user_id, reply.actor.guild_id or 0
