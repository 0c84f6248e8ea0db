from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.speech_server import speech_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.speech_server import SpeechServerStub


@pytest.fixture
def stub() -> Iterator[SpeechServerStub]:
    with speech_server() as server:
        yield server
