"""From packets to sound: what a listener would have heard, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import av
import nacl.exceptions
import numpy as np

from tests.support.voice_server.dave import is_encrypted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.support.voice_server.rtp import Packet

SAMPLE_RATE = 48_000
CHANNELS = 2
FRAME_SECONDS = 0.02
OPUS_SILENCE = b"\xf8\xff\xfe"
AUDIBLE_RMS = 1e-3
LARGEST_STEP = 1 << 15


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """20 ms of sound.

    Attributes:
        arrived: When, as `time.time()`.
        connection: The number of the connection it came by, from 0.
        channel_id: The voice channel in which it was heard.
        sequence: Its RTP sequence number.
        samples: 960 samples, mono, in -1..1.
        is_end: Whether it is one of the silent packets that discord.py sends after the last sound.
        is_encrypted: Whether it was end-to-end encrypted.
        is_audible: Whether anything can be heard in it.
    """

    arrived: float
    connection: int
    channel_id: int | None
    sequence: int
    samples: NDArray[np.float32]
    is_end: bool
    is_encrypted: bool
    is_audible: bool = field(init=False)

    def __post_init__(self) -> None:
        loudness = float(np.sqrt(np.mean(np.square(self.samples))))
        object.__setattr__(self, "is_audible", loudness > AUDIBLE_RMS)


@dataclass(frozen=True, slots=True)
class Pacing:
    """How far the time between frames was from 20 ms, in milliseconds."""

    median: float
    p99: float
    largest: float


@dataclass(frozen=True)
class Heard:
    """Frames in the order in which they were sent."""

    frames: tuple[Frame, ...]

    @property
    def samples(self) -> NDArray[np.float32]:
        """The sound, frame after frame, without what lay between them; mono, 48 kHz."""
        return np.concatenate([frame.samples for frame in self.frames] or [np.zeros(0, np.float32)])

    @property
    def arrivals(self) -> NDArray[np.float64]:
        """When each frame arrived, as `time.time()`."""
        return np.array([frame.arrived for frame in self.frames])

    @property
    def seconds(self) -> float:
        """How much sound there is."""
        return len(self.frames) * FRAME_SECONDS

    def since(self, moment: float) -> Heard:
        """Only the frames that arrived since then."""
        return Heard(tuple(frame for frame in self.frames if frame.arrived >= moment))

    def within(self, channel_id: int) -> Heard:
        """Only what was heard in one voice channel."""
        return Heard(tuple(frame for frame in self.frames if frame.channel_id == channel_id))

    def audible(self) -> Heard:
        """Only the frames in which anything can be heard."""
        return Heard(tuple(frame for frame in self.frames if frame.is_audible))

    def longest_gap(self) -> float:
        """The longest time without an audible frame, in seconds, for sound that has no pauses.

        Frames that follow each other on time leave no gap.
        """
        arrivals = self.audible().arrivals
        return max(0.0, float(np.diff(arrivals).max()) - FRAME_SECONDS) if len(arrivals) > 1 else 0

    def missing(self) -> int:
        """How many packets between the first and the last never arrived."""
        missing = 0
        for before, after in zip(self.frames, self.frames[1:], strict=False):
            step = (after.sequence - before.sequence) % (1 << 16)
            if before.connection == after.connection and step < LARGEST_STEP:
                missing += step - 1
        return missing

    def pacing(self) -> Pacing:
        """How evenly the frames came, without the silent ones after the last sound."""
        arrivals = np.array([frame.arrived for frame in self.frames if not frame.is_end])
        off = np.abs(np.diff(arrivals) - FRAME_SECONDS) * 1_000
        return Pacing(*(float(np.quantile(off, share)) for share in (0.5, 0.99, 1.0)))


class Ear:
    """Decrypts and decodes a growing list of packets, each once.

    Attributes:
        unintelligible: How many packets some listener could not decode. They were sent as plain
            Opus while somebody listened, which Discord's clients do not play; or encrypted for
            others; or with the key of another connection: discord.py reads its SSRC and its key
            one after the other, and a new session may start in between.
    """

    def __init__(self, packets: list[Packet]) -> None:
        self.unintelligible = 0
        self._packets = packets
        self._taken = 0
        self._frames: list[Frame] = []
        self._decoders: dict[int, av.AudioCodecContext] = {}
        self._lock = Lock()

    def catch_up(self) -> Heard:
        """Decode the packets since the last call; return all that everybody heard."""
        with self._lock:
            for packet in self._packets[self._taken :]:
                self._taken += 1
                self._take(packet)
            return Heard(tuple(self._frames))

    def forget(self, before: float) -> None:
        """Drop what arrived before that `time.time()`, so that long tests stay small."""
        with self._lock:
            del self._packets[: self._taken]
            self._taken = 0
            self._frames = [frame for frame in self._frames if frame.arrived >= before]

    def _take(self, packet: Packet) -> None:
        try:
            payload = packet.frame()
        except nacl.exceptions.CryptoError:
            self.unintelligible += 1
            return
        encrypted = is_encrypted(payload)
        if encrypted and not packet.listeners:
            return  # for nobody
        if encrypted:
            try:
                payload, *_ = [listener.decrypt(payload) for listener in packet.listeners]
            except ValueError:
                self.unintelligible += 1
                return
        elif packet.is_secret and payload != OPUS_SILENCE:
            self.unintelligible += 1
            return
        if packet.connection not in self._decoders:
            self._decoders[packet.connection] = _decoder()
        decoded = self._decoders[packet.connection].decode(av.Packet(payload))[0].to_ndarray()
        mono = decoded.reshape(-1, CHANNELS).mean(axis=1) / (1 << 15)
        frame = Frame(
            arrived=packet.arrived,
            connection=packet.connection,
            channel_id=packet.channel_id,
            sequence=packet.sequence,
            samples=mono.astype(np.float32),
            is_end=payload == OPUS_SILENCE,
            is_encrypted=encrypted,
        )
        self._frames.append(frame)


def _decoder() -> av.AudioCodecContext:
    """An Opus decoder that is independent of the bot's encoder: one frame for each packet."""
    decoder = av.AudioCodecContext.create("libopus", "r")
    decoder.sample_rate = SAMPLE_RATE
    decoder.layout = "stereo"
    return decoder
