"""How a request is laid out for the talker: which embeddings it reads before it speaks.

The talker reads two streams added up position by position, one of text and one of codec frames. A
request begins with the chat role and the codec's tags (language, speaker); then, in context, the
reference's transcript and codes; then the text, whose rest is fed to it one token a frame. This is
what `Qwen3TTSForConditionalGeneration.generate` of qwen-tts 0.1.1 does before it calls the talker,
for one row, but from token ids instead of a chat template: a text can hold nothing that the model
takes for control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from backend.contract import AUTO_LANGUAGE, TextNotSpeakableError

if TYPE_CHECKING:
    from backend.voice_prompt import ClonedVoice

_ROLE = "<|im_start|>assistant\n"
_ROLE_TOKENS = 3


@dataclass(frozen=True, slots=True)
class LaidOutRequest:
    """What the talker reads for one row.

    Attributes:
        inputs: `(positions, hidden)`, to be read at once.
        trailing_text: `(tokens, hidden)`, of which one is added at each further frame. After the
            last comes `RequestLayout.text_pad`.
        reference_codes: int64 `(frames, code_groups)`, what the codec has heard before the speech;
            no frames in x-vector mode.
    """

    inputs: torch.Tensor
    trailing_text: torch.Tensor
    reference_codes: torch.Tensor


class RequestLayout:
    """Lays out requests for one loaded model.

    Args:
        model: The package's `Qwen3TTSForConditionalGeneration`.
        tokenizer: Its text tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._talker = model.talker
        self._codec_config = model.config.talker_config
        self._tokenizer = tokenizer
        self._control_tokens = frozenset(tokenizer.added_tokens_encoder.values())
        role = tokenizer(_ROLE).input_ids
        if len(role) != _ROLE_TOKENS:
            raise ValueError("the checkpoint's tokenizer splits the chat role into other tokens")
        controls = [
            model.config.tts_bos_token_id,
            model.config.tts_eos_token_id,
            model.config.tts_pad_token_id,
        ]
        with torch.inference_mode():
            self._role = self._embed_text(role)
            self._text_begin, self._text_end, self.text_pad = self._embed_text(controls).unsqueeze(
                1
            )

    def tokenize(self, text: str) -> list[int]:
        """Turn text into tokens, of which none controls the model.

        Raises `TextNotSpeakableError` if nothing is left.
        """
        readable = text.encode("utf-8", "ignore").decode("utf-8").strip()
        tokens = self._tokenizer(readable).input_ids
        spoken = [token for token in tokens if token not in self._control_tokens]
        if not self._tokenizer.decode(spoken).strip():
            raise TextNotSpeakableError("there is nothing to say")
        return spoken

    def text_of(self, tokens: list[int]) -> str:
        """Turn tokens back into text."""
        text: str = self._tokenizer.decode(tokens)
        return text

    @torch.inference_mode()
    def lay_out(self, tokens: list[int], voice: ClonedVoice, language: str) -> LaidOutRequest:
        """Lay out one request.

        Args:
            tokens: What to say, from `tokenize`.
            voice: Whom to say it as.
            language: One of the model's own, or Auto.
        """
        speaker = torch.tensor(voice.speaker_embedding).to(self._role)
        tags = self._embed_codec(self._language_tags(language))
        pad, begin = self._embed_codec(
            [self._codec_config.codec_pad_id, self._codec_config.codec_bos_id]
        ).unsqueeze(1)
        codec_head = torch.cat([tags, speaker.unsqueeze(0), pad])
        text_head = torch.cat([self.text_pad.expand(len(codec_head) - 1, -1), self._text_begin])
        head = [self._role, text_head + codec_head]
        if voice.codes is None or voice.transcript is None:
            text = torch.cat([self._embed_text(tokens), self._text_end])
            inputs = torch.cat([*head, text[:1] + begin])
            no_codes = torch.zeros(0, self._codec_config.num_code_groups, dtype=torch.long)
            return LaidOutRequest(inputs, text[1:], no_codes.to(inputs.device))
        codes = torch.tensor(voice.codes).to(self._role.device, torch.long)
        spoken = [*self.tokenize(voice.transcript), *tokens]
        text = torch.cat([self._embed_text(spoken), self._text_end])
        frames = torch.cat([begin, self._embed_frames(codes)])
        missing = max(0, len(frames) - len(text))
        text = torch.cat([text, self.text_pad.expand(missing, -1)])
        inputs = torch.cat([*head, text[: len(frames)] + frames])
        return LaidOutRequest(inputs, text[len(frames) :], codes)

    def _language_tags(self, language: str) -> list[int]:
        config = self._codec_config
        if language == AUTO_LANGUAGE:
            return [config.codec_nothink_id, config.codec_think_bos_id, config.codec_think_eos_id]
        return [
            config.codec_think_id,
            config.codec_think_bos_id,
            config.codec_language_id[language.lower()],
            config.codec_think_eos_id,
        ]

    def _embed_text(self, tokens: list[int]) -> torch.Tensor:
        ids = torch.tensor(tokens, device=self._talker.device)
        embedded: torch.Tensor = self._talker.text_projection(
            self._talker.get_text_embeddings()(ids)
        )
        return embedded

    def _embed_codec(self, ids: list[int]) -> torch.Tensor:
        embedded: torch.Tensor = self._talker.get_input_embeddings()(
            torch.tensor(ids, device=self._talker.device)
        )
        return embedded

    def _embed_frames(self, codes: torch.Tensor) -> torch.Tensor:
        """Embed codec frames, `(frames, code_groups)`, as `(frames, hidden)`."""
        tables = [
            self._talker.get_input_embeddings(),
            *self._talker.code_predictor.get_input_embeddings(),
        ]
        embedded = [table(codes[:, group]) for group, table in enumerate(tables)]
        return torch.stack(embedded, dim=1).sum(dim=1)
