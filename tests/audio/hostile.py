"""Uploads that are not what they say they are."""

from __future__ import annotations

import gzip
import io
import json
import struct
import subprocess
import zipfile
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from bot.audio.decode import ffmpeg_path
from tests.support.recordings import as_file, speech

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 24_000
MENTION = "@everyone **[free](http://evil.example)** <@1234>"
"""Text that an upload may try to smuggle into a reply."""


@dataclass(frozen=True)
class Bait:
    """What a careless decoder would open.

    Attributes:
        url: On a server that notes every visit.
        path: A file of somebody else, with speech in it.
    """

    url: str
    path: Path


def playlists(bait: Bait) -> dict[str, bytes]:
    """Lists of other things to open, under any name."""
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    file_url = f"file://{bait.path}"
    as_text = {
        "hls of a file": hls.format(bait.path),
        "hls of a file url": hls.format(file_url),
        "hls of a web address": hls.format(f"{bait.url}/a.ts"),
        "hls with a key on the web": hls.format("a.ts").replace(
            "#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{bait.url}/key"\n#EXTINF'
        ),
        "hls with a map on the web": hls.format("a.ts").replace(
            "#EXTINF", f'#EXT-X-MAP:URI="{bait.url}/map"\n#EXTINF'
        ),
        "hls of concat": hls.format(f"concat:{bait.path}|{bait.path}"),
        "hls of subfile": hls.format(f"subfile,,start,0,end,99999,,:{bait.path}"),
        "hls master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{bait.url}/b.m3u8\n",
        "plain m3u": f"{bait.path}\n",
        "m3u of the web": f"#EXTM3U\n{bait.url}/a.mp3\n",
        "pls": f"[playlist]\nFile1={bait.url}/a.mp3\nNumberOfEntries=1\n",
        "concat list": f"file '{bait.path}'\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{bait.path}'\n",
        "ffconcat of the web": f"ffconcat version 1.0\nfile '{bait.url}/a.wav'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=audio 5004 RTP/AVP 0\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
        'type="static"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="0">'
        f"<BaseURL>{bait.url}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "svg": '<svg xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink"><image xlink:href="{file_url}"/></svg>',
        "xspf": f"<playlist><trackList><track><location>{file_url}</location></track></trackList>"
        "</playlist>",
        "asx": f'<asx version="3.0"><entry><ref href="{bait.url}"/></entry></asx>',
        "ram": f"rtsp://127.0.0.1/a\n{bait.url}\n",
        "a bare address": bait.url,
        "a bare path": str(bait.path),
        "ffmetadata": ";FFMETADATA1\ntitle=x\n",
        "smil": f'<smil><body><audio src="{bait.url}"/></body></smil>',
    }
    files = {name: text.encode() for name, text in as_text.items()}
    list_of_file = files["ffconcat"]
    fronts = {
        "riff": b"RIFF" + struct.pack("<I", 4096) + b"WAVE",
        "id3": b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10),
        "an mp3 frame": b"\xff\xfb\x90\x00",
        "ftyp": struct.pack(">I4s4sI", 16, b"ftyp", b"M4A ", 0),
        "ogg": b"OggS",
        "flac": b"fLaC",
        "matroska": b"\x1aE\xdf\xa3",
        "amr": b"#!AMR\n",
        "aiff": b"FORM" + struct.pack(">I", 4096) + b"AIFF",
        "caf": b"caff\x00\x01\x00\x00",
    }
    for kind, front in fronts.items():
        files[f"ffconcat behind {kind}"] = front + list_of_file
        files[f"hls behind {kind}"] = front + b"\n" + files["hls of a web address"]
    files["ffconcat with a byte order mark"] = b"\xef\xbb\xbf" + list_of_file
    return files


def not_recordings(_: Bait) -> dict[str, bytes]:
    """Files of other kinds."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.wav", _wav(_tone()))
    noise = np.random.default_rng(1).bytes(100_000)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 9, 9, 8, 2, 0, 0, 0)
    track = b"\x00\x90\x3c\x40\x81\x00\x80\x3c\x40\x00\xff\x2f\x00"
    return {
        "nothing": b"",
        "one byte": b"R",
        "zeros": bytes(50_000),
        "ones": b"\xff" * 50_000,
        "random bytes": noise,
        "text": b"Hello, this is my voice.\n" * 100,
        "utf-16 text": "Hello, this is my voice.\n".encode("utf-16") * 100,
        "png": png + bytes(1000),
        "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + noise[:1000],
        "gif": b"GIF89a" + bytes(100),
        "webp": b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8 " + bytes(92),
        "avi": b"RIFF" + struct.pack("<I", 100) + b"AVI LIST" + bytes(92),
        "heic": struct.pack(">I4s4sI", 16, b"ftyp", b"heic", 0) + noise[:1000],
        "pdf": b"%PDF-1.7\n" + noise[:1000],
        "zip": archive.getvalue(),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(1000),
        "exe": b"MZ" + bytes(1000),
        "html": b"<!doctype html><audio src=x>",
        "json": json.dumps({"audio": MENTION}).encode(),
        "gzip bomb": gzip.compress(bytes(20_000_000)),
        "midi": b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk\x00\x00\x00\x0d" + track,
        "tracker module": bytes(1080) + b"M.K." + bytes(2048),
        "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + noise[:1000],
        "flv": b"FLV\x01\x05\x00\x00\x00\x09" + bytes(100),
        "mpeg-ts": (b"\x47\x40\x00\x10" + bytes(184)) * 50,
        "id3 tag alone": _id3(b"", 1000),
        "id3 tag of 20 MB": _id3(noise, 20_000_000),
        "id3 tag that says it is longer": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + noise,
        "id3 tags without end": b"ID3\x04\x00\x00\x00\x00\x00\x00" * 10_000,
    }


def broken(_: Bait) -> dict[str, bytes]:
    """Files of the right kind that lie, or break off."""
    voice = speech(4.0)
    wav, flac, mp4 = (as_file(voice, RATE, kind) for kind in ("wav", "flac", "mp4"))
    ogg, webm = as_file(voice, RATE, "ogg"), as_file(voice, RATE, "webm")
    phone = as_file(voice, RATE, "m4a")
    floats = np.full((RATE * 4,), np.nan, "<f4")
    return {
        "wav with a rate of zero": _patched(wav, 24, struct.pack("<I", 0)),
        "wav with a rate of 4 GHz": _patched(wav, 24, struct.pack("<I", 4_000_000_000)),
        "wav with no channels": _patched(wav, 22, struct.pack("<H", 0)),
        "wav with 65535 channels": _patched(wav, 22, struct.pack("<H", 65_535)),
        "wav with an unknown codec": _patched(wav, 20, struct.pack("<H", 0x1234)),
        "wav of h264": _patched(wav, 20, struct.pack("<H", 0x21)),
        "wav with no bits": _patched(wav, 34, struct.pack("<H", 0)),
        "wav of nan": _wav(floats, 3),
        "wav of nan by every tenth": _wav(np.where(np.arange(RATE * 4) % 10, voice, np.nan), 3),
        "wav of huge floats": _wav(np.full(RATE * 4, 3e38, "<f4"), 3),
        "wav of 64 channels": _wav(np.tile(_int16(voice)[:, None], 64), channels=64),
        "wav at 1 Hz": _wav(_int16(voice), rate=1),
        "wav header alone": wav[:44],
        "half a wav header": wav[:20],
        "flac header alone": flac[:42],
        "flac of zeros": flac[:42] + bytes(20_000),
        "half an m4a, index lost": phone[: len(phone) // 2],
        "mp4 without sound": as_file(voice, RATE, "mp4", "-an"),
        "mov of boxes without end": struct.pack(">I4s", 8, b"moov") * 100_000,
        "mov with a box of 16 EB": struct.pack(">I4sQ", 1, b"moov", 2**64 - 1) + mp4,
        "mov nested deep": b"".join(
            struct.pack(">I4s", 8 * depth, b"moov") for depth in range(20_000, 0, -1)
        ),
        "half a webm header": webm[:100],
        "webm with an endless element": webm[:4] + b"\x01" + b"\xff" * 7 + webm[12:],
        "ogg with broken checksums": _every_page(ogg),
        "ogg header alone": ogg[:100],
    }


def no_speech(_: Bait) -> dict[str, bytes]:
    """Good files in which nobody speaks, or hardly."""
    noise = np.random.default_rng(2).normal(scale=0.1, size=RATE * 8).astype(np.float32)
    time = np.arange(RATE * 8) / RATE
    chords = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220, 277, 330, 440))
    music = np.asarray(chords * np.exp(-3 * (time % 0.5)) / 5, np.float32)
    clicks = (np.random.default_rng(3).random(RATE * 8) < 0.001).astype(np.float32)
    silence = np.zeros(RATE * 8, np.float32)
    return {
        "silence": as_file(silence, RATE, "mp3"),
        "constant voltage": as_file(silence + np.float32(0.7), RATE, "flac"),
        "tone": as_file((np.tile(_tone(), 8) / 32_768).astype(np.float32), RATE, "m4a"),
        "white noise": as_file(noise, RATE, "ogg"),
        "chords": as_file(music, RATE, "mp3"),
        "clicks": as_file(clicks, RATE, "flac"),
        "speech too faint": as_file(speech(6.0) / np.float32(1000), RATE, "flac"),
        "two seconds of speech": as_file(speech(2.0), RATE, "wav"),
        "two seconds in a minute": as_file(
            np.append(speech(2.0), np.tile(silence, 7)), RATE, "flac"
        ),
        "no samples": as_file(silence[:0], RATE, "wav"),
        "one sample": as_file(silence[:1], RATE, "wav"),
        "two hours of silence": two_hours_of_silence(),
        "tags with mentions": as_file(
            silence, RATE, "mp3", *("-metadata", f"title={MENTION}", "-metadata", "artist=x")
        ),
    }


@cache
def two_hours_of_silence() -> bytes:
    """A small FLAC that takes a careless decoder's memory."""
    command = [ffmpeg_path(), "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i"]
    command += ["anullsrc=r=1000:cl=mono", "-t", "7200", "-f", "flac", "pipe:1"]
    return subprocess.run(command, capture_output=True, check=True).stdout  # noqa: S603 - ours


def mov_with_its_sound_elsewhere(bait: Bait) -> bytes:
    """A mov whose samples lie in the file at `bait.path`, which becomes a good mov."""
    good = as_file(speech(6.0), RATE, "caf", "-f", "mov")
    bait.path.write_bytes(good)
    start, end = good.index(b"mdat") + 4, good.rindex(b"moov") - 4
    silenced = good[:start] + bytes(end - start) + good[end:]
    return _with_alias(silenced, str(bait.path))


def _with_alias(mov: bytes, path: str) -> bytes:
    """Replace the data reference of the only track by a Macintosh alias record."""
    name = path.encode()
    alias = bytes(10) + bytes(28) + bytes(12) + bytes(64) + bytes(16)
    alias += struct.pack(">HH", 1, 1) + bytes(16)
    alias += struct.pack(">HH", 2, len(name)) + name + bytes(len(name) % 2)
    alias += struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    at = mov.index(b"dref") - 4
    old = struct.unpack_from(">I", mov, at)[0]
    dref = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    grown = bytearray(mov[:at] + dref + mov[at + old :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        # The innermost box of each kind around the data reference.
        size_at = mov.rindex(box, 0, at) - 4
        size = struct.unpack_from(">I", mov, size_at)[0]
        struct.pack_into(">I", grown, size_at, size + len(dref) - old)
    return bytes(grown)


def _tone() -> NDArray[np.int16]:
    return _int16(np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE) / 2)


def _int16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    return np.asarray(samples * 32_767, np.int16)


def _wav(
    samples: NDArray[np.generic], codec: int = 1, *, rate: int = RATE, channels: int = 1
) -> bytes:
    width = samples.itemsize * channels
    layout = struct.pack(
        "<HHIIHH", codec, channels, rate, rate * width, width, samples.itemsize * 8
    )
    data = samples.tobytes()
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + layout
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def _id3(content: bytes, length: int) -> bytes:
    sizes = bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + sizes + content[:length].ljust(length, b"\0")


def _patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _every_page(ogg: bytes) -> bytes:
    """Break the checksum of each page: bytes 22 to 25 behind its capture pattern."""
    nothing, *pages = ogg.split(b"OggS")
    broken_pages = [page[:18] + b"\xde\xad\xbe\xef" + page[22:] for page in pages]
    return b"OggS".join([nothing, *broken_pages])
