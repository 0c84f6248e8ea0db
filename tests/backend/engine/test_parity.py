"""The engine against the plain package, on the same weights: greedy, so that codes must agree."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from qwen_tts import Qwen3TTSModel
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from backend.contract import SpeechRequest
from backend.engine import projection
from backend.engine.codec import CodecDecoder
from backend.engine.sampling import Sampling
from tests.backend.conftest import TRANSCRIPT, buzz, load, spoken
from tests.backend.engine.decoding import codes_until_the_end

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from backend.contract import ConsentRecord
    from backend.engine.engine import Engine

FRAMES = 30
TEXTS = [
    "Hello there, friend.",
    "Guten Tag! Dies ist ein etwas längerer Satz, der eine Weile weitergeht.",
    "Oui.",
    "A longer text than its reference has frames, so that some of it trails. It is two sentences.",
]
LANGUAGES = ["English", "German", "French", "Auto"]
WORDS = ["one", "morning", "the", "harbour", "lay", "still;", "nobody,", "spoke...", "12", "Möwen!"]
TRANSCRIPTS = [TRANSCRIPT, None, TRANSCRIPT, None]


@dataclass
class PackageRun:
    """What the plain package made of a batch.

    Attributes:
        talker_inputs: What it had its talker generate from.
        codes: `(frames, code_groups)` for each row.
        speech: For each row.
    """

    talker_inputs: dict[str, torch.Tensor]
    codes: list[torch.Tensor]
    speech: list[NDArray[np.float32]]


@pytest.fixture(scope="module")
def package(greedy_checkpoint: Path) -> Any:
    return Qwen3TTSModel.from_pretrained(
        str(greedy_checkpoint),
        device_map="cpu",
        dtype=torch.float32,
        attn_implementation="sdpa",
    )


@pytest.fixture(scope="module")
def references() -> list[NDArray[np.float32]]:
    # They end in silence, as the engine would have it.
    silence = np.zeros(12_000, np.float32)
    return [np.concatenate([buzz(pitch), silence]) for pitch in (100, 150, 200, 250)]


@pytest.fixture(scope="module")
def package_run(package: Any, references: list[NDArray[np.float32]]) -> PackageRun:
    """Four texts in four languages and voices, two in context and two not, in one call."""
    items = [
        package.create_voice_clone_prompt((reference, 24_000), words, words is None)[0]
        for reference, words in zip(references, TRANSCRIPTS, strict=True)
    ]
    run = PackageRun({}, [], [])
    generate_frames, generate = package.model.talker.generate, package.model.generate

    def see_inputs(**inputs: Any) -> Any:
        run.talker_inputs = inputs
        return generate_frames(**inputs)

    def see_codes(**inputs: Any) -> Any:
        result = generate(**inputs)
        run.codes = result[0]
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package.model.talker, "generate", see_inputs)
        patch.setattr(package.model, "generate", see_codes)
        run.speech, _ = package.generate_voice_clone(
            TEXTS, LANGUAGES, voice_clone_prompt=items, max_new_tokens=FRAMES + 1
        )
    return run


@pytest.fixture(scope="module")
def jobs(
    greedy_engine: Engine, references: list[NDArray[np.float32]], consent: ConsentRecord
) -> list[SpeechRequest]:
    prompts = [
        greedy_engine.make_prompt(reference, words, consent)
        for reference, words in zip(references, TRANSCRIPTS, strict=True)
    ]
    return [
        SpeechRequest(text, prompt, language, max_new_tokens=FRAMES + 1)
        for text, prompt, language in zip(TEXTS, prompts, LANGUAGES, strict=True)
    ]


def test_requests_are_laid_out_as_the_package_does(
    greedy_engine: Engine, jobs: list[SpeechRequest], package_run: PackageRun
) -> None:
    requests = [greedy_engine._lay_out(job).request for job in jobs]
    expected = package_run.talker_inputs
    for row, request in enumerate(requests):
        theirs = expected["inputs_embeds"][row][expected["attention_mask"][row] == 1]
        torch.testing.assert_close(request.inputs, theirs)
        trailing = expected["trailing_text_hidden"][row]
        torch.testing.assert_close(request.trailing_text, trailing[: len(request.trailing_text)])
        for rest in trailing[len(request.trailing_text) :]:
            torch.testing.assert_close(rest, greedy_engine._layout.text_pad[0])


def test_speech_is_what_the_package_makes(
    greedy_engine: Engine, jobs: list[SpeechRequest], package_run: PackageRun
) -> None:
    assert len({len(codes) for codes in package_run.codes}) == len(jobs)  # rows end apart
    for ours, theirs in zip(greedy_engine.speak_batch(jobs), package_run.speech, strict=True):
        length = len(spoken(ours))
        assert length % 1_920 == 0
        # Where it cuts the reference off, the package's rounding may leave a sample of it.
        assert len(theirs) - length in {0, 1}
        np.testing.assert_allclose(spoken(ours), theirs[-length:], atol=1e-3)


def test_several_threads_make_the_same_speech(
    greedy_checkpoint: Path,
    greedy_engine: Engine,
    jobs: list[SpeechRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(projection, "_WORTH_SPLITTING", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    engine = load(greedy_checkpoint)
    assert engine._parts.first_codes._head._parts is not None
    for ours, theirs in zip(engine.speak_batch(jobs), greedy_engine.speak_batch(jobs), strict=True):
        np.testing.assert_allclose(spoken(ours), spoken(theirs), atol=1e-3)


@pytest.mark.slow
def test_sixty_requests_get_the_codes_that_the_package_gives_them(
    greedy_engine: Engine,
    package: Any,
    references: list[NDArray[np.float32]],
    consent: ConsentRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(6)  # noqa: S311 - not for secrets
    modes = list(product(references, TRANSCRIPTS[:2]))
    items = [
        package.create_voice_clone_prompt((clip, 24_000), *mode(words)) for clip, words in modes
    ]
    prompts = [greedy_engine.make_prompt(clip, words, consent) for clip, words in modes]
    expected: list[torch.Tensor] = []
    generate = package.model.generate

    def see_codes(**inputs: Any) -> Any:
        result = generate(**inputs)
        expected.extend(result[0])
        return result

    monkeypatch.setattr(package.model, "generate", see_codes)
    said: list[torch.Tensor] = []
    for size in (*range(1, 9), 8, 8, 8):
        texts = [" ".join(chance.choices(WORDS, k=chance.randint(1, 12))) for _ in range(size)]
        languages = chance.choices(LANGUAGES, k=size)
        voices = chance.choices(range(len(modes)), k=size)
        package.generate_voice_clone(
            texts,
            languages,
            voice_clone_prompt=[items[voice][0] for voice in voices],
            max_new_tokens=FRAMES + 1,
        )
        jobs = [
            SpeechRequest(text, prompts[voice], language)
            for text, voice, language in zip(texts, voices, languages, strict=True)
        ]
        said += codes_until_the_end(greedy_engine, jobs, FRAMES)
    assert len(said) == len(expected) == 60
    assert len({len(codes) for codes in expected}) > 5
    for number, (ours, theirs) in enumerate(zip(said, expected, strict=True)):
        assert torch.equal(ours, theirs), number


def mode(words: str | None) -> tuple[str | None, bool]:
    """The transcript, and whether the voice alone is taken, as the package has it."""
    return words, words is None


def test_prompts_are_what_the_package_makes(
    greedy_engine: Engine, package: Any, references: list[NDArray[np.float32]]
) -> None:
    from backend.engine.clone import clone_voice  # noqa: PLC0415

    (item,) = package.create_voice_clone_prompt((references[0], 24_000), TRANSCRIPT)
    voice = clone_voice(greedy_engine._model, references[0], TRANSCRIPT, None)
    np.testing.assert_array_equal(voice.codes, item.ref_code.numpy())
    np.testing.assert_allclose(voice.speaker_embedding, item.ref_spk_embedding.numpy(), rtol=1e-5)


@pytest.mark.parametrize("pieces", [[60], [5, 8, 8, 8, 8, 8, 8, 7], [1] * 60])
def test_a_stream_of_pieces_equals_one_decode(greedy_engine: Engine, pieces: list[int]) -> None:
    # In double precision, so that the smallest error of principle would show.
    codec = greedy_engine._model.speech_tokenizer.model
    decoder = type(codec.decoder)(codec.config.decoder_config).eval().double()
    decoder.load_state_dict(codec.decoder.state_dict())
    torch.manual_seed(0)
    references = [0, 40, 3]
    codes = [torch.randint(256, (length + 60, 16)) for length in references]
    with torch.inference_mode():
        whole = [decoder(each.T[None])[0, 0] for each in codes]
    streaming = CodecDecoder(decoder)
    rows = [streaming.open(each[:length]) for each, length in zip(codes, references, strict=True)]
    spoken_codes = torch.stack([each[-60:] for each in codes])
    joined = torch.cat(
        [streaming.decode(rows, piece) for piece in torch.split(spoken_codes, pieces, dim=1)], dim=1
    )
    for row, expected in zip(joined, whole, strict=True):
        torch.testing.assert_close(row, expected[-60 * 1_920 :], atol=1e-9, rtol=0)


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_rounding_that_swaps_two_equally_likely_codes_changes_no_choice(top_p: float) -> None:
    sampling = Sampling(do_sample=True, temperature=0.9, top_k=50, top_p=top_p)
    logits = torch.randn(1, 120, generator=torch.Generator().manual_seed(1))
    logits[0, 24], logits[0, 58] = 1.5683333, 1.5683345
    other = logits.clone()
    other[0, 24] += 2e-6
    draws = (torch.arange(10_000) + 0.5) / 10_000
    chosen, chosen_by_other = (
        sampling.choose(each.expand(len(draws), -1), draws) for each in (logits, other)
    )
    assert (chosen == chosen_by_other).all()
    assert {24, 58} <= set(chosen.tolist())


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(do_sample=True, temperature=0.9, top_k=50, top_p=1.0),
        Sampling(do_sample=True, temperature=1.7, top_k=5, top_p=0.8),
        Sampling(do_sample=True, temperature=0.3, top_k=0, top_p=0.5),
        Sampling(do_sample=True, temperature=1.0, top_k=900, top_p=1.0),
        Sampling(do_sample=True, temperature=1.0, top_k=50, top_p=0.0),
    ],
)
def test_codes_are_drawn_with_the_probabilities_of_transformers(sampling: Sampling) -> None:
    logits = torch.randn(1, 120, generator=torch.Generator().manual_seed(1)) * 2
    warpers: Any = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    warpers.append(TopPLogitsWarper(sampling.top_p))
    expected = torch.softmax(warpers(None, logits), dim=-1)[0]
    grid = (torch.arange(20_000) + 0.5) / 20_000
    chosen = sampling.choose(logits.expand(len(grid), -1), grid)
    shares = torch.bincount(chosen, minlength=120) / len(grid)
    torch.testing.assert_close(shares, expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_row_without_numbers_leaves_the_others_their_choice(top_p: float) -> None:
    sampling = Sampling(do_sample=True, temperature=0.9, top_k=50, top_p=top_p)
    logits = torch.randn(3, 120, generator=torch.Generator().manual_seed(1))
    draws = torch.tensor([0.2, 0.5, 0.8])
    expected = sampling.choose(logits, draws)
    logits[1, 7] = torch.nan
    chosen = sampling.choose(logits, draws)
    assert chosen[[0, 2]].tolist() == expected[[0, 2]].tolist()
    assert 0 <= chosen[1] < 120


def scan_as_a_gpu_does(each: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> Any:
    """Sum up in parallel, so that each sum is rounded in its own order."""
    assert dim == -1
    summed = each.to(dtype or each.dtype)
    step = 1
    while step < each.shape[-1]:
        summed = torch.cat([summed[:, :step], summed[:, step:] + summed[:, :-step]], dim=-1)
        step *= 2
    return summed


def test_rounding_never_chooses_a_code_that_is_ruled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = Sampling(do_sample=True, temperature=1.0, top_k=0, top_p=1.0)
    logits = torch.randn(1, 300, generator=torch.Generator().manual_seed(1))
    logits[
        :, 200:299
    ] = -torch.inf  # before the last, as control codes are before the end of speech
    monkeypatch.setattr(torch.Tensor, "cumsum", scan_as_a_gpu_does)
    until_there = torch.softmax(logits, dim=-1)[0, :200].sum().item()
    draws = until_there + torch.arange(-20, 20) * 2**-24
    chosen = sampling.choose(logits.expand(len(draws), -1), draws)
    assert set(chosen.tolist()) == {199, 299}
