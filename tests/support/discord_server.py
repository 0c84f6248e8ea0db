"""A simulated Discord server with the real bot, and members who do what people do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

import discord
from simcord import _dpy_internals, _runtime, interactions
from simcord.env import Env
from simcord.http import router

from backend.contract import VoicePrompt
from bot.client import VoiceBot
from bot.demo.refusals import expect_refusals
from bot.settings import Settings
from bot.voices.consent import Permission, confirm
from tests.support.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from simcord.actors import MemberActor
    from simcord.builders import ChannelHandle, GuildHandle
    from simcord.results import InteractionResult, ResponseMessage

    from bot.speech.backend import SpeechBackend
    from bot.voices.records import SavedVoice

SETTLE_SECONDS = 60.0

LOOKS_AT_A_BUSY_BOT = 20
"""How often a member looks whether a command has shown something, on a slow machine."""

NO_LIMITS: dict[str, Any] = dict.fromkeys(
    (
        "seconds_per_person",
        "seconds_per_server",
        "seconds_in_all",
        "requests_per_minute",
        "at_once_per_person",
        "at_once_per_server",
        "voice_channels",
    ),
    0,
)
"""Settings for members who use more of the bot than people do."""


@dataclass
class Answer:
    """What the bot did about one command, as the people in the channel see it."""

    result: InteractionResult

    @property
    def private(self) -> ResponseMessage | None:
        """The message only the person sees, as it stands now."""
        return self.result.response

    @property
    def told(self) -> str:
        """The private words."""
        return self.private.content if self.private else ""

    @property
    def posted(self) -> list[discord.Message]:
        """The public messages."""
        return [message.message for message in self.result.followups if not message.ephemeral]

    @property
    def private_followups(self) -> list[discord.Message]:
        """The further messages that only the person sees."""
        return [message.message for message in self.result.followups if message.ephemeral]

    def fields_of_form(self) -> dict[str, dict[str, Any]]:
        """The fields of the form that opened, by their labels."""
        assert self.result.modal is not None
        labels = self.result.modal["components"]
        return {label["label"]: label["component"] for label in labels}

    def field_of_form(self, label: str) -> str | None:
        """What a field of the form is filled with."""
        return self.fields_of_form()[label].get("value")

    async def files(self) -> list[bytes]:
        """The posted files."""
        return [await file.read() for message in self.posted for file in message.attachments]


class Member:
    """A person on the server."""

    def __init__(self, server: Server, actor: MemberActor) -> None:
        self.server = server
        self.actor = actor

    async def types(self, command: str, **options: Any) -> Answer:
        """Type a slash command and wait until the bot is done or wants something."""
        async with self.server.one_at_a_time:
            return Answer(await self.actor.slash(self.server.channel, command, **options))

    async def begins(self, command: str, **options: Any) -> discord.Message:
        """Type a slash command that will take long; return its private message while it works."""
        with self.server.impatient():
            await self.actor.slash(self.server.channel, command, **options)
        for _ in range(LOOKS_AT_A_BUSY_BOT):
            message = self._last_private_message()
            if message.content:
                break
            with self.server.impatient():
                await self.server.env.settle()
        return self._last_private_message()

    def _last_private_message(self) -> discord.Message:
        history = self.server.channel.history(viewer=self.actor)
        return [message for message in history if message.flags.ephemeral][-1]

    async def presses(self, message: Any, label: str) -> Answer:
        """Press a button."""
        async with self.server.one_at_a_time:
            return Answer(await self.actor.click(message, label=label))

    async def uses_menu(self, menu: str, message: Any) -> Answer:
        """Choose something in the menu of a message."""
        async with self.server.one_at_a_time:
            return Answer(await self.actor.context_menu(self.server.channel, menu, message))

    async def submits(self, form: Answer, values: dict[str, str]) -> Answer:
        """Fill the fields of a form, by their labels, or choose one of their values; send it."""
        fields: dict[str, Any] = {}
        for label, value in values.items():
            field = form.fields_of_form()[label]
            fields[field["custom_id"]] = [value] if "options" in field else value
        return Answer(await self.actor.submit_modal(form.result, fields))

    def is_moderated(self, **flags: bool) -> None:
        """A moderator does something about the member in voice: `mute=True`, or `suppress=True`.

        `suppress` is also how Discord shows that a member is in a stage's audience.
        """
        guild_id, backend = self.actor.guild.id, self.server.env.backend
        state = backend.get_guild(guild_id).voice_states[self.actor.id]
        backend.set_voice_state(guild_id, self.actor.id, state.channel_id, **flags)

    def leaves_voice(self) -> None:
        """Leave the voice channel."""
        self._is_taken_out_of_voice()

    def is_timed_out(self, seconds: float = 3_600.0) -> None:
        """A moderator times the member out. Discord takes them out of voice as well."""
        until = (discord.utils.utcnow() + timedelta(seconds=seconds)).isoformat()
        changes = {"timed_out_until": until}
        self.server.env.backend.edit_member(self.actor.guild.id, self.actor.id, changes)
        self._is_taken_out_of_voice()

    def is_removed(self, *, ban: bool = False) -> None:
        """A moderator throws the member out of the server. Discord takes them out of voice too.

        Their state in voice comes without the member then, who is none any more.
        """
        guild_id, backend = self.actor.guild.id, self.server.env.backend
        if ban:
            backend.apply_ban(guild_id, self.actor.id, None)
        else:
            backend.remove_member(guild_id, self.actor.id)
        self._is_taken_out_of_voice()

    def _is_taken_out_of_voice(self) -> None:
        self.server.env.backend.set_voice_state(self.actor.guild.id, self.actor.id, None)

    async def may(self, channel: ChannelHandle, **permissions: Any) -> None:
        """An admin gives the member permissions in a channel, or takes them away with False."""
        seen = self.server.bot.get_channel(channel.id)
        assert isinstance(seen, discord.abc.GuildChannel)
        guild, person = seen.guild, self.actor.id
        member = guild.get_member(person) or await guild.fetch_member(person)
        await seen.set_permissions(member, **permissions)

    async def saves_voice(
        self,
        *,
        name: str | None = None,
        permission: Permission = Permission.OWN,
        language: str = "English",
    ) -> SavedVoice:
        """Save a voice, named as the member is by default, without the upload that `/clone` needs.

        Its prompt is one of the `ScriptedBackend`.
        """
        library, backend = self.server.bot.library, self.server.bot.studio.backend
        prompt = VoicePrompt(data=b"300", model_id=backend.model_id)
        return await library.save(
            self.actor.id,
            name or self.actor.name,
            clip_flac=b"fLaC that nobody decodes here",
            clip_seconds=12.0,
            transcript="The quick brown fox.",
            language=language,
            prompt=prompt,
            consent=confirm(permission, by=self.actor.id, at=discord.utils.utcnow()),
            guild_id=self.server.guild.id,
        )

    async def shares_with_everyone(self, voice: str) -> Answer:
        """Share a voice with the whole server, and say yes if the bot asks."""
        answer = await self.types("voice share", voice=voice)
        if answer.told.startswith("Let **everyone**"):
            await self.presses(answer.private, "Share")
        return answer

    async def clones(
        self,
        recording: bytes,
        text: str | None = "Hello.",
        *,
        permission: str = Permission.OWN,
        **options: Any,
    ) -> Answer:
        """Use `/clone`, with the member's own voice if nothing else is said."""
        if text is not None:
            options["text"] = text
        return await self.types(
            "clone", audio=("voice.wav", recording), permission=str(permission), **options
        )


_TURNS: WeakKeyDictionary[Env, asyncio.Lock] = WeakKeyDictionary()


@dataclass
class Server:
    """One guild with one channel, in which the bot runs.

    Attributes:
        env: simcord.
        bot: The bot.
        speech: Its voice engine, which the bot chooses itself if there is none.
        channel: The channel.
        is_changed: Whether the bot was restarted, or time is real. Other tests need another bot.
    """

    env: Env
    bot: VoiceBot
    speech: SpeechBackend | None
    channel: ChannelHandle
    is_changed: bool = False
    _first_request: int = field(default=0, init=False)

    @property
    def one_at_a_time(self) -> asyncio.Lock:
        """simcord takes no command while another one arrives, in any of its guilds."""
        return _TURNS.setdefault(self.env, asyncio.Lock())

    @property
    def guild(self) -> GuildHandle:
        """The guild."""
        guild = self.channel.guild
        assert guild is not None
        return guild

    @property
    def tokens(self) -> Tokens:
        """The tokens of the members' interactions."""
        return Tokens.of(self.env)

    def member(self, name: str) -> Member:
        """Someone joins."""
        return Member(self, self.guild.add_member(self.env.create_user(name)))

    def manager(self, name: str) -> Member:
        """Someone with the permission Manage Server joins."""
        managing = discord.Permissions(manage_guild=True)
        role = self.guild.create_role("managers", permissions=managing)
        return Member(self, self.guild.add_member(self.env.create_user(name), roles=[role]))

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Look at the bot while it works, rather than after."""
        self.env.settle_timeout = 0.5
        try:
            with suppress(TimeoutError):
                yield
        finally:
            self.env.settle_timeout = SETTLE_SECONDS

    async def restarts(self, **settings: Any) -> None:
        """The bot's process ends, and a new one starts on the same database.

        The settings that are named are changed before. The others stay.
        """
        self.is_changed = True
        await self.bot.close()
        changed = self.bot.settings.model_copy(update=settings)
        self.bot = VoiceBot(changed, speech=self.speech)
        await self.env.restart_bot(self.bot)

    @contextmanager
    def upload_limit(self, size: int) -> Iterator[None]:
        """Let interactions say that files of at most so many bytes may be uploaded."""
        build = interactions.base_payload

        def with_limit(*arguments: Any, **options: Any) -> Any:
            record, payload = build(*arguments, **options)
            payload["attachment_size_limit"] = size
            return record, payload

        with patch.object(interactions, "base_payload", with_limit):
            yield

    def in_real_time(self) -> None:
        """From now on time is real, and a typed command returns at once, before the bot is done."""
        self.is_changed = True
        _dpy_internals.release_clocks(self.env)
        _runtime._restore_loop(self.env)

    def lets_time_pass(self) -> None:
        """From now on timers run by the clock. A typed command still waits until the bot is done.

        For what answers from outside of what simcord can wait for: another process, or a network.
        """
        self.is_changed = True
        _dpy_internals.release_clocks(self.env)
        loop = asyncio.get_running_loop()
        assert self.env._runtime is not None
        loop.call_later = self.env._runtime.call_later  # type: ignore[method-assign]
        loop.call_at = self.env._runtime.call_at  # type: ignore[method-assign]

    async def forbids_bot(self, **permissions: Any) -> None:
        """An admin takes permissions away from the bot in the channel, with False."""
        seen = self.bot.get_channel(self.channel.id)
        assert isinstance(seen, discord.abc.GuildChannel)
        await seen.set_permissions(seen.guild.me, **permissions)

    @contextmanager
    def attachments_expire(self) -> Iterator[None]:
        """Let the addresses of all attachments have expired, so that nothing is found there."""
        with patch.object(self.env.backend.cdn, "get", lambda _address: None):
            yield

    def breaks(self, method: str, path: str, *, status: int, code: int = 0, times: int = 1) -> None:
        """Discord answers the next requests of that kind with an error, even while work goes on."""
        fault = {"method": method, "path": path, "status": status, "code": code, "times": times}
        self.env.backend.faults.append({**fault, "message": "broken by a test"})

    @contextmanager
    def breaks_after(
        self, accepted: int, method: str, path: str, *, status: int, code: int = 0
    ) -> Iterator[None]:
        """Discord answers so many requests of that kind, and the next one with an error."""
        check = router._check_faults
        seen = 0

        def count(backend: Any, called: str, where: str) -> None:
            nonlocal seen
            if called == method and fnmatch(where, path):
                if seen == accepted:
                    self.breaks(method, path, status=status, code=code)
                seen += 1
            check(backend, called, where)

        with patch.object(router, "_check_faults", count):
            yield

    def errors(self) -> list[BaseException]:
        """Return what simcord noted and nobody has looked at, so that it isn't raised."""
        seen = self.env._errors_acknowledged
        return self.env.errors[seen:]

    def raise_errors(self) -> None:
        """Raise what the bot has not handled, and no test has looked at."""
        self.env._raise_errors_since(self.env._errors_acknowledged)

    def forget_requests(self) -> None:
        """Count only the bot's requests from now on."""
        self._first_request = len(self.env.http_requests)

    def requests(self, method: str, path_part: str) -> list[Any]:
        """The bodies of the requests that the bot sent to Discord."""
        return [
            request.json
            for request in self.env.http_requests[self._first_request :]
            if request.method == method and path_part in request.path
        ]


@asynccontextmanager
async def open_server(
    folder: Path, speech: SpeechBackend | None, *, database_url: str | None = None, **settings: Any
) -> AsyncIterator[Server]:
    """Start the bot on a new server; its database is in the folder, if no other is named."""
    database_url = database_url or f"sqlite:///{folder / 'timbre.db'}"
    bot = VoiceBot(Settings(_env_file=None, database_url=database_url, **settings), speech=speech)
    # simcord.run() would need its start and end in one context, which pytest's fixtures lack.
    env = Env(bot, shard_count=1, settle_timeout=SETTLE_SECONDS)
    expect_refusals(env)
    await env.start()
    Tokens.watch(env)
    channel = env.create_guild("Test server").create_text_channel("voices")
    await bot.tree.sync()
    server = Server(env, bot, speech, channel)
    try:
        yield server
        server.raise_errors()
    finally:
        await server.bot.close()
        await env.shutdown()
        Tokens.forget(env)
