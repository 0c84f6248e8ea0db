"""A decoder's step, recorded once as a CUDA graph and replayed.

A frame is some 2,000 small kernels. Launched one by one from Python they take tens of milliseconds,
most of the 80 that a frame may take; replayed from a CUDA graph, a few microseconds. A graph fixes
addresses and sizes, so there is one for each number of rows and positions, both rounded up; entries
beyond the rows that speak are computed and forgotten.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from backend.engine.batch import Decoder
from backend.engine.prompt_embeds import LaidOutRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.engine.batch import DecoderRow
    from backend.engine.model_parts import ModelParts
    from backend.engine.replayed_step import Recorder

_CHECKED_ROWS = 3  # not a size that is recorded: one entry is computed and forgotten
_CHECKED_FRAMES = 12
_CHECKED_POSITIONS = 10
_LEAVES_AT = 4  # frames
_JOINS_AT = 8
_MUCH_TEXT = 200  # tokens, more than there is room for at first
_TOLERANCE = 0.02  # of a state's largest number: some roundings in bfloat16

log = logging.getLogger(__name__)


def choose_recorder(parts: ModelParts, *, is_wanted: bool) -> Recorder | None:
    """Give what records steps on this device, if that is wanted and works here."""
    if not is_wanted or parts.text_pad.device.type != "cuda":
        return None
    return checked_recorder(parts, CudaGraphRecorder())


def checked_recorder(parts: ModelParts, recorder: Recorder) -> Recorder | None:
    """Try a recorder on a short prompt; give it if what it replays is what was recorded.

    Args:
        parts: Of a loaded model, which make the frames.
        recorder: To be tried.

    Returns:
        The recorder, which from now on runs what it cannot record; or None, with the reason in the
        log: frames are made all the same, more slowly.
    """
    try:
        expected = _states_after(parts, _run_directly)
        replayed = _states_after(parts, recorder)
    except Exception as error:  # noqa: BLE001 - whatever a driver does not like, speech goes on
        log.warning("CUDA graphs are off: recording failed with %s", type(error).__name__)
        return None
    difference = (replayed - expected).abs().max() / expected.abs().max()
    if not difference <= _TOLERANCE:  # which holds for NaN too
        log.warning("CUDA graphs are off: replayed states differ by %.2g", difference)
        return None
    log.info("CUDA graphs are on: replayed states differ by %.2g", difference)
    return _forgiving(recorder)


class CudaGraphRecorder:
    """Records steps, without running them, as CUDA graphs that share their working memory.

    They may share it because they run one after the other, and leave their results elsewhere.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        """Record a step that has been run before, so that its kernels are loaded."""
        graph = torch.cuda.CUDAGraph()
        # By default, whatever another thread asks of the GPU meanwhile would spoil the recording:
        # https://docs.pytorch.org/docs/stable/generated/torch.cuda.graph.html
        recording = torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local")
        # It goes to a stream of its own, and does not come back from there if recording fails.
        with torch.cuda.stream(torch.cuda.current_stream()), recording:
            step()
        return graph.replay


def _forgiving(recorder: Recorder) -> Recorder:
    def record(step: Callable[[], None]) -> Callable[[], object] | None:
        try:
            return recorder(step)
        except Exception as error:  # noqa: BLE001 - as above
            log.warning("a step was not recorded (%s), and is run instead", type(error).__name__)
            return None

    return record


def _run_directly(_step: Callable[[], None]) -> None:
    return None


@torch.inference_mode()
def _states_after(parts: ModelParts, recorder: Recorder) -> torch.Tensor:
    """Let some rows speak; give the talker's states of all their frames, `(states, hidden)`.

    On the way a row leaves, which changes the number of rows, and one joins that has much text,
    which moves memory.
    """
    chance = torch.Generator().manual_seed(0)
    decoder = Decoder(parts, rows=_CHECKED_ROWS, frames=_CHECKED_FRAMES, recorder=recorder)
    pad = parts.text_pad

    def join(text_tokens: int) -> DecoderRow:
        noise = torch.randn(_CHECKED_POSITIONS, pad.shape[1], generator=chance).to(pad)
        draws = torch.rand(_CHECKED_FRAMES, parts.code_groups, generator=chance)
        no_codes = torch.zeros(0, parts.code_groups, dtype=torch.long, device=pad.device)
        request = LaidOutRequest(noise * pad.std() + pad, pad.expand(text_tokens, -1), no_codes)
        return decoder.join(request, draws)

    first, *_ = [join(text_tokens=1) for _ in range(_CHECKED_ROWS)]
    states = []
    for frame in range(_CHECKED_FRAMES - 1):
        if frame == _LEAVES_AT:
            decoder.leave(first)
        if frame == _JOINS_AT:
            join(text_tokens=_MUCH_TEXT)
        decoder.choose_first_codes()
        decoder.make_frames()
        states.append(decoder.states_of_rows().float())
    return torch.cat(states)
