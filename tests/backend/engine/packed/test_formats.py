"""What the language model's weights are kept as: chosen, checked, told, and never held twice."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from backend.contract import SpeechRequest, VoicePrompt
from backend.engine.batch import Row
from backend.engine.loading import load_model
from backend.engine.packed import choice
from backend.engine.packed import matrices as packed_matrices
from backend.engine.packed.choice import choose_weights
from backend.engine.packed.packer import Packer
from backend.engine.packed.stored_matrices import StoredMatrices
from backend.loading import ServiceOptions, open_service
from backend.voice_prompt import read_voice_prompt
from backend.weights.formats import WeightFormat
from tests.backend.conftest import TRANSCRIPT, load, make_checkpoint
from tests.backend.engine.decoding import batch_of
from tests.backend.service_parts import Outside, make_prompt, make_service, samples_of
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from pathlib import Path

    from backend.contract import ConsentRecord
    from backend.engine.engine import Engine
    from backend.voice_prompt import ClonedVoice
    from backend.watermark.watermark import Watermarker
    from backend.weights.formats import WeightChoice

FLOAT32, BFLOAT16, INT8 = WeightFormat


def measure(monkeypatch: pytest.MonkeyPatch, *fastest_first: WeightFormat) -> None:
    """Say which formats are fast, whatever this machine does meanwhile."""
    monkeypatch.setattr(choice, "fastest_first", lambda: list(fastest_first))


def damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have large weights packed as int8 as if they were half as large."""
    scales_of = packed_matrices.scales_of
    monkeypatch.setattr(packed_matrices, "scales_of", lambda weight: scales_of(weight) / 2)


def lack_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("not built with it")

    monkeypatch.delattr(torch, "_weight_int8pack_mm")
    monkeypatch.setattr(packed_matrices.SplitInt8Matrix, "__init__", refuse)
    choice._seconds.cache_clear()  # what was measured when there was one


@pytest.fixture(scope="module")
def rounded_checkpoint(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """A checkpoint in bfloat16, as the published ones are."""
    folder = make_checkpoint(tmp_path_factory, "rounded", end_of_speech_scale=3.0)
    weights = load_file(checkpoint / "model.safetensors")
    rounded = {name: weight.bfloat16() for name, weight in weights.items()}
    save_file(rounded, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def engines(checkpoint: Path, watermarker: Watermarker) -> dict[WeightFormat, Engine]:
    return {
        each: load(checkpoint, weights=each.value, watermark=watermarker) for each in WeightFormat
    }


@pytest.fixture(scope="module")
def unpacked(checkpoint: Path) -> tuple[Any, StoredMatrices]:
    """A model whose matrices aren't packed yet, as `choose_weights` takes it."""
    package_model, _ = load_model(checkpoint, device="cpu")
    return package_model, StoredMatrices(package_model.model, checkpoint)


class TestTheFormatIs:
    def test_what_is_asked_for(self, engines: dict[WeightFormat, Engine]) -> None:
        for weights, engine in engines.items():
            info = engine.info()
            assert (info.weights, info.packed_as, info.dtype) == (weights, weights, "float32")
            assert "it was asked for" in info.weights_reason

    @pytest.mark.parametrize("fastest", WeightFormat)
    def test_the_fastest_if_nothing_is_asked_for(
        self,
        unpacked: tuple[Any, StoredMatrices],
        monkeypatch: pytest.MonkeyPatch,
        fastest: WeightFormat,
    ) -> None:
        measure(monkeypatch, fastest, *(each for each in WeightFormat if each is not fastest))
        chosen = choose_weights(*unpacked, "auto")
        assert chosen.dtype == fastest
        assert "the fastest here" in chosen.reason

    def test_measured_on_this_machine(self) -> None:
        assert sorted(choice.fastest_first()) == sorted(WeightFormat)

    @pytest.mark.parametrize("wanted", ["auto", "int8"])
    def test_the_next_larger_one_if_its_weights_are_damaged(
        self,
        unpacked: tuple[Any, StoredMatrices],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        wanted: WeightChoice,
    ) -> None:
        measure(monkeypatch, INT8, BFLOAT16, FLOAT32)
        damage(monkeypatch)
        chosen = choose_weights(*unpacked, wanted)
        assert chosen.dtype == BFLOAT16
        assert "int8 failed its check" in chosen.reason
        (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert "not kept as int8: states are off by" in record.getMessage()

    def test_float32_if_all_others_fail(
        self,
        unpacked: tuple[Any, StoredMatrices],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(choice, "WORST_ERROR", 1e-9)
        chosen = choose_weights(*unpacked, "int8")
        assert (chosen.dtype, chosen.reason) == (FLOAT32, "bfloat16 failed its check")
        assert "not kept as int8" in caplog.text
        assert "not kept as bfloat16" in caplog.text

    def test_not_one_that_fails_between_the_talker_and_the_code_predictor(
        self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checkpoint = make_checkpoint(tmp_path_factory, "projecting", predictor_hidden_size=48)
        package_model, _ = load_model(checkpoint, device="cpu")
        between = package_model.model.talker.code_predictor.small_to_mtp_projection
        pack = Packer.pack

        def damaged(packer: Packer, *linears: Any, **options: Any) -> Any:
            result = pack(packer, *linears, **options)
            if between in linears and packer.weights is INT8:
                result.matrix = Packer(FLOAT32).pack(nn.Linear(64, 48)).matrix
            return result

        monkeypatch.setattr(Packer, "pack", damaged)
        matrices = StoredMatrices(package_model.model, checkpoint)
        assert choose_weights(package_model, matrices, "int8").dtype == BFLOAT16

    def test_not_one_whose_states_are_no_numbers(
        self,
        unpacked: tuple[Any, StoredMatrices],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        scales_of = packed_matrices.scales_of
        monkeypatch.setattr(
            packed_matrices, "scales_of", lambda weight: scales_of(weight) * math.nan
        )
        measure(monkeypatch, INT8, FLOAT32)
        assert choose_weights(*unpacked, "auto").dtype == FLOAT32
        assert "not kept as int8" in caplog.text

    @pytest.mark.parametrize("wanted", ["auto", "int8"])
    def test_another_where_torch_has_no_product_for_it(
        self,
        unpacked: tuple[Any, StoredMatrices],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        wanted: WeightChoice,
    ) -> None:
        lack_int8(monkeypatch)
        assert choose_weights(*unpacked, wanted).dtype in {BFLOAT16, FLOAT32}
        assert "not kept as int8: this machine can't compute with it" in caplog.text

    def test_not_int8_with_the_packages_own_loop(
        self, checkpoint: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        info = load(checkpoint, weights="int8", plain_package=True).info()
        assert (info.weights, info.packed_as) == ("float32", None)
        assert "int8 weights are not used: the package's own loop has no int8" in caplog.text

    def test_what_a_machine_without_a_gpu_does_fastest_unless_it_is_set(
        self,
        checkpoint: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        measure(monkeypatch, INT8)
        service = open_service(
            ServiceOptions(str(checkpoint), tmp_path, transcriber=None), Outside().on_breakdown
        )
        info = service.info()
        assert (info["weights"], info["dtype"]) == ("int8", "float32")
        assert info["weights_reason"].startswith("the fastest here, and states are off by ")


def test_a_checkpoint_in_bfloat16_loses_nothing_in_float32(
    rounded_checkpoint: Path, consent: ConsentRecord
) -> None:
    prompt = None
    states = []
    for engine in (load(rounded_checkpoint), load(rounded_checkpoint, weights="float32")):
        prompt = prompt or engine.make_prompt(buzz(110), TRANSCRIPT, consent)
        batch = batch_of(engine)
        batch.add(Row(engine.prepare(SpeechRequest("Hello.", prompt, seed=2, max_new_tokens=64))))
        for _ in range(6):
            batch.next_codes()
            states.append(batch.hidden_states())
            batch.decode_step()
    torch.testing.assert_close(states[6:], states[:6], atol=1e-3, rtol=0)


def cloned(engine: Engine, words: str | None, consent: ConsentRecord) -> ClonedVoice:
    prompt = engine.make_prompt(buzz(110), words, consent)
    return read_voice_prompt(prompt.data, engine.prompt_model)


def test_voices_do_not_depend_on_the_format(
    engine: Engine, engines: dict[WeightFormat, Engine], consent: ConsentRecord
) -> None:
    for words in (TRANSCRIPT, None):
        voice = cloned(engine, words, consent)
        for other in engines.values():
            same = cloned(other, words, consent)
            # Where weights lie in memory changes how sums are rounded.
            np.testing.assert_allclose(same.speaker_embedding, voice.speaker_embedding, atol=1e-5)
            assert (same.codes is None) == (voice.codes is None)
            if same.codes is not None and voice.codes is not None:
                np.testing.assert_array_equal(same.codes, voice.codes)


class TestMemory:
    """Of the matrices; `test_mapped_weights` shows that those in files take none until used."""

    @pytest.mark.parametrize("weights", [BFLOAT16, INT8])
    def test_originals_are_given_up_one_by_one(
        self, rounded_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, weights: WeightFormat
    ) -> None:
        taken: list[int] = []
        largest = 0
        done = 0
        pack = Packer.pack

        def watched(packer: Packer, *linears: Any, frees: bool = True, **options: Any) -> Any:
            nonlocal done, largest
            packed_bytes = sum(each.weight.numel() for each in linears) * itemsize
            result = pack(packer, *linears, frees=frees, **options)
            if frees:
                done += packed_bytes
                largest = max(largest, packed_bytes)
                taken.append(done + sum(each.nbytes for each in originals()))
            return result

        def originals() -> list[torch.Tensor]:
            return [each.weight for each in matrices if not each.weight.is_meta]

        itemsize = getattr(torch, weights.value).itemsize
        matrices: list[Any] = []
        choose = choice.choose_weights

        def chosen(package_model: Any, *args: Any) -> Any:
            talker = package_model.model.talker
            parts = [talker.model.layers, talker.code_predictor.model.layers]
            parts += [talker.codec_head, talker.code_predictor.lm_head]
            matrices.extend(
                each for part in parts for each in part.modules() if isinstance(each, nn.Linear)
            )
            return choose(package_model, *args)

        monkeypatch.setattr("backend.engine.loading.choose_weights", chosen)
        monkeypatch.setattr(Packer, "pack", watched)
        engine = load(rounded_checkpoint, weights=weights.value)
        assert not originals()
        stored = sum(each.weight.numel() * 2 for each in matrices)
        assert max(taken) <= stored + largest
        assert done < engine.info().memory_bytes

    def test_smaller_formats_take_less(self, engines: dict[WeightFormat, Engine]) -> None:
        float32, bfloat16, int8 = (engines[each].info().memory_bytes for each in WeightFormat)
        assert int8 < bfloat16 < float32
        assert bfloat16 - int8 == pytest.approx((float32 - bfloat16) / 2)


@pytest.mark.parametrize("weights", WeightFormat)
async def test_a_service_speaks_for_several_callers_in_each_format(
    engines: dict[WeightFormat, Engine], watermarker: Watermarker, weights: WeightFormat
) -> None:
    service = make_service(engines[weights], watermarker, Outside())
    assert service.info()["weights"] == weights
    prompt = VoicePrompt(await make_prompt(service), service.model_id)
    requests = [request_of(prompt, seed) for seed in range(4)]
    together = await asyncio.gather(*(service.speak(each) for each in requests))
    for wav in together:
        assert 0.01 < samples_of(wav).std() < 1
        assert watermarker.confidence(samples_of(wav)) >= watermarker.THRESHOLD
    assert len(set(together)) == len(requests), "each says something else"
    alone = await service.speak(requests[0])
    assert alone == await service.speak(requests[0]), "a seed makes speech repeatable"
    await service.close()


def request_of(prompt: VoicePrompt, seed: int) -> SpeechRequest:
    return SpeechRequest(f"Hello, number {seed}.", prompt, "English", seed, f"caller {seed}")
