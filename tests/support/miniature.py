"""A Qwen3-TTS checkpoint in miniature: the real classes, random weights, a few megabytes.

It loads with `Qwen3TTSModel.from_pretrained(folder)` and does all that a published checkpoint does,
but what it says is noise. Three things are set by hand, because freshly made weights would make
tests compare nothing with nothing:

- The codec's codebooks are filled. Fresh ones are all zero, so that every reference would encode to
  the same codes and every waveform would be exact silence.
- Layer scales near zero (as training starts from) are raised, so that attention matters.
- The end-of-speech row of the codec head is scaled, so that speech ends after some tens of frames.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from qwen_tts.core.models import Qwen3TTSConfig, Qwen3TTSForConditionalGeneration
from qwen_tts.core.tokenizer_12hz.configuration_qwen3_tts_tokenizer_v2 import (
    Qwen3TTSTokenizerV2Config,
)
from qwen_tts.core.tokenizer_12hz.modeling_qwen3_tts_tokenizer_v2 import Qwen3TTSTokenizerV2Model
from tokenizers.pre_tokenizers import ByteLevel
from transformers import EncodecFeatureExtractor, Qwen2TokenizerFast

from backend.contract import AUTO_LANGUAGE, LANGUAGES

if TYPE_CHECKING:
    from pathlib import Path

CONTROL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<tts_pad>",
    "<tts_text_bos>",
    "<tts_text_eod>",
)
CODEC_CONTROL_IDS = 1_024
"""The package takes the last 1,024 ids of the talker's codec vocabulary for control tokens."""

AUDIBLE_RMS = 0.1


@dataclass(frozen=True)
class MiniatureSizes:
    """The dimensions of a miniature. The defaults are small enough for tests."""

    hidden_size: int = 64
    text_hidden_size: int = 48
    talker_layers: int = 2
    talker_heads: int = 4
    talker_key_value_heads: int = 2
    head_dim: int = 16
    intermediate_size: int = 128
    predictor_hidden_size: int = 64
    predictor_layers: int = 2
    predictor_heads: int = 4
    predictor_key_value_heads: int = 2
    predictor_intermediate_size: int = 128
    code_groups: int = 16
    codebook_size: int = 256
    codec_hidden_size: int = 32
    codec_layers: int = 2
    codec_heads: int = 2
    codec_head_dim: int = 16
    codec_codebook_dim: int = 32
    codec_latent_size: int = 32
    codec_sliding_window: int = 12
    decoder_channels: int = 64
    end_of_speech_scale: float = 2.5
    do_sample: bool = True
    seed: int = 0


def build_miniature(folder: Path, **sizes: Any) -> Path:
    """Write a miniature checkpoint into `folder`, which is made if it is not there.

    Args:
        folder: Where `config.json`, the weights, the tokenizer and the codec go.
        **sizes: Fields of `MiniatureSizes` that shall differ from the default.

    Returns:
        The same folder, to be handed over as a model id.
    """
    chosen = MiniatureSizes(**sizes)
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chosen.seed)
        tokenizer = _text_tokenizer(folder)
        tokenizer.save_pretrained(folder)
        _talker(chosen, tokenizer).save_pretrained(folder)
        _codec(chosen).save_pretrained(folder / "speech_tokenizer")
    EncodecFeatureExtractor(sampling_rate=24_000).save_pretrained(folder / "speech_tokenizer")
    _keep_only_the_keys_the_speaker_encoder_accepts(folder / "config.json")
    (folder / "generation_config.json").write_text(
        json.dumps(
            {
                "do_sample": chosen.do_sample,
                "subtalker_dosample": chosen.do_sample,
                "max_new_tokens": 8_192,
            }
        )
    )
    return folder


def _text_tokenizer(folder: Path) -> Qwen2TokenizerFast:
    """A byte-level tokenizer in which `assistant` is one token, as in the chat template."""
    word = "assistant"
    merges = [(word[:end], word[end]) for end in range(1, len(word))]
    symbols = [*sorted(ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({symbol: number for number, symbol in enumerate(symbols)}))
    merges_file = folder / "merges.txt"
    merges_file.write_text("".join(f"{left} {right}\n" for left, right in merges))
    untyped_class: Any = Qwen2TokenizerFast
    tokenizer: Qwen2TokenizerFast = untyped_class(str(vocabulary), str(merges_file))
    tokenizer.add_special_tokens({"additional_special_tokens": list(CONTROL_TOKENS)})
    return tokenizer


def _talker(
    sizes: MiniatureSizes, tokenizer: Qwen2TokenizerFast
) -> Qwen3TTSForConditionalGeneration:
    model = Qwen3TTSForConditionalGeneration(_talker_config(sizes, tokenizer)).eval()
    with torch.no_grad():
        end_of_speech = model.config.talker_config.codec_eos_token_id
        model.talker.codec_head.weight[end_of_speech] *= sizes.end_of_speech_scale
        for name, parameter in model.speaker_encoder.named_parameters():
            _initialise(name, parameter)
    return model


def _talker_config(sizes: MiniatureSizes, tokenizer: Qwen2TokenizerFast) -> Qwen3TTSConfig:
    token_id = tokenizer.convert_tokens_to_ids
    rotated_pairs = sizes.head_dim // 2
    share = rotated_pairs * 20 // 64  # the published sections are 24, 20 and 20 of 64
    controls = sizes.codebook_size
    names = [language.lower() for language in LANGUAGES if language != AUTO_LANGUAGE]
    shared = {"head_dim": sizes.head_dim, "initializer_range": 0.15}
    talker = {
        **shared,
        "vocab_size": sizes.codebook_size + CODEC_CONTROL_IDS,
        "hidden_size": sizes.hidden_size,
        "intermediate_size": sizes.intermediate_size,
        "num_hidden_layers": sizes.talker_layers,
        "num_attention_heads": sizes.talker_heads,
        "num_key_value_heads": sizes.talker_key_value_heads,
        "num_code_groups": sizes.code_groups,
        "text_hidden_size": sizes.text_hidden_size,
        "text_vocab_size": len(tokenizer),
        "rope_scaling": {
            "rope_type": "default",
            "mrope_section": [rotated_pairs - 2 * share, share, share],
            "interleaved": True,
        },
        "codec_pad_id": controls + 100,
        "codec_bos_id": controls + 101,
        "codec_eos_token_id": controls + 102,
        "codec_think_id": controls + 106,
        "codec_nothink_id": controls + 107,
        "codec_think_bos_id": controls + 108,
        "codec_think_eos_id": controls + 109,
        "codec_language_id": {name: controls + 2 + number for number, name in enumerate(names)},
        "spk_id": {},
        "spk_is_dialect": {},
        "code_predictor_config": {
            **shared,
            "vocab_size": sizes.codebook_size,
            "hidden_size": sizes.predictor_hidden_size,
            "intermediate_size": sizes.predictor_intermediate_size,
            "num_hidden_layers": sizes.predictor_layers,
            "num_attention_heads": sizes.predictor_heads,
            "num_key_value_heads": sizes.predictor_key_value_heads,
            "num_code_groups": sizes.code_groups,
        },
    }
    speaker_encoder = {
        "enc_dim": sizes.hidden_size,
        "enc_channels": [16, 16, 16, 16, 48],
        "enc_attention_channels": 8,
        "enc_se_channels": 8,
    }
    return Qwen3TTSConfig(
        talker_config=talker,
        speaker_encoder_config=speaker_encoder,
        tokenizer_type="qwen3_tts_tokenizer_12hz",
        tts_model_size="0b6",
        tts_model_type="base",
        im_start_token_id=token_id("<|im_start|>"),
        im_end_token_id=token_id("<|im_end|>"),
        tts_pad_token_id=token_id("<tts_pad>"),
        tts_bos_token_id=token_id("<tts_text_bos>"),
        tts_eos_token_id=token_id("<tts_text_eod>"),
    )


def _codec(sizes: MiniatureSizes) -> Qwen3TTSTokenizerV2Model:
    codec = Qwen3TTSTokenizerV2Model(_codec_config(sizes)).eval()
    with torch.no_grad():
        _fill_codebooks(codec)
        _wake_up(codec)
        _make_audible(codec, sizes)
    return codec


def _codec_config(sizes: MiniatureSizes) -> Qwen3TTSTokenizerV2Config:
    width = sizes.codec_hidden_size
    encoder = {
        "hidden_size": width,
        "num_filters": 4,
        "codebook_size": sizes.codebook_size,
        "codebook_dim": 16,
        "vector_quantization_hidden_dimension": 16,
        "num_quantizers": sizes.code_groups,
        "upsample_groups": width,
        "num_hidden_layers": 1,
        "intermediate_size": 2 * width,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "frame_rate": 12.5,
    }
    decoder = {
        "codebook_size": sizes.codebook_size,
        "codebook_dim": sizes.codec_codebook_dim,
        "hidden_size": width,
        "latent_dim": sizes.codec_latent_size,
        "num_attention_heads": sizes.codec_heads,
        "num_key_value_heads": sizes.codec_heads,
        "head_dim": sizes.codec_head_dim,
        "sliding_window": sizes.codec_sliding_window,
        "intermediate_size": 2 * width,
        "num_hidden_layers": sizes.codec_layers,
        "num_quantizers": sizes.code_groups,
        "decoder_dim": sizes.decoder_channels,
    }
    return Qwen3TTSTokenizerV2Config(
        encoder_config=encoder,
        decoder_config=decoder,
        encoder_valid_num_quantizers=sizes.code_groups,
    )


def _fill_codebooks(codec: Qwen3TTSTokenizerV2Model) -> None:
    tensors = dict(codec.named_parameters()) | dict(codec.named_buffers())
    for name, tensor in tensors.items():
        if name.endswith(("embedding_sum", "embed_sum")):
            tensor.normal_()
        elif name.endswith("cluster_usage"):
            tensor.uniform_(0.5, 2.0)


def _wake_up(codec: Qwen3TTSTokenizerV2Model) -> None:
    for name, parameter in codec.named_parameters():
        if name.endswith(("layer_scale.scale", "gamma")):
            parameter.uniform_(0.2, 0.6)
        elif "codebook" not in name:
            _initialise(name, parameter)


def _initialise(name: str, parameter: torch.Tensor) -> None:
    """Weights that let a signal through many layers at its own level."""
    if parameter.dim() > 1:
        torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    elif name.endswith("bias"):
        parameter.zero_()


def _make_audible(codec: Qwen3TTSTokenizerV2Model, sizes: MiniatureSizes) -> None:
    """Scale the last convolution until random codes sound at `AUDIBLE_RMS`."""
    last = codec.decoder.decoder[-1].conv
    last.bias.zero_()
    codes = torch.randint(sizes.codebook_size, (1, sizes.code_groups, 25))
    last.weight *= 1e-6  # the decoder clips at one, which would hide the level
    last.weight *= AUDIBLE_RMS / codec.decoder(codes).square().mean().sqrt()


def _keep_only_the_keys_the_speaker_encoder_accepts(config_file: Path) -> None:
    """Undo what transformers adds to every nested configuration: this one's class refuses it."""
    config = json.loads(config_file.read_text())
    accepted = {
        "mel_dim",
        "enc_dim",
        "enc_channels",
        "enc_kernel_sizes",
        "enc_dilations",
        "enc_attention_channels",
        "enc_res2net_scale",
        "enc_se_channels",
        "sample_rate",
    }
    encoder = config["speaker_encoder_config"]
    config["speaker_encoder_config"] = {
        key: value for key, value in encoder.items() if key in accepted
    }
    config_file.write_text(json.dumps(config, indent=2))
