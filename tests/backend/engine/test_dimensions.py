"""A checkpoint of other dimensions, dropped in: everything holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from backend.contract import SpeechRequest
from backend.engine.codec import CodecDecoder
from tests.backend.conftest import TRANSCRIPT, buzz, spoken

if TYPE_CHECKING:
    from backend.contract import ConsentRecord
    from backend.engine.engine import Engine


def test_it_speaks_the_same_alone_and_in_company(
    other_engine: Engine, consent: ConsentRecord
) -> None:
    in_context = other_engine.make_prompt(buzz(100), TRANSCRIPT, consent)
    x_vector = other_engine.make_prompt(buzz(200), None, consent)
    jobs = [
        SpeechRequest("One sentence.", in_context, "English", seed=1),
        SpeechRequest("Another one, in the other voice.", x_vector, "Japanese", seed=2),
        SpeechRequest("A third.", in_context, seed=3),
    ]
    together = other_engine.speak_batch(jobs)
    for job, expected in zip(jobs, together, strict=True):
        (alone,) = other_engine.speak_batch([job])
        assert 0.01 < spoken(alone).std() < 1
        np.testing.assert_allclose(spoken(alone), spoken(expected), atol=1e-3)


def test_its_stream_equals_one_decode(other_engine: Engine) -> None:
    decoder = other_engine._model.speech_tokenizer.model.decoder
    codes = torch.randint(128, (1, 40, 8), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = decoder(codes.transpose(1, 2))[0, 0]
    stream = CodecDecoder(decoder).open(codes[0, :25])
    pieces = [stream.decode(piece) for piece in torch.split(codes[:, 25:], 4, dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1)[0], whole[25 * 1_920 :], atol=1e-3, rtol=0)
