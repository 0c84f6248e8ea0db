"""How many rows a machine has room for, and whether a request fits into one."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from backend.contract import TextNotSpeakableError
from backend.engine.speech_length import FEWEST_FRAMES_PER_TEXT_TOKEN

if TYPE_CHECKING:
    from backend.engine.kv_cache import CacheShape
    from backend.engine.prompt_embeds import PreparedRequest

log = logging.getLogger(__name__)

MOST_ROWS = 64
"""The most requests that are spoken at once."""

_USEFUL_ROWS = ((60e9, MOST_ROWS), (30e9, 32), (0.0, 16))
"""The most rows for a GPU with at least so many bytes of memory. Each row takes some of the GPU's
time, and GPUs with less memory are slower. On an H100 with 80 GB, a frame of 64 rows takes 20 ms, a
quarter of its own duration. The others are estimates."""

_WORKING_BYTES = 4e9
"""What stays free of a GPU's memory: for the codec's states and activations, for cloning a voice
from the longest clip, for CUDA graphs, and for the libraries' own memory. On an H100 with 64 rows,
3.1 GB of it were in use after loading, when 6 sizes of prompts were captured instead of 22."""

_CPU_ROWS = 16
_CPU_BYTES = 8e9
"""The most for the KV cache on a CPU, where a page takes memory only once it is used."""


def rows_with_room(shape: CacheShape, device: torch.device, reserved_bytes: int = 0) -> int:
    """Return how many rows a device has room for, at least one.

    Args:
        shape: What each row caches.
        device: Where the model has been loaded.
        reserved_bytes: What of its memory others will need that are not loaded yet.
    """
    if device.type != "cuda":
        return max(1, min(_CPU_ROWS, int(_CPU_BYTES / shape.row_bytes())))
    # Memory that torch has set aside while it loaded the model counts as used until it is returned.
    torch.cuda.empty_cache()
    free_bytes, all_bytes = torch.cuda.mem_get_info(device)
    rows = rows_on_gpu(shape.row_bytes(), free_bytes - reserved_bytes, all_bytes)
    log.info(
        "%.1f of %.1f GB of memory are free, %.1f of them for others: room for %d rows",
        free_bytes / 1e9,
        all_bytes / 1e9,
        reserved_bytes / 1e9,
        rows,
    )
    return rows


def rows_on_gpu(row_bytes: int, free_bytes: int, all_bytes: int) -> int:
    """Return how many rows a GPU has room for, at least one.

    Args:
        row_bytes: What a row's keys and values take.
        free_bytes: What of the GPU's memory is free for the engine.
        all_bytes: The GPU's memory.
    """
    useful = next(rows for least, rows in _USEFUL_ROWS if all_bytes >= least)
    return max(1, min(useful, int((free_bytes - _WORKING_BYTES) / row_bytes)))


def fitted(request: PreparedRequest, positions: int) -> PreparedRequest:
    """Limit the speech of a request to the room that its prompt leaves in a row.

    Args:
        request: A request.
        positions: How many positions a row has room for.

    Raises `TextNotSpeakableError` if the fastest reader could not say the text in that room. Only
    texts and transcripts of more than a token for each character can be that long.
    """
    room = positions - len(request.inputs)
    fewest = min(request.max_tokens, FEWEST_FRAMES_PER_TEXT_TOKEN * request.text_tokens)
    if room < max(1, fewest):
        raise TextNotSpeakableError("with the voice's transcript, the text has too many tokens")
    return replace(request, max_tokens=min(request.max_tokens, room))
