"""discord.py's voice client is as our subclass knows it, and the subclass does what it says."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import discord
import pytest
import structlog
from discord.gateway import DiscordVoiceWebSocket, VoiceKeepAliveHandler
from discord.voice_state import ConnectionFlowState, VoiceConnectionState

from bot.playback import voice_link
from bot.playback.source import SpeechSource
from bot.playback.voice_client import WRITTEN_FOR, VoiceClient
from tests.support.voice_guild import eventually, keep_reading
from tests.support.voice_server.modes import MODES, Mode

if TYPE_CHECKING:
    from tests.support.voice_guild import Speaker, VoiceGuild

READ_AGAIN = (
    f"bot/playback/voice_client.py was written for discord.py {WRITTEN_FOR}. Read the changes to "
    "discord/voice_state.py, voice_client.py and gateway.py, run the tests in tests/playback/, and "
    "then correct it."
)


def test_discord_py_is_the_version_that_was_read() -> None:
    assert discord.__version__ == WRITTEN_FOR, READ_AGAIN


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (discord.VoiceClient, "create_connection_state", ["self"]),
        (discord.VoiceClient, "send_audio_packet", ["self", "data", "encode"]),
        (VoiceConnectionState, "__init__", ["self", "voice_client", "hook"]),
        (VoiceConnectionState, "voice_state_update", ["self", "data"]),
        (VoiceConnectionState, "voice_server_update", ["self", "data"]),
        (VoiceConnectionState, "_create_socket", ["self"]),
        (VoiceConnectionState, "_potential_reconnect", ["self"]),
        (
            VoiceConnectionState,
            "_inner_connect",
            ["self", "reconnect", "self_deaf", "self_mute", "resume"],
        ),
        (VoiceConnectionState, "_voice_disconnect", ["self"]),
        (
            VoiceConnectionState,
            "connect",
            ["self", "reconnect", "timeout", "self_deaf", "self_mute", "resume", "wait"],
        ),
        (VoiceConnectionState, "send_packet", ["self", "packet"]),
        (VoiceKeepAliveHandler, "get_payload", ["self"]),
        (DiscordVoiceWebSocket, "send_heartbeat", ["self", "data"]),
        (VoiceConnectionState, "add_socket_listener", ["self", "callback"]),
    ],
)
def test_what_is_overridden_or_called_is_there(
    owner: type, name: str, parameters: list[str]
) -> None:
    there = getattr(owner, name, None)
    assert there is not None, READ_AGAIN
    assert list(inspect.signature(there).parameters) == parameters, READ_AGAIN


def test_the_state_can_be_watched() -> None:
    watched: Any = inspect.getattr_static(VoiceConnectionState, "state")
    assert isinstance(watched, property), READ_AGAIN
    assert watched.fset is not None, READ_AGAIN
    can_encrypt: Any = inspect.getattr_static(VoiceConnectionState, "can_encrypt")
    assert isinstance(can_encrypt, property), READ_AGAIN
    received = inspect.getsource(DiscordVoiceWebSocket.received_message)
    assert "self._hook(self, msg)" in received, READ_AGAIN


@pytest.fixture
async def client(guild: VoiceGuild) -> VoiceClient:
    return await guild.channel.connect(cls=VoiceClient, reconnect=False)


@pytest.mark.realtime
async def test_a_connection_shows_its_private_parts(client: VoiceClient) -> None:
    state: Any = client._connection
    assert state.state is ConnectionFlowState.connected
    for name in ("_connector", "_runner", "_disconnected", "dave_protocol_version", "session_id"):
        assert hasattr(state, name), READ_AGAIN
    assert client.handshakes == 1
    assert client.close_code is None
    assert not client.is_moving


@pytest.mark.realtime
async def test_a_server_answers_when_it_is_asked(guild: VoiceGuild, client: VoiceClient) -> None:
    for _ in range(3):
        await client.ask_for_answer()
        async with asyncio.timeout(1):
            await client.answered.wait()
    guild.call.stalls()
    await client.ask_for_answer()
    await asyncio.sleep(1)
    assert not client.answered.is_set()


@pytest.mark.realtime
async def test_a_move_is_seen(guild: VoiceGuild, client: VoiceClient) -> None:
    guild.call.mode = MODES["slow"]
    moving = asyncio.create_task(guild.change_region())
    await eventually(lambda: client.is_moving)
    assert client.close_code == 4014
    await moving
    await eventually(lambda: not client.is_moving and client.close_code is None)
    assert client.handshakes == 2


@pytest.mark.realtime
async def test_a_connection_that_was_given_up_begins_no_other_handshake(
    guild: VoiceGuild, client: VoiceClient
) -> None:
    """discord.py would begin one if the bot was dragged during a handshake that then failed."""
    client.abandon()
    await client.connect(reconnect=False, timeout=5.0)
    assert client.handshakes == 1
    assert len(guild.call.sessions) == 1


@pytest.mark.realtime
async def test_a_handshake_whose_cancellation_gets_lost_ends_all_the_same(
    guild: VoiceGuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gets_no_answer(*_arguments: object, **_options: object) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    monkeypatch.setattr(VoiceConnectionState, "_inner_connect", gets_no_answer)
    connecting = asyncio.create_task(
        guild.channel.connect(cls=VoiceClient, timeout=1.0, reconnect=False)
    )
    await asyncio.sleep(0.2)
    connecting.cancel()
    done, _ = await asyncio.wait({connecting}, timeout=5.0)
    assert done, "it goes on without a limit"


@pytest.mark.realtime
async def test_leaving_can_be_cancelled(
    guild: VoiceGuild, client: VoiceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """discord.py goes on as if it had not been, and so would whatever wanted the bot to leave."""
    monkeypatch.setattr(voice_link, "DISCONNECT_SECONDS", 30.0)
    guild.call.mode = Mode(round_trip=(20.0, 20.0))  # so that it has not left when it is cancelled
    leaving = asyncio.create_task(voice_link.disconnect(client))
    await eventually(lambda: not client.is_connected())
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving


@pytest.mark.realtime
async def test_pings_are_answered_and_another_server_starts_anew(
    guild: VoiceGuild, client: VoiceClient
) -> None:
    guild.call.mode = MODES["not by the next"]
    for _ in range(5):
        client.send_ping()
    await eventually(lambda: client.pings.is_answered_regularly)
    await keep_reading(guild)
    await guild.move_server()
    await eventually(lambda: client.handshakes == 2)
    assert not client.pings.is_answered_regularly


@pytest.mark.realtime
async def test_speech_is_never_sent_unencrypted_to_people(
    guild: VoiceGuild, ada: Speaker, client: VoiceClient
) -> None:
    """The welcome to their group comes late, and the player plays before that."""
    del ada  # who listens
    guild.call.mode = MODES["slow"]
    await keep_reading(guild)
    await guild.change_region()
    await eventually(lambda: client.handshakes == 2)
    assert client.needs_key
    source = SpeechSource()
    source.feed(b"\x00\x40" * 480_000)
    source.finish()
    client.play(source)
    await eventually(lambda: not client.needs_key)
    await eventually(lambda: not client.is_playing(), within=10.0)
    await guild.call.heard(seconds=0.2)
    assert guild.call.unintelligible == 0


@pytest.mark.realtime
async def test_a_trace_tells_kinds_lengths_and_times_but_no_contents(guild: VoiceGuild) -> None:
    guild.call.mode = MODES["talkers and pong"]
    guild.call.somebody_talks = True
    with structlog.testing.capture_logs() as logs:
        client = await guild.channel.connect(cls=partial(VoiceClient, trace=True), reconnect=False)
        client.send_ping()
        await eventually(lambda: {"RTP", "ping, answered"} <= {row.get("kind") for row in logs})
    rows = [row for row in logs if row["event"] == "voice UDP"]
    assert all(set(row) == {"event", "log_level", "kind", "bytes", "at"} for row in rows)
