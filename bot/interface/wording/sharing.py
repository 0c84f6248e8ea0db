"""The sentences about voices that are shared, and about the voice that is used if none is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.errors import Reason
from bot.voices.defaults import Why
from bot.voices.rights import Audience

if TYPE_CHECKING:
    from bot.voices.rights import Share

REFUSALS: dict[Reason, str] = {
    Reason.NO_VOICE_TO_USE: (
        "There's no voice of that name that you can use here. "
        "See those you can with `/voice list`, or make one with `/clone`."
    ),
    Reason.VOICE_NOT_SHARED: (
        "That voice isn't shared with you here, or not any more. "
        "Ask its owner, or pick another with `/voice list`."
    ),
    Reason.VOICE_UNSHARED_MEANWHILE: (
        "That voice isn't shared with you here any more, so I stopped speaking with it."
    ),
    Reason.DEFAULT_NOT_SHARED: (
        "Your default voice **{name}** isn't shared with you here any more, so I said nothing. "
        "Name another `voice`, or choose a new default with `/voice default`."
    ),
    Reason.LAST_NOT_SHARED: (
        "**{name}**, the voice that you used last here, isn't shared with you any more, so I said "
        "nothing. Name another `voice`; `/voice list` shows those you can use."
    ),
    Reason.VOICE_OWNER_BLOCKED: (
        "The owner of that voice may not use me here, so nobody can use the voice either. "
        "Pick another with `/voice list`."
    ),
    Reason.SEVERAL_VOICES: (
        "Several voices here have that name: {voices}. "
        "Use it again, and choose from the list that opens while you type."
    ),
    Reason.NOT_YOUR_VOICE: (
        "**{name}** is somebody else's voice, so only its owner can do that. "
        "See your own with `/voice list`."
    ),
    Reason.TOO_MANY_SHARES: (
        "You share that voice with {limit} others already, the most I keep. "
        "Make room with `/voice unshare`, or share it with a role or with everyone here."
    ),
    Reason.ALREADY_SHARED: "{with_whom} can use **{name}** here already. I changed nothing.",
    Reason.NOT_SHARED: "**{name}** isn't shared with anybody. Only you can use it.",
    Reason.NOT_SHARED_HERE: (
        "**{name}** isn't shared with anybody in this server. "
        "`/voice info` says where it is; in a direct message, `/voice unshare` ends all of it."
    ),
    Reason.NOT_SHARED_WITH: (
        "**{name}** isn't shared with {with_whom} here. `/voice info` says who may use it."
    ),
    Reason.SHARED_WITH_EVERYONE: (
        "**{name}** is shared with everyone here, so {with_whom} can use it too. "
        "`/voice unshare` without `with` ends that."
    ),
    Reason.SHARED_WITH_ROLE: (
        "**{name}** is shared with {role} here, so {with_whom} can use it too. "
        "`/voice unshare` with that role ends it for all who have the role."
    ),
    Reason.ALREADY_YOURS: "It's your own voice, so you can use it everywhere. Pick somebody else.",
    Reason.CANNOT_SHARE_WITH_BOTS: "Bots don't use voices. Pick a member or a role.",
    Reason.NOTHING_SHARED: (
        "I didn't share **{name}**. To share it with fewer, choose a member or a role as `with`."
    ),
    Reason.NOT_A_MEMBER: (
        "They aren't in this server, so they couldn't use the voice here. Pick a member or a role."
    ),
    Reason.SHARING_ONLY_IN_SERVERS: (
        "Voices are shared in servers only. Use `/voice share` in the server where others should "
        "use it."
    ),
}


def audience(share: Share) -> str:
    """Whom a voice is shared with, as a mention in that server. It is sent without pings."""
    if share.audience is Audience.EVERYONE:
        return "Everyone in this server"
    if share.audience is Audience.ROLE:
        return f"<@&{share.audience_id}>"
    return f"<@{share.audience_id}>"


def asks_for_everyone(name: str, *, is_by_permission: bool) -> str:
    """The question before a voice is shared with a whole server.

    Args:
        name: The voice's, already escaped.
        is_by_permission: Whether its owner confirmed that the speaker gave them permission.
    """
    question = f"Let **everyone** in this server speak with {name}?"
    if not is_by_permission:
        return question
    return (
        f"{question} You said that its speaker gave you permission. "
        "Share it only if they allowed that, too."
    )


def shared(name: str, share: Share, *, is_by_permission: bool, has_api: bool) -> str:
    """What it means that a voice is shared now.

    Args:
        name: The voice's, already escaped.
        share: With whom.
        is_by_permission: Whether its owner confirmed that the speaker gave them permission.
        has_api: Whether anybody has a key to the HTTP API.
    """
    by_key = has_api and share.audience is Audience.MEMBER
    where = "now" if share.audience is Audience.EVERYONE else "here now"
    if by_key:
        where += ", and over the HTTP API if they have a key"
    words = (
        f"{audience(share)} can speak with {name} {where}. "
        "Only you can rename, share or delete it. `/voice unshare` takes it back."
    )
    if not is_by_permission or share.audience is Audience.EVERYONE:  # that was asked before
        return words
    return f"{words} Its speaker must have allowed that, too."


def borrowed(name: str, owner_id: int) -> str:
    """What somebody is told who uses a voice of others in a server for the first time.

    Args:
        name: The voice's, already escaped.
        owner_id: The Discord id of its owner. The mention is sent without pings.
    """
    return f"{name} is <@{owner_id}>'s. Don't use it to deceive or harm anyone."


def unshared(
    name: str, share: Share | None, *, here: int, is_direct: bool, through: Share | None = None
) -> str:
    """What it means that a voice is shared no more.

    Args:
        name: The voice's, already escaped.
        share: With whom it was shared; None if it was all of a server, or everywhere.
        here: How many others it is still shared with in the server.
        is_direct: Whether it was ended in all servers.
        through: The share by which those that it was ended for can still use the voice, if any.
    """
    if is_direct:
        return f"Done. {name} isn't shared in any server any more. Only you can use it."
    if share is None:
        return f"Done. Nobody else can use {name} in this server any more."
    if through is not None:
        whom = _lower(audience(through)).removesuffix(" in this server")
        return (
            f"Done, but {name} is shared with {whom} here, so {audience(share)} can still use it."
        )
    words = f"Done. {name} isn't shared with {_lower(audience(share))} any more."
    return f"{words} Others may still use it here; `/voice info` says who." if here else words


def _lower(words: str) -> str:
    return words[0].lower() + words[1:]


def default_chosen(name: str, *, is_own: bool) -> str:
    """What it means that a person chose a default voice; its name is escaped already."""
    where = "" if is_own else " in this server, for as long as it's shared with you"
    return (
        f"Done. I speak with {name} when you name no voice{where}. "
        "`/voice default` with `clear` undoes it."
    )


def default_cleared(*, was_chosen: bool) -> str:
    """What it means that a person has no default voice any more."""
    again = "When you name no voice, I use the one you used last, or else this server's."
    return f"Done. {again}" if was_chosen else f"You hadn't chosen one. {again}"


def default_is(name: str, why: Why) -> str:
    """Which voice is used if a person names none, and why; its name is escaped already."""
    reason = {
        Why.CHOSEN: "you chose it, and `clear` undoes that",
        Why.USED_LAST: "you used it last, or it's your newest",
        Why.SERVERS: "this server's admins chose it for members who have none",
    }[why]
    return (
        f"When you name no voice, I speak with {name}: {reason}. To choose another, give a `voice`."
    )
