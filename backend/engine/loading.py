"""Load a checkpoint, with the best attention and number format that the machine offers."""

from __future__ import annotations

import importlib
import logging
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from qwen_tts import Qwen3TTSModel, Qwen3TTSTokenizer
from safetensors import SafetensorError, safe_open

from backend.contract import AUTO_LANGUAGE, LANGUAGES, BackendUnavailableError
from backend.engine.code_predictor import CodePredictor
from backend.engine.freed_memory import give_back_freed_memory
from backend.engine.interface import EngineInfo
from backend.engine.packed.choice import choose_weights
from backend.engine.packed.packer import Packer
from backend.engine.packed.stored_matrices import StoredMatrices
from backend.engine.sampling import Sampling
from backend.engine.talker import CodecHead, Talker
from backend.weights.checkpoints import NumberFormat, choose_number_format, find_checkpoint
from backend.weights.formats import WeightFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.engine.codec_embeddings import CodecEmbeddings
    from backend.weights.formats import WeightChoice

log = logging.getLogger(__name__)

_PACKAGES = ("qwen-tts", "torch", "transformers")
_CODEC = "qwen3_tts_tokenizer_12hz"

CODEC_DTYPE = "float32"
"""What the codec computes with, whatever the talker does. (The package takes the talker's format.)

The codec makes the sound, so each rounding is a noise that people may hear. Measured with random
weights in the published shape, bfloat16's is 25 dB below the speech, or 30 dB if only the weights
are rounded. float32's is 75 dB below. On a GPU, convolutions compute in TF32 unless torch is told
otherwise, and a noise of TF32 is 41 dB below. The published codec is configured for float32, and in
bfloat16 it was silent in another engine (https://github.com/vllm-project/vllm-omni/pull/1664).
float32 costs 0.23 GB more memory for the decoder, and time: a frame takes 5 GFLOP, and a call reads
0.46 GB of weights. On an H100 the codec takes 5 % of a single row's time in float32. What it would
take in bfloat16 was not measured."""

OUR_ATTENTION = "sdpa"  # of `backend.engine.layers` and `backend.engine.codec.layers`


@dataclass(frozen=True, slots=True)
class ModelParts:
    """The parts of a loaded model that make codec frames.

    Attributes:
        talker: Reads prompts and frames.
        codec_head: Samples codebook 0.
        code_predictor: Samples the residual codes of a frame.
        code_groups: The codes of a frame.
        text_pad: `(1, hidden)`, added to frames when the text is used up.
    """

    talker: Talker
    codec_head: CodecHead
    code_predictor: CodePredictor
    code_groups: int
    text_pad: torch.Tensor

    @classmethod
    def of(
        cls,
        package_model: Any,
        text_pad: torch.Tensor,
        embeddings: CodecEmbeddings,
        weights: WeightFormat | None = None,
    ) -> ModelParts:
        """Wrap the parts of a loaded model.

        Args:
            package_model: The package's `Qwen3TTSModel`.
            text_pad: `PromptEmbedder.text_pad`.
            embeddings: The talker's embeddings of codec frames.
            weights: What the matrices of talker and code predictor are kept as, on a processor.
                States are float32 then, whatever the model was loaded in, and the package's own
                matrices are given up one by one. None keeps everything as it was loaded.
        """
        defaults, talker = package_model.generate_defaults, package_model.model.talker
        packer = None if weights is None else Packer(weights)
        penalty = float(defaults.get("repetition_penalty") or 1.05)
        return cls(
            talker=Talker(talker, packer),
            codec_head=CodecHead(talker, Sampling.from_defaults(defaults), penalty, packer),
            code_predictor=CodePredictor(
                talker, Sampling.from_defaults(defaults, "subtalker_"), embeddings, packer
            ),
            code_groups=talker.config.num_code_groups,
            text_pad=text_pad if weights is None else text_pad.float(),
        )


def load_model(  # noqa: PLR0913 - independent options
    checkpoint: Path | str,
    *,
    model_id: str | None = None,
    revision: str | None = None,
    device: str | None = None,
    weights: WeightChoice | None = None,
    dtype: str | None = None,
    codec_dtype: str | None = None,
    plain_package: bool = False,
) -> tuple[Any, EngineInfo]:
    """Load a checkpoint.

    Args:
        checkpoint: Its folder, or its id on the hub.
        model_id: Names its weights, if the folder is a copy of published ones. None takes the name
            that `find_checkpoint` gives.
        revision: The commit on the hub, if it comes from there.
        device: "cuda:0" or "cpu"; None is the first GPU if there is one.
        weights: What the language model's weights are kept as. On a CPU, `ModelParts` packs them,
            and the package's own loop can't use the model any more. None packs nothing, so that
            both loops can be compared.
        dtype: What all of the language model is kept as and computes in, without packing:
            "bfloat16", "float32" or "float64" (to compare with). None goes by `weights`.
        codec_dtype: The same for the codec. None is "float32", or "float64" if `dtype` is.
        plain_package: Whether the package's own loop will run the model, one request at a time and
            to compare with, rather than ours.

    Returns:
        The package's `Qwen3TTSModel`, and what was loaded.

    Raises `UnknownModelError` if there is no such checkpoint, and `BackendUnavailableError` if it
    cannot be loaded or cannot clone voices.
    """
    began = time.monotonic()
    fix_attention_kernels()
    model_id = model_id or find_checkpoint(str(checkpoint)).model_id
    where = torch.device(device or ("cuda:0" if torch.cuda.is_available() else "cpu"))
    wanted = weights or "auto"
    is_packed = where.type == "cpu" and not plain_package and weights is not None and dtype is None
    number_format = number_format_on(where, wanted, dtype)
    codec_dtype = codec_dtype or ("float64" if dtype == "float64" else CODEC_DTYPE)
    model = read_checkpoint(
        checkpoint,
        codec_dtype,
        attention_choices(where, number_format) if plain_package else (OUR_ATTENTION,),
        device_map=str(where),
        dtype="auto" if is_packed else getattr(torch, number_format.dtype),
        revision=revision,
    )
    saved_bytes, packed_as = 0, None
    if is_packed:
        # The codec's folder is in the hub's cache, if the checkpoint is not a folder.
        folder = Path(model.model.speech_tokenizer.model.name_or_path).parent
        matrices = StoredMatrices(model.model, folder)
        number_format = choose_weights(model, matrices, wanted)
        packed_as = WeightFormat(number_format.dtype)
        saved_bytes = matrices.saved_bytes(packed_as)
        give_back_freed_memory()
    elif dtype is None:
        warn_if_refused(wanted, number_format)
    return model, replace(
        describe(model, number_format, model_id),
        revision=revision,
        dtype="float32" if is_packed else number_format.dtype,
        loop="reference" if plain_package else "timbre",
        attention=_attention_of(model.model.talker) if plain_package else OUR_ATTENTION,
        codec_attention=_attention_of(model.model.speech_tokenizer.model.decoder)
        if plain_package
        else OUR_ATTENTION,
        memory_bytes=_memory_bytes(model.model, model.model.speech_tokenizer.model) - saved_bytes,
        load_seconds=time.monotonic() - began,
        packed_as=packed_as,
    )


def read_checkpoint(
    checkpoint: Path | str,
    codec_dtype: str,
    attention: Sequence[str],
    *,
    revision: str | None,
    **options: Any,
) -> Any:
    """Read a checkpoint as the package's model.

    Args:
        checkpoint: Its folder, or its id on the hub.
        codec_dtype: What the codec is kept as.
        attention: The kernels to try.
        revision: The commit on the hub, if it comes from there.
        options: More of what `Qwen3TTSModel.from_pretrained` takes.

    Raises `BackendUnavailableError` if it cannot be loaded or cannot clone voices.
    """
    if revision is not None:
        options["revision"] = revision
    model = _load(str(checkpoint), codec_dtype, attention, **options)
    _check_that_it_clones(model.model)
    _check_that_it_is_whole(Path(checkpoint), model.model)
    return model


def describe(model: Any, number_format: NumberFormat, model_id: str) -> EngineInfo:
    """Describe a model that our loop runs, as it lies in its device's memory."""
    where = model.model.talker.model.norm.weight.device
    codec = model.model.speech_tokenizer.model
    return EngineInfo(
        model_id=model_id,
        revision=None,
        device=str(where),
        device_name=torch.cuda.get_device_name(where) if where.type == "cuda" else "CPU",
        weights=number_format.dtype,
        weights_reason=number_format.reason,
        dtype=number_format.dtype,
        codec_dtype=str(codec.dtype).removeprefix("torch."),
        loop="timbre",
        attention=OUR_ATTENTION,
        codec_attention=OUR_ATTENTION,
        memory_bytes=_memory_bytes(model.model, codec),
        load_seconds=0.0,
        languages=_languages(model.model),
        versions={package: version(package) for package in _PACKAGES},
    )


def warn_if_refused(wanted: WeightChoice, number_format: NumberFormat) -> None:
    """Log that the device doesn't get the format that was asked for, if so."""
    if wanted not in {"auto", number_format.dtype}:
        log.warning("%s weights are not used: %s", wanted, number_format.reason)


def fix_attention_kernels() -> None:
    """Fix the order in which torch tries its attention kernels on a GPU, for the whole process.

    That is FlashAttention where there is no mask, then memory-efficient attention, then plain
    products. cuDNN's kernels are left out. They plan for each new length, which takes tens of
    milliseconds, and every prompt has another length. torch puts them first on an H100 if cuDNN is
    recent enough, so whether that happens would depend on the versions that are installed:
    `aten/src/ATen/native/transformers/cuda/sdp_utils.cpp` in torch 2.11.
    """
    torch.backends.cuda.enable_cudnn_sdp(enabled=False)


def number_format_on(
    device: torch.device, weights: WeightChoice, dtype: str | None = None
) -> NumberFormat:
    """Choose the number format of the language model's weights on a device."""
    if dtype is not None:
        return NumberFormat(dtype, "it was asked for")
    is_gpu = device.type == "cuda"
    capability = torch.cuda.get_device_capability(device) if is_gpu else None
    return choose_number_format(capability, weights)


def attention_choices(device: torch.device, number_format: NumberFormat) -> tuple[str, ...]:
    """List the kernels to try for the package's own loop, fastest first."""
    # FlashAttention has kernels for half precision on GPUs only.
    has_kernels = device.type == "cuda" and number_format.dtype != "float32"
    if has_kernels and _flash_attention_imports():
        return ("flash_attention_2", "sdpa", "eager")
    return ("sdpa", "eager")


def _flash_attention_imports() -> bool:
    """Return whether flash-attn works here: one built for another torch is found but fails."""
    try:
        importlib.import_module("flash_attn")
    except ImportError:
        return False
    return True


def _load(checkpoint: str, codec_dtype: str, attention: Sequence[str], **options: Any) -> Any:
    """Load a checkpoint with the first kernels that work."""
    first, *others = attention
    try:
        model = Qwen3TTSModel.from_pretrained(checkpoint, attn_implementation=first, **options)
        _load_codec_as(getattr(torch, codec_dtype), model.model, options["device_map"])
    except (ImportError, ValueError) as error:  # what transformers raises for such kernels
        if not others:
            raise BackendUnavailableError("the checkpoint can't be loaded") from error
        log.warning("attention %s does not work here (%s)", first, type(error).__name__)
    except (OSError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
        raise BackendUnavailableError("the checkpoint can't be loaded") from error
    else:
        return model
    return _load(checkpoint, codec_dtype, others, **options)


def _load_codec_as(dtype: torch.dtype, model: Any, device: str) -> None:
    """Load the codec again if the package has loaded it in another format, which rounds weights."""
    codec = model.speech_tokenizer.model
    if codec.dtype != dtype:
        folder = codec.name_or_path  # in the hub's cache, if the checkpoint is not a folder
        again = Qwen3TTSTokenizer.from_pretrained(folder, device_map=device, dtype=dtype)
        model.load_speech_tokenizer(again)


def _attention_of(module: Any) -> str:
    return str(module.config._attn_implementation)  # noqa: SLF001 - it has no public name


def _check_that_it_clones(model: Any) -> None:
    if model.tts_model_type != "base":
        raise BackendUnavailableError("only Base checkpoints clone voices; this is another kind")
    if model.speech_tokenizer.get_model_type() != _CODEC:
        raise BackendUnavailableError("only checkpoints with the 12 Hz codec can be spoken with")


def _check_that_it_is_whole(folder: Path, model: Any) -> None:
    """Refuse a folder that lacks weights: transformers would fill in random numbers."""
    parts = {folder: model, folder / "speech_tokenizer": model.speech_tokenizer.model}
    for part, module in parts.items():
        files = list(part.glob("*.safetensors"))
        stored = {name for file in files for name in _names_in(file)}
        missing = module.state_dict().keys() - stored
        if files and missing:
            raise BackendUnavailableError(
                f"the checkpoint lacks {len(missing)} of its weights, such as {min(missing)}"
            )


def _names_in(file: Path) -> list[str]:
    with safe_open(file, framework="pt") as stored:
        return list(stored.keys())


def _languages(model: Any) -> tuple[str, ...]:
    spoken = {AUTO_LANGUAGE.lower(), *map(str.lower, model.get_supported_languages())}
    return tuple(language for language in LANGUAGES if language.lower() in spoken)


def _memory_bytes(*modules: torch.nn.Module) -> int:
    return sum(weight.nbytes for module in modules for weight in module.parameters())
