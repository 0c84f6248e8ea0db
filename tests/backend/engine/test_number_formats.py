"""bfloat16: our rounding errors are no larger than the package's.

Both are compared with the same model in float32, with the same rounded weights. So the difference
is what computing in bfloat16 adds. All frames are given, so that one that is chosen otherwise does
not make all that follow differ.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from backend.contract import SpeechRequest
from backend.engine.batch import Row
from backend.engine.code_predictor import CodePredictor
from backend.engine.codec.decoder import CodecDecoder
from tests.backend.conftest import TRANSCRIPT, load
from tests.backend.engine.decoding import CONSENT, batch_of
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from backend.engine.engine import Engine

FRAMES = 24
TEXT = "Hello there."
CLIPS = [np.concatenate([buzz(pitch), np.zeros(12_000, np.float32)]) for pitch in (110, 180, 240)]
TRANSCRIPTS = [TRANSCRIPT, TRANSCRIPT, None]

NOISE = 0.3
"""In decibels: how much two errors differ by chance alone. Other frames move either side by 0.2."""


class GivenFrames:
    """Has a model generate given frames, whatever it would have chosen.

    Args:
        frames: int64 `(frames, code_groups)`, the same for every row.

    Attributes:
        logits: What our code predictor would have chosen from: `(rows, codes)` for each code.
    """

    def __init__(self, frames: torch.Tensor) -> None:
        self._frames = frames
        self.logits: list[torch.Tensor] = []

    def codec_head(self, head: Any) -> Any:
        """A codec head like ours that chooses the first code of each frame."""

        def sample(_hidden: Any, _seen: Any, frames: torch.Tensor, _uniforms: Any) -> torch.Tensor:
            return self._frames[frames.clamp(max=len(self._frames) - 1), 0]

        return SimpleNamespace(
            end_of_speech=head.end_of_speech, vocabulary=head.vocabulary, sample=sample
        )

    def sample(self, logits: torch.Tensor, _uniforms: torch.Tensor) -> torch.Tensor:
        """Choose the next residual code, in place of our `Sampling`."""
        frame, group = divmod(len(self.logits), self._frames.shape[1] - 1)
        self.logits.append(logits)
        return self._frames[frame, 1 + group].expand(len(logits))

    def choose_in_package(self, talker: Any, patch: pytest.MonkeyPatch) -> None:
        """Choose all codes that the package's talker generates."""
        first, *_, last = self._frames[:, 0].tolist()
        heads, residuals = iter(self._frames[:, 0].tolist()), iter(self._frames[:, 1:])
        assert first != last

        def head(hidden: torch.Tensor) -> torch.Tensor:
            logits = hidden.new_zeros(*hidden.shape[:2], talker.config.vocab_size)
            logits[..., next(heads, last)] = 1_000
            return logits

        def generate(*, inputs_embeds: torch.Tensor, **_: Any) -> Any:
            return SimpleNamespace(sequences=next(residuals).expand(len(inputs_embeds), -1))

        patch.setattr(talker.codec_head, "forward", head)
        patch.setattr(talker.code_predictor, "generate", generate)


def decibels_below(result: torch.Tensor, exact: torch.Tensor) -> float:
    """How far below the exact result the error of a result is."""
    error = result.float() - exact
    return float(10 * torch.log10(exact.square().mean() / error.square().mean()))


@pytest.fixture(scope="module")
def codes() -> torch.Tensor:
    """`(2, frames, code_groups)`."""
    return torch.randint(256, (2, FRAMES, 16), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def rounded_engine(greedy_checkpoint: Path) -> Engine:
    return load(greedy_checkpoint, dtype="bfloat16", codec_dtype="bfloat16")


@pytest.fixture(scope="module")
def exact_package(greedy_checkpoint: Path, rounded_engine: Engine) -> Any:
    """The package's model in float32, with the same weights."""
    package = load(greedy_checkpoint, plain_package=True).package_model
    rounded = rounded_engine.package_model.model
    package.model.load_state_dict(rounded.state_dict())
    codec = rounded.speech_tokenizer.model
    package.model.speech_tokenizer.model.load_state_dict(codec.state_dict())
    return package


def our_states(engine: Engine, prompts: Sequence[Any], frames: torch.Tensor) -> torch.Tensor:
    """The talker's states before each frame: `(rows, frames, hidden)`."""
    given, ours = GivenFrames(frames), copy(engine)
    talker, embeddings = engine.package_model.model.talker, engine.embedder.codec_embeddings
    predictor = CodePredictor(talker, given, embeddings)  # type: ignore[arg-type]
    head = given.codec_head(engine.parts.codec_head)
    ours.parts = replace(engine.parts, codec_head=head, code_predictor=predictor)
    batch = batch_of(ours)
    for prompt in prompts:
        batch.add(Row(engine.prepare(SpeechRequest(TEXT, prompt, max_new_tokens=64))))
    states = []
    for _ in frames:
        assert len(batch.next_codes()) == len(prompts)
        states.append(batch.hidden_states())
        batch.decode_step()
    return torch.stack(states, dim=1)


def package_states(package: Any, items: list[Any], frames: torch.Tensor) -> torch.Tensor:
    """The same from the package."""
    states: list[torch.Tensor] = []
    generate = package.model.generate

    def see_states(**inputs: Any) -> Any:
        said, hidden = generate(**inputs)
        assert all(torch.equal(each, frames) for each in said)
        states.extend(hidden)
        return said, hidden

    def decode_nothing(said: list[Any]) -> Any:
        return [np.zeros(1, np.float32) for _ in said], 24_000

    with pytest.MonkeyPatch.context() as patch:
        GivenFrames(frames).choose_in_package(package.model.talker, patch)
        patch.setattr(package.model, "generate", see_states)
        patch.setattr(package.model.speech_tokenizer, "decode", decode_nothing)
        package.generate_voice_clone(
            [TEXT] * len(items),
            voice_clone_prompt=items,
            max_new_tokens=FRAMES + 1,
            non_streaming_mode=True,
        )
    return torch.stack(states)


@torch.inference_mode()
def test_the_talkers_states_are_no_further_off_than_the_packages(
    rounded_engine: Engine, exact_package: Any, codes: torch.Tensor
) -> None:
    package = rounded_engine.package_model
    prompts, items = [], []
    for clip, words in zip(CLIPS, TRANSCRIPTS, strict=True):
        prompts.append(rounded_engine.make_prompt(clip, words, CONSENT))
        items += package.create_voice_clone_prompt((clip, 24_000), words, words is None)
    ours = torch.cat([our_states(rounded_engine, prompts, frames) for frames in codes])
    theirs = torch.cat([package_states(package, items, frames) for frames in codes])
    exact = torch.cat([package_states(exact_package, items, frames) for frames in codes])
    assert ours.dtype == theirs.dtype == torch.bfloat16
    assert 30 < decibels_below(theirs, exact) < 60
    assert decibels_below(ours, exact) > decibels_below(theirs, exact) - NOISE
    logits, exact_logits = package.model.talker.codec_head, exact_package.model.talker.codec_head
    our_logits = decibels_below(logits(ours), exact_logits(exact))
    assert our_logits > decibels_below(logits(theirs), exact_logits(exact)) - NOISE


@torch.inference_mode()
def test_the_code_predictors_logits_are_no_further_off_than_the_packages(
    rounded_engine: Engine, exact_package: Any, codes: torch.Tensor
) -> None:
    talker, frames = rounded_engine.package_model.model.talker, codes.flatten(0, 1)
    noise = torch.randn(len(frames), 64, generator=torch.Generator().manual_seed(2))
    hidden = noise.bfloat16()
    given = GivenFrames(frames)
    embeddings = rounded_engine.embedder.codec_embeddings
    predictor = CodePredictor(talker, given, embeddings)  # type: ignore[arg-type]
    for state, frame in zip(hidden, frames, strict=True):
        predictor.predict(state[None], frame[None, 0], torch.zeros(1, 15))
    ours = torch.cat(given.logits).view(len(frames), 15, -1)
    theirs = predictor_logits(talker, hidden, frames)
    exact = predictor_logits(exact_package.model.talker, hidden.float(), frames)
    assert 30 < decibels_below(theirs, exact) < 60
    assert decibels_below(ours, exact) > decibels_below(theirs, exact) - NOISE


def predictor_logits(talker: Any, hidden: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """The logits of the package's code predictor, `(frames, code_groups - 1, codes)`."""
    predictor = talker.code_predictor
    embeddings = [talker.get_input_embeddings(), *predictor.get_input_embeddings()[:-1]]
    embedded = [embedding(frames[:, group]) for group, embedding in enumerate(embeddings)]
    inputs = torch.stack([hidden, *embedded], dim=1)
    logits: torch.Tensor = predictor.forward_finetune(inputs_embeds=inputs).logits
    return logits


@torch.inference_mode()
def test_a_codecs_samples_are_no_further_off_than_the_packages(
    rounded_engine: Engine, exact_package: Any, codes: torch.Tensor
) -> None:
    decoder = rounded_engine.package_model.model.speech_tokenizer.model.decoder
    exact = exact_package.model.speech_tokenizer.model.decoder(codes.transpose(1, 2))[:, 0]
    theirs = decoder(codes.transpose(1, 2))[:, 0]
    codec = CodecDecoder(decoder)
    states = [codec.open(each) for each in codes[:, :0]]
    pieces = torch.split(codes, 8, dim=1)
    ours = torch.cat([codec.decode(states, piece) for piece in pieces], dim=1)
    assert ours.dtype == theirs.dtype == torch.bfloat16
    assert decibels_below(ours, exact) > decibels_below(theirs, exact) - NOISE
