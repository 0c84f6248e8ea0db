"""The engine against the plain package, with the same weights and greedy: codes must agree."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch
from qwen_tts import Qwen3TTSModel

from backend.contract import SpeechRequest
from backend.engine import projection
from backend.engine.clone import clone_voice
from backend.engine.codec.decoder import CodecDecoder
from backend.engine.interface import TextLayout
from tests.backend.conftest import TRANSCRIPT, load, spoken
from tests.backend.engine.decoding import codes_until_the_end
from tests.backend.engine.speaking import speak
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from backend.contract import ConsentRecord, VoicePrompt
    from backend.engine.engine import Engine

FRAMES = 30
FEW_FRAMES = 16
TEXTS = [
    "Hello there, friend.",
    "Guten Tag! Dies ist ein etwas längerer Satz, der noch eine Weile weitergeht.",
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


@pytest.fixture(scope="module", params=get_args(TextLayout))
def layout(request: pytest.FixtureRequest) -> TextLayout:
    chosen: TextLayout = request.param
    return chosen


@pytest.fixture(scope="module")
def our_engine(layout: TextLayout, greedy_checkpoint: Path) -> Engine:
    return load(greedy_checkpoint, text_layout=layout)


@pytest.fixture(scope="module")
def package(greedy_checkpoint: Path) -> Any:
    return load_package(greedy_checkpoint)


def load_package(checkpoint: Path) -> Any:
    return Qwen3TTSModel.from_pretrained(
        str(checkpoint), device_map="cpu", dtype=torch.float32, attn_implementation="sdpa"
    )


@pytest.fixture(scope="module")
def references() -> list[NDArray[np.float32]]:
    # They end in silence, as the engine would have it.
    silence = np.zeros(12_000, np.float32)
    return [np.concatenate([buzz(pitch), silence]) for pitch in (100, 150, 200, 250)]


@pytest.fixture(scope="module")
def package_run(
    layout: TextLayout, package: Any, references: list[NDArray[np.float32]]
) -> PackageRun:
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
            TEXTS,
            LANGUAGES,
            voice_clone_prompt=items,
            max_new_tokens=FRAMES + 1,
            non_streaming_mode=layout == "before",
        )
    return run


@pytest.fixture(scope="module")
def requests(
    our_engine: Engine, references: list[NDArray[np.float32]], consent: ConsentRecord
) -> list[SpeechRequest]:
    return requests_of(our_engine, references, consent)


def requests_of(
    engine: Engine, references: list[NDArray[np.float32]], consent: ConsentRecord
) -> list[SpeechRequest]:
    """What the package says in `package_run`."""
    prompts = [
        engine.make_prompt(reference, words, consent)
        for reference, words in zip(references, TRANSCRIPTS, strict=True)
    ]
    return [
        SpeechRequest(text, prompt, language, max_new_tokens=FRAMES + 1)
        for text, prompt, language in zip(TEXTS, prompts, LANGUAGES, strict=True)
    ]


def test_prompt_embeddings_are_those_of_the_package(
    our_engine: Engine, requests: list[SpeechRequest], package_run: PackageRun
) -> None:
    prepared = [our_engine.prepare(request) for request in requests]
    expected = package_run.talker_inputs
    for row, request in enumerate(prepared):
        theirs = expected["inputs_embeds"][row][expected["attention_mask"][row] == 1]
        torch.testing.assert_close(request.inputs, theirs)
        trailing = expected["trailing_text_hidden"][row]
        torch.testing.assert_close(request.trailing_text, trailing[: len(request.trailing_text)])
        for rest in trailing[len(request.trailing_text) :]:
            torch.testing.assert_close(rest, our_engine.embedder.text_pad[0])


def test_speech_is_what_the_package_makes(
    our_engine: Engine, requests: list[SpeechRequest], package_run: PackageRun
) -> None:
    assert len({len(codes) for codes in package_run.codes}) == len(requests)  # rows end apart
    for ours, theirs in zip(speak(our_engine, requests), package_run.speech, strict=True):
        length = len(spoken(ours))
        assert length % 1_920 == 0
        # Where it cuts the reference off, the package's rounding may leave a sample of it.
        assert len(theirs) - length in {0, 1}
        np.testing.assert_allclose(spoken(ours), theirs[-length:], atol=1e-3)


def test_several_threads_make_the_same_speech(
    greedy_checkpoint: Path,
    greedy_engine: Engine,
    references: list[NDArray[np.float32]],
    consent: ConsentRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(projection, "_WORTH_SPLITTING", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    engine = load(greedy_checkpoint)
    project = engine.parts.codec_head._project
    assert isinstance(project, projection.Projection)
    assert project._parts is not None
    requests = requests_of(engine, references, consent)
    for ours, theirs in zip(speak(engine, requests), speak(greedy_engine, requests), strict=True):
        np.testing.assert_allclose(spoken(ours), spoken(theirs), atol=1e-3)


@dataclass
class FewCodes:
    """A checkpoint whose frames have few codes, with eight voices.

    Attributes:
        checkpoint: Its folder.
        package: The package's model.
        items: The voices, as the package has them.
        prompts: The same voices, as we have them.
    """

    checkpoint: Path
    package: Any
    items: list[Any]
    prompts: list[VoicePrompt]


@pytest.fixture(scope="module")
def few_codes(
    quick_greedy_checkpoint: Path,
    references: list[NDArray[np.float32]],
    consent: ConsentRecord,
) -> FewCodes:
    checkpoint = quick_greedy_checkpoint
    engine, package = load(checkpoint), load_package(checkpoint)
    voices = list(product(references, TRANSCRIPTS[:2]))
    items = [
        package.create_voice_clone_prompt((clip, 24_000), words, words is None)[0]
        for clip, words in voices
    ]
    prompts = [engine.make_prompt(clip, words, consent) for clip, words in voices]
    return FewCodes(checkpoint, package, items, prompts)


@pytest.mark.slow
def test_sixty_requests_get_the_codes_that_the_package_gives_them(
    few_codes: FewCodes, layout: TextLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, package = load(few_codes.checkpoint, text_layout=layout), few_codes.package
    generator = random.Random(6)  # noqa: S311 - not for secrets
    expected: list[torch.Tensor] = []
    generate = package.model.generate

    def see_codes(**inputs: Any) -> Any:
        result = generate(**inputs)
        expected.extend(result[0])
        return result

    def decode_nothing(codes: list[Any]) -> Any:
        return [np.zeros(1, np.float32) for _ in codes], 24_000

    monkeypatch.setattr(package.model, "generate", see_codes)
    monkeypatch.setattr(package.model.speech_tokenizer, "decode", decode_nothing)
    said: list[torch.Tensor] = []
    for size in (*range(1, 9), 8, 8, 8):
        texts = [
            " ".join(generator.choices(WORDS, k=generator.randint(1, 12))) for _ in range(size)
        ]
        languages = generator.choices(LANGUAGES, k=size)
        voices = generator.choices(range(len(few_codes.items)), k=size)
        package.generate_voice_clone(
            texts,
            languages,
            voice_clone_prompt=[few_codes.items[voice] for voice in voices],
            max_new_tokens=FEW_FRAMES + 1,
            non_streaming_mode=layout == "before",
        )
        requests = [
            SpeechRequest(text, few_codes.prompts[voice], language)
            for text, voice, language in zip(texts, voices, languages, strict=True)
        ]
        said += codes_until_the_end(engine, requests, FEW_FRAMES)
    assert len(said) == len(expected) == 60
    assert len({len(codes) for codes in expected}) > 5
    for number, (ours, theirs) in enumerate(zip(said, expected, strict=True)):
        assert torch.equal(ours, theirs), number


def test_prompts_are_what_the_package_makes(
    greedy_engine: Engine, package: Any, references: list[NDArray[np.float32]]
) -> None:
    (item,) = package.create_voice_clone_prompt((references[0], 24_000), TRANSCRIPT)
    voice = clone_voice(greedy_engine.package_model.model, references[0], TRANSCRIPT, None)
    np.testing.assert_array_equal(voice.codes, item.ref_code.numpy())
    np.testing.assert_allclose(voice.speaker_embedding, item.ref_spk_embedding.numpy(), rtol=1e-5)


@pytest.mark.parametrize("pieces", [[60], [5, 8, 8, 8, 8, 8, 8, 7], [1] * 60])
def test_a_stream_of_pieces_equals_one_decode(greedy_engine: Engine, pieces: list[int]) -> None:
    # In double precision, so that any error but rounding would show.
    codec = greedy_engine.package_model.model.speech_tokenizer.model
    decoder = type(codec.decoder)(codec.config.decoder_config).eval().double()
    decoder.load_state_dict(codec.decoder.state_dict())
    torch.manual_seed(0)
    references = [0, 40, 3]
    codes = [torch.randint(256, (length + 60, 16)) for length in references]
    with torch.inference_mode():
        whole = [decoder(each.T[None])[0, 0] for each in codes]
    streaming = CodecDecoder(decoder)
    states = [streaming.open(each[:length]) for each, length in zip(codes, references, strict=True)]
    spoken_codes = torch.stack([each[-60:] for each in codes])
    joined = torch.cat(
        [streaming.decode(states, piece) for piece in torch.split(spoken_codes, pieces, dim=1)],
        dim=1,
    )
    for row, expected in zip(joined, whole, strict=True):
        torch.testing.assert_close(row, expected[-60 * 1_920 :], atol=1e-9, rtol=0)
