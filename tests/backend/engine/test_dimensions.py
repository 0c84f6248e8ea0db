"""A checkpoint of other dimensions works the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from backend.contract import SpeechRequest
from backend.engine.codec.decoder import CodecDecoder
from tests.backend.conftest import TRANSCRIPT, spoken
from tests.backend.engine.speaking import speak
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from backend.contract import ConsentRecord
    from backend.engine.engine import Engine


def test_a_row_is_the_same_alone_and_with_others(
    other_engine: Engine, consent: ConsentRecord
) -> None:
    in_context = other_engine.make_prompt(buzz(100), TRANSCRIPT, consent)
    x_vector = other_engine.make_prompt(buzz(200), None, consent)
    requests = [
        SpeechRequest("One sentence.", in_context, "English", seed=1),
        SpeechRequest("Another one, in the other voice.", x_vector, "Japanese", seed=2),
        SpeechRequest("A third.", in_context, seed=3),
    ]
    together = speak(other_engine, requests)
    for request, expected in zip(requests, together, strict=True):
        (alone,) = speak(other_engine, [request])
        assert 0.01 < spoken(alone).std() < 1
        np.testing.assert_allclose(spoken(alone), spoken(expected), atol=1e-3)


def test_its_stream_equals_one_decode(other_engine: Engine) -> None:
    decoder = other_engine.package_model.model.speech_tokenizer.model.decoder
    codes = torch.randint(128, (1, 40, 3), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = decoder(codes.transpose(1, 2))[0, 0]
    codec = CodecDecoder(decoder)
    state = codec.open(codes[0, :25])
    pieces = [codec.decode([state], piece) for piece in torch.split(codes[:, 25:], 4, dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1)[0], whole[25 * 1_920 :], atol=1e-3, rtol=0)
