"""What callers notice of containers that die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import modal
import pytest

from tests.deploy.service import (
    CONSENT,
    recording,
    samples,
    seed_of_long_speech,
    service,
)

if TYPE_CHECKING:
    from tests.support.modal_server import ModalServer

pytestmark = pytest.mark.slow

TEXT = "Good evening. How was your day?"


@pytest.fixture
def server(deployment: ModalServer) -> ModalServer:
    return deployment


@pytest.fixture
def deployed(client: modal.Client) -> Any:
    return service(client)


async def test_a_container_is_killed_in_the_middle_of_a_sentence_and_the_next_call_works(
    deployed: Any, server: ModalServer
) -> None:
    answer = await deployed.create_voice_prompt.remote.aio(
        recording(), "The words of the reference.", consent=CONSENT
    )
    prompt = answer["prompt"]
    seed = await seed_of_long_speech(deployed, TEXT, prompt)
    stream = deployed.stream_with_prompt.remote_gen.aio(TEXT, "English", prompt, seed=seed)
    await anext(stream)
    assert (await anext(stream))["pcm"]

    server.kill_containers(calls="fail")

    with pytest.raises(modal.exception.InternalFailure):
        [chunk async for chunk in stream]
    wav = await deployed.generate_with_prompt.remote.aio(TEXT, "English", prompt)
    assert len(samples(wav))
