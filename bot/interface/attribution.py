"""What everybody who hears or finds speech can read: whose voice, that it's synthetic, who asked.

Names and texts are typed by people who may want to look like somebody else. So:

- A name is escaped, on one line and isolated from the words around it.
- The text is a block quote of one line. Discord draws a bar beside all of it, however often the
  screen breaks it, so nothing in it looks like words of the bot. A quotation mark could be closed
  by the text, and what stands behind it could begin a line with another name. It comes last, since
  some clients take a line below a quote for a part of it.
- Who asked is a mention, which shows the person and can't be typed. So is whose voice it is, if
  that is somebody else. Neither pings anybody, except where nothing else tells who asked that their
  speech is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.interface.typed_text import as_typed, excerpt, voice_name
from bot.interface.wording.sentences import engine_notices
from bot.message_source import MessageSource

if TYPE_CHECKING:
    from typing import Self

    from backend.contract import BackendInfo
    from bot.streaming import Speech

UNNAMED = "**New voice**"

_QUOTE = "> "
_SOURCE = re.compile(
    r", reading \[a message\]\((?P<link>https://[^\s()]+)\)(?: by <@(?P<author>\d+)>)?\)"
)


@dataclass(frozen=True, slots=True)
class Attribution:
    """Which voice is heard, and who asked for it.

    Attributes:
        voice: The voice's name as its owner typed it; None for one without a name.
        asked_by: The Discord id of who asked. That may be somebody else than the voice's owner.
        source: The message whose text it is, if that is no text of who asked.
        owner: The Discord id of the voice's owner. It is shown if somebody else asked, since two
            people can have voices of the same name.
    """

    voice: str | None
    asked_by: int
    source: MessageSource | None = None
    owner: int | None = None

    def __str__(self) -> str:
        name = UNNAMED if self.voice is None else voice_name(self.voice)
        whose = "" if self.owner in {None, self.asked_by} else f" by <@{self.owner}>"
        return f"{name}{whose} (synthetic voice, asked by <@{self.asked_by}>{self._read_aloud})"

    @property
    def _read_aloud(self) -> str:
        """Which message is read aloud, and whose it is; see `source_beside`."""
        if self.source is None:
            return ""
        author = self.source.author_id
        return f", reading [a message]({self.source.link})" + (
            "" if author is None else f" by <@{author}>"
        )


@dataclass(frozen=True, slots=True)
class PublicWords:
    """The words of the messages that hold one speech. Each of them has the attribution.

    Attributes:
        attribution: Which voice it is, and who asked.
        text: What the person asked to be said, with names for mentions. It is shown so that it can
            be read without sound.
        extent: How much of the text the speech holds, if not all of it.
        notices: What else everybody should know of it.
    """

    attribution: Attribution
    text: str
    extent: str = ""
    notices: tuple[str, ...] = ()

    @classmethod
    def about(  # noqa: PLR0913, PLR0917 - the speech, and all that is said of it
        cls,
        voice: str | None,
        asked_by: int,
        text: str,
        speech: Speech,
        sentences: int,
        backend: BackendInfo,
        *,
        source: MessageSource | None = None,
        owner: int | None = None,
    ) -> Self:
        """Make the words about speech, which may end before its text of so many sentences does."""
        is_whole = speech.error is None
        extent = "" if is_whole else f", only {speech.sentences} of {sentences} sentences"
        notices = tuple(engine_notices(backend))
        return cls(Attribution(voice, asked_by, source, owner), text, extent, notices)

    @property
    def beside_file(self) -> str:
        """The words of the message with the file, or with the first files."""
        return self._with_text(f"{self.attribution}{self.extent}:")

    @property
    def below_voice_message(self) -> str:
        """The message below a voice message, which can't hold a small line and the text itself."""
        return self._with_text(f"-# {self.attribution}{self.extent}:")

    @property
    def beside_next_files(self) -> str:
        """The words of each further message with files of the same speech."""
        return f"-# {self.attribution}, continued"

    def _with_text(self, heading: str) -> str:
        small = (f"-# {notice}" for notice in self.notices)
        return "\n".join([heading, *small, f"{_QUOTE}{excerpt(self.text)}"])


def text_beside(content: str) -> str | None:
    """Return the text in the words of a message with speech, as it was typed; None without one.

    It is shortened there if it is long, and spoilers are hidden.
    """
    *others, quote = content.split("\n")
    if not others or not quote.startswith(_QUOTE):
        return None
    return as_typed(quote.removeprefix(_QUOTE))


def source_beside(content: str) -> MessageSource | None:
    """Return which message was read aloud, by the words of a message with speech, if one was."""
    heading, *_ = content.split("\n")
    # A voice's name can't look like that, because its brackets are escaped.
    found = _SOURCE.search(heading)
    if found is None:
        return None
    author = found["author"]
    return MessageSource(found["link"], int(author) if author is not None else None)
