"""Turns a request into its prompt embeddings: the talker's input in the prefill.

The input of each position is the sum of two embeddings, one of a text token and one of a codec
frame. A prompt begins with the chat role and the codec's tags (language, speaker). Then come the
text and the frames. In in-context mode, the text begins with the reference clip's transcript, and
the frames are the clip's. There are two layouts:

- "before": the whole text, with the codec's padding, and then the frames, with the text's padding.
- "along": a token of text with each frame. If there are more frames, the rest has the text's
  padding. If there are more tokens, the rest is added to the frames that the talker generates, one
  to each.

`Qwen3TTSForConditionalGeneration.generate` of qwen-tts 0.1.1 does the same before it calls the
talker. Here it is done for one row, and from token ids instead of a chat template, so that a text
cannot contain a token that controls the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from backend.contract import AUTO_LANGUAGE, TextNotSpeakableError
from backend.end_marks import ended
from backend.engine.codec_embeddings import CodecEmbeddings
from backend.engine.interface import ReadRequest
from backend.engine.speech_length import token_limit
from backend.engine.transfers import copied_to

if TYPE_CHECKING:
    from torch import Tensor

    from backend.contract import SpeechRequest
    from backend.engine.interface import TextLayout
    from backend.voice_prompt import ClonedVoice

_ROLE = "<|im_start|>assistant\n"
_ROLE_TOKENS = 3


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A validated request with its prompt embeddings.

    Attributes:
        inputs: `(positions, hidden)`, the talker's input in the prefill.
        trailing_text: `(tokens, hidden)`. One token is added to each generated frame. After the
            last one, `PromptEmbedder.text_pad` is added. With the text before the speech, there are
            none.
        reference_codes: int64 `(frames, code_groups)`, which the codec decodes before the speech;
            no frames in x-vector mode. They are in the program's memory.
        reference: Names them, as in `ReadRequest`.
        text_tokens: How many tokens the text has.
        max_tokens: The most tokens of codebook 0, the end of speech included.
        seed: For the random numbers; None takes them from the system.
    """

    inputs: Tensor
    trailing_text: Tensor
    reference_codes: Tensor
    text_tokens: int
    max_tokens: int
    seed: int | None = None
    reference: bytes | None = None


class PromptEmbedder:
    """Builds the prompt embeddings for one loaded model.

    Args:
        model: The package's `Qwen3TTSForConditionalGeneration`.
        tokenizer: Its text tokenizer.
        layout: Where prompts have their text.

    Attributes:
        text_pad: `(1, hidden)`, the embedding of the text's padding token.
        codec_embeddings: Embeds codec frames.
    """

    def __init__(self, model: Any, tokenizer: Any, layout: TextLayout) -> None:
        self._layout = layout
        self._talker = model.talker
        self._codec_config = model.config.talker_config
        self._tokenizer = tokenizer
        self._control_tokens = frozenset(tokenizer.added_tokens_encoder.values())
        role = tokenizer(_ROLE).input_ids
        if len(role) != _ROLE_TOKENS:
            raise ValueError("the checkpoint's tokenizer splits the chat role into other tokens")
        ids = model.config
        controls = [ids.tts_bos_token_id, ids.tts_eos_token_id, ids.tts_pad_token_id]
        self.codec_embeddings = CodecEmbeddings(model.talker)
        self._tags: dict[str, Tensor] = {}
        with torch.inference_mode():
            self._role = self._embed_text(role)
            embedded = self._embed_text(controls).unsqueeze(1)
            self._text_begin, self._text_end, self.text_pad = embedded
            begin = [self._codec_config.codec_pad_id, self._codec_config.codec_bos_id]
            self._codec_pad, self._codec_begin = self._embed_codec(begin).unsqueeze(1)

    def tokenize(self, text: str) -> list[int]:
        """Turn text into tokens, without those that control the model, in any thread.

        Raises `TextNotSpeakableError` if no text is left.
        """
        readable = text.encode("utf-8", "ignore").decode("utf-8").strip()
        tokens = self._tokenizer(readable).input_ids
        spoken = [token for token in tokens if token not in self._control_tokens]
        if not self._tokenizer.decode(spoken).strip():
            raise TextNotSpeakableError("there is nothing to say")
        return spoken

    def tokenize_transcript(self, transcript: str) -> list[int]:
        """Turn a reference clip's transcript into tokens that end with an end mark.

        Raises `TextNotSpeakableError` if no text is left.
        """
        tokens = self.tokenize(transcript)
        spoken = self.text_of(tokens)
        whole = ended(spoken)
        return tokens if whole == spoken else self.tokenize(whole)

    def text_of(self, tokens: list[int]) -> str:
        """Turn tokens back into text."""
        text: str = self._tokenizer.decode(tokens)
        return text

    def read(self, request: SpeechRequest, voice: ClonedVoice) -> ReadRequest:
        """Tokenise the texts of a checked request, in any thread.

        Args:
            request: The request.
            voice: The content of its voice prompt.

        Raises `TextNotSpeakableError` if its text has no words.
        """
        tokens = self.tokenize(request.text)
        if voice.codes is None or voice.transcript is None:  # x-vector mode
            return ReadRequest(request, voice, tokens)
        name = voice.codes.tobytes()
        hash(name)  # which Python keeps, so that nobody waits for it later
        transcript = self.tokenize_transcript(voice.transcript)
        return ReadRequest(request, voice, tokens, transcript, name)

    @torch.inference_mode()
    def embed(self, read: ReadRequest) -> PreparedRequest:
        """Embed a request that was read."""
        request, voice, tokens = read.request, read.voice, read.tokens
        speaker = self._to_device(torch.tensor(voice.speaker_embedding)).to(self._role.dtype)
        tags = self._language_tags(request.language)
        codec_head = torch.cat([tags, speaker.unsqueeze(0), self._codec_pad])
        text_head = torch.cat([self.text_pad.expand(len(codec_head) - 1, -1), self._text_begin])
        if voice.codes is None:  # x-vector mode
            codes = torch.zeros(0, self._codec_config.num_code_groups, dtype=torch.long)
            frames = self._codec_begin
        else:
            codes = torch.tensor(voice.codes, dtype=torch.long)
            frames = torch.cat(
                [self._codec_begin, self.codec_embeddings.embed(self._to_device(codes))]
            )
        text = torch.cat([self._embed_text([*read.transcript, *tokens]), self._text_end])
        if self._layout == "before":
            content, trailing_text = (
                torch.cat([text + self._codec_pad, frames + self.text_pad]),
                text[:0],
            )
        else:
            missing = max(0, len(frames) - len(text))
            text = torch.cat([text, self.text_pad.expand(missing, -1)])
            content, trailing_text = text[: len(frames)] + frames, text[len(frames) :]
        return PreparedRequest(
            inputs=torch.cat([self._role, text_head + codec_head, content]),
            trailing_text=trailing_text,
            reference_codes=codes,
            text_tokens=len(tokens),
            max_tokens=token_limit(len(tokens), request.max_new_tokens),
            seed=request.seed,
            reference=read.reference,
        )

    def _language_tags(self, language: str) -> Tensor:
        """The codec's tags for a language, embedded: `(tags, hidden)`."""
        if language not in self._tags:
            config = self._codec_config
            begin, end = config.codec_think_bos_id, config.codec_think_eos_id
            if language == AUTO_LANGUAGE:
                ids = [config.codec_nothink_id, begin, end]
            else:
                named = config.codec_language_id[language.lower()]
                ids = [config.codec_think_id, begin, named, end]
            self._tags[language] = self._embed_codec(ids)
        return self._tags[language]

    def _embed_text(self, tokens: list[int]) -> Tensor:
        ids = self._to_device(torch.tensor(tokens))
        # On a processor, the text's embeddings are in the checkpoint's format: they are large.
        embedded = self._talker.get_text_embeddings()(ids).to(self.codec_embeddings.weight.dtype)
        return self._talker.text_projection(embedded)  # type: ignore[no-any-return]

    def _embed_codec(self, ids: list[int]) -> Tensor:
        """Embed codes of codebook 0, `(len(ids), hidden)`."""
        codes = self._to_device(torch.tensor(ids))
        return functional.embedding(codes, self.codec_embeddings.weight)

    def _to_device(self, tensor: Tensor) -> Tensor:
        return copied_to(self.codec_embeddings.weight.device, tensor)
