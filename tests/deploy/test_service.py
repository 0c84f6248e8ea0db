"""The service on a miniature checkpoint, deployed with the stock CLI and called by a stock client.

All tests share one container, as callers do.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import modal
import numpy as np
import pytest

from backend.contract import (
    ConsentMissingError,
    LanguageNotSupportedError,
    ReferenceUnusableError,
    VoicePromptInvalidError,
)
from tests.deploy.conftest import until
from tests.deploy.service import (
    CONSENT,
    SAMPLE_RATE,
    recording,
    samples,
    seed_of_long_speech,
    service,
)
from tests.support.buzz import buzz
from tests.support.prompts import without_consent
from tests.support.recordings import as_file, speech

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.support.modal_server import ModalServer

pytestmark = pytest.mark.slow

TEXT = "Good evening. How was your day?"

SEED = 0
"""Of speech that lasts some seconds. A mark is not found in a few tenths of one."""
PITCHES = (90, 140, 210, 330)


@pytest.fixture
def server(deployment: ModalServer) -> ModalServer:
    return deployment


@pytest.fixture
def deployed(client: modal.Client) -> Any:
    return service(client)


async def make_prompt(deployed: Any, pitch: float = 110) -> bytes:
    answer = await deployed.create_voice_prompt.remote.aio(
        recording(pitch), "The words of the reference.", consent=CONSENT
    )
    prompt: bytes = answer["prompt"]
    return prompt


async def test_it_says_what_it_is_and_takes_as_many_calls_as_it_has_rows(
    deployed: Any, server: ModalServer, settings: dict[str, str]
) -> None:
    info = await deployed.get_model_info.remote.aio()

    assert info["rows"] == 16
    assert {container.takes for container in server.containers} == {16}
    assert info["device"] == "cpu"
    assert info["transcribes"]
    assert info["requires_consent"]
    assert "English" in info["supported_languages"]
    assert info["versions"]["qwen-tts"] == "0.1.1"
    assert settings["MODEL_ID"] not in str(info)
    assert (await deployed.health.remote.aio())["ready"]

    # What a memory snapshot can hold comes first, and what needs the GPU after it.
    [container] = server.containers
    assert container.definition.checkpointing_enabled
    assert not container.definition.scheduler_placement.regions
    log = server.log()
    assert log.index("read into main memory") < log.index("CUDA graphs off")


@pytest.mark.parametrize("as_sent", [bytes, lambda clip: base64.b64encode(clip).decode()])
async def test_a_clip_is_cloned_and_the_speech_is_marked(deployed: Any, as_sent: Any) -> None:
    wav = await deployed.generate_voice_clone.remote.aio(
        TEXT, "English", as_sent(recording()), "The words.", consent=CONSENT, seed=SEED
    )

    assert len(samples(wav))
    assert (await deployed.detect_watermark.remote.aio(wav))["watermarked"]
    unmarked = as_file(speech(3.0), 24_000, "flac")
    assert not (await deployed.detect_watermark.remote.aio(unmarked))["watermarked"]


async def test_a_batch_has_one_voice_and_a_file_for_each_text(deployed: Any) -> None:
    wavs = await deployed.generate_voice_clone_batch.remote.aio(
        ["One.", "Two.", "Drei."],
        ["English", "English", "German"],
        recording(),
        "The words.",
        consent=CONSENT,
    )
    assert len({samples(wav).tobytes() for wav in wavs}) == 3


async def test_a_voice_is_kept_and_speaks_the_same_with_the_same_seed(deployed: Any) -> None:
    prompt = await make_prompt(deployed)
    assert len(prompt) < 20_000

    first, again, other = [
        await deployed.generate_with_prompt.remote.aio(TEXT, "English", prompt, seed=seed)
        for seed in (7, 7, 8)
    ]
    assert first == again != other


async def test_what_a_clip_says_is_written_down(deployed: Any) -> None:
    clip = as_file(speech(6), 24_000, "mp3")

    transcript = await deployed.transcribe.remote.aio(clip)
    answer = await deployed.create_voice_prompt.remote.aio(clip, consent=CONSENT)

    assert "smooth planks" in transcript["text"]
    assert answer["heard"]["text"] == transcript["text"] == answer["transcript"]
    assert answer["mode"] == "in-context"


async def test_the_first_chunk_arrives_before_the_last_is_computed(
    deployed: Any, server: ModalServer
) -> None:
    prompt = await make_prompt(deployed)
    stream = deployed.stream_with_prompt.remote_gen.aio(TEXT, "English", prompt, seed=2)

    begins = await anext(stream)
    first = await anext(stream)
    assert server.calls[-1].status == ""
    rest = [chunk async for chunk in stream]

    assert begins == {"call_id": server.calls[-1].call_id}
    assert rest
    streamed = b"".join(chunk["pcm"] for chunk in [first, *rest])
    whole = await deployed.generate_with_prompt.remote.aio(TEXT, "English", prompt, seed=2)
    assert (first["sample_rate"], first["first_sample"], first["restarts"]) == (24_000, 0, False)
    assert whole.endswith(streamed)


async def test_sixteen_callers_are_served_together_each_with_its_own_voice(
    deployed: Any, server: ModalServer
) -> None:
    prompts = [await make_prompt(deployed, pitch) for pitch in PITCHES]
    wanted = [(prompt, seed) for prompt in prompts for seed in (1, 2, 3, 4)]

    async def say(prompt: bytes, seed: int) -> NDArray[np.float32]:
        return samples(
            await deployed.generate_with_prompt.remote.aio(TEXT, "English", prompt, seed=seed)
        )

    alone = [await say(*each) for each in wanted]
    saying = asyncio.gather(*(say(*each) for each in wanted))
    spoken_at_once = [0]
    while not saying.done():
        spoken_at_once.append((await deployed.health.remote.aio())["speaking"])
    together = await saying

    assert [whose(speech, alone) for speech in together] == list(range(16))
    # Not by the clock: on a machine that tests share, sixteen together may take as long as alone.
    assert max(spoken_at_once) > 1
    assert len(server.containers) == 1


def whose(heard: NDArray[np.float32], expected: list[NDArray[np.float32]]) -> int:
    """Which speech is nearest; in a batch, rounding may tip a choice late in a sentence."""
    lengths = [min(len(heard), len(meant)) for meant in expected]
    distances = [
        np.abs(heard[:length] - meant[:length]).mean()
        for length, meant in zip(lengths, expected, strict=True)
    ]
    return int(np.argmin(distances))


async def test_a_large_recording_can_be_spawned_and_its_large_answer_fetched(
    deployed: Any, server: ModalServer, client: modal.Client
) -> None:
    before = server.blobs_stored
    stereo = np.stack([buzz(110, 28)] * 2, axis=1)
    clip = as_file(stereo, SAMPLE_RATE, "wav", "-ar", "48000")
    assert len(clip) > 5e6

    call = await deployed.generate_voice_clone_batch.spawn.aio(
        [TEXT] * 16, ["English"] * 16, clip, "The words.", consent=CONSENT
    )
    wavs = await modal.FunctionCall.from_id(call.object_id, client=client).get.aio()

    assert [len(samples(wav)) > 0 for wav in wavs] == [True] * 16
    assert server.blobs_stored == before + 2


async def test_a_cancelled_stream_stops_the_work(deployed: Any, client: modal.Client) -> None:
    prompt = await make_prompt(deployed)
    seed = await seed_of_long_speech(deployed, TEXT, prompt)
    stream = deployed.stream_with_prompt.remote_gen.aio(TEXT, "English", prompt, seed=seed)
    begins = await anext(stream)

    await modal.FunctionCall.from_id(begins["call_id"], client=client).cancel.aio()

    with pytest.raises(modal.exception.RemoteError):
        [chunk async for chunk in stream]
    await at_rest(deployed)


async def test_cancelled_batches_stop_the_work(deployed: Any, server: ModalServer) -> None:
    calls = [
        await deployed.generate_voice_clone_batch.spawn.aio(
            [TEXT] * 16, ["English"] * 16, recording(), "The words.", consent=CONSENT
        )
        for _ in range(4)
    ]
    await until(lambda: sum(len(each.running) for each in server.containers) == len(calls))

    for call in calls:
        await call.cancel.aio()

    for call in calls:
        with pytest.raises(modal.exception.RemoteError):
            await call.get.aio(timeout=5)
    await at_rest(deployed)


async def at_rest(deployed: Any) -> None:
    """The engine does nothing any more, long before it would have been through."""
    async with asyncio.timeout(5):
        while True:
            health = await deployed.health.remote.aio()
            if (health["speaking"], health["waiting"]) == (0, 0):
                return
            await asyncio.sleep(0.1)


async def test_what_cannot_be_done_arrives_as_what_it_is(deployed: Any) -> None:
    with pytest.raises(ConsentMissingError):
        await deployed.create_voice_prompt.remote.aio(recording(), "The words.")
    with pytest.raises(ReferenceUnusableError):
        await deployed.create_voice_prompt.remote.aio(b"no audio", consent=CONSENT)
    with pytest.raises(ReferenceUnusableError):
        await deployed.transcribe.remote.aio("https://127.0.0.1/clip.wav")
    with pytest.raises(VoicePromptInvalidError):
        await deployed.generate_with_prompt.remote.aio(TEXT, "English", b"no prompt")
    prompt = await make_prompt(deployed)
    with pytest.raises(ConsentMissingError):
        await deployed.generate_with_prompt.remote.aio(TEXT, "English", without_consent(prompt))
    with pytest.raises(LanguageNotSupportedError):
        await deployed.generate_with_prompt.remote.aio(TEXT, "Klingon", prompt)
    stream = deployed.stream_with_prompt.remote_gen.aio(TEXT, "Klingon", prompt)
    with pytest.raises(LanguageNotSupportedError):
        [chunk async for chunk in stream]
