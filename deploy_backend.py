"""The GPU side on Modal: image, volume, class and entrypoints. `backend/` does the work.

    .venv/bin/modal run deploy_backend.py::download_weights # once, and whenever the model changes
    .venv/bin/modal run deploy_backend.py # a smoke test: writes test_output.wav
    .venv/bin/modal deploy deploy_backend.py

The settings are environment variables, which docs/deploy.md describes. They are read at deployment,
become part of the image, and are read again when a container imports this file.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import aclosing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import modal
import modal.experimental

from backend.contract import SpeechError, SpeechRequest, VoicePrompt
from backend.loading import ServiceOptions, open_service, stage_model
from backend.random_state import renew_random_state
from backend.settings import DeploySettingsError, read_deploy_settings
from backend.smoke_test import SAMPLE, RecordingError, find_recording
from backend.weights.store import find_weights

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backend import answers
    from backend.consent import Consent
    from backend.engine.staging import StagedModel
    from bot.api.asgi import OpenedAtStart

log = logging.getLogger(__name__)
environment = os.environ  # noqa: TID251 - the settings of a deployment

APP_NAME = "qwen3-tts-voice-clone"
VOLUME_NAME = "qwen3-tts-models"
VOLUME_PATH = "/vol/models"
CALL_SECONDS = 300
PROMPT_SECONDS, SPEECH_SECONDS = 60.0, 180.0
"""Deadlines of the two steps of a call. With the fetching of a reference they stay below
`CALL_SECONDS`, after which Modal ends a call, so the caller is told a reason."""

MOST_API_REQUESTS = 100

MOST_CALLS = 64
"""The most calls of a container at once. Once it has loaded, it takes as many as it has rows."""

SECRET_NAME = "huggingface-secret"  # noqa: S105 - the name that Modal keeps it under


def huggingface_secret() -> modal.Secret:
    """The secret with the Hugging Face token if there is one, else an empty secret.

    Modal has no optional secrets. Looking for one needs credentials, so only `modal deploy` and
    `modal run` do it. A container must have as many secrets as were deployed, so there is always
    one.
    """
    if "modal.cli.run" in sys.modules:
        # Other problems than a missing secret are reported by Modal later.
        with suppress(modal.exception.Error):
            return modal.Secret.from_name(SECRET_NAME).hydrate()
    return modal.Secret.from_dict({})


try:
    settings = read_deploy_settings(environment)
except DeploySettingsError as error:
    sys.exit(str(error))
# The settings are in the image and in a secret, so a container has them even if the environment of
# the image is overridden.
secrets = [huggingface_secret(), modal.Secret.from_dict({**settings.as_environment()})]
app = modal.App(APP_NAME)
volume = modal.Volume.from_name(VOLUME_NAME, create_if_missing=True)
image = (
    modal.Image.debian_slim(python_version="3.12")
    .add_local_file(Path(__file__).with_name("constraints.txt"), "/constraints.txt", copy=True)
    .uv_pip_install(
        "torch==2.9.1",
        "torchaudio==2.9.1",
        "qwen-tts==0.1.1",
        "transformers==4.57.3",
        "accelerate==1.12.0",
        "safetensors==0.8.0",
        "numpy==2.4.6",
        "soundfile==0.14.0",
        "soxr==1.1.0",
        "faster-whisper==1.2.1",
        "rapidfuzz==3.14.6",
        "resemble-perth==1.0.1",
        "setuptools==80.10.2",
        "huggingface-hub==0.36.2",
        "hf-xet==1.8.0",
        "filelock==4.2.11",
        "aiohttp==3.14.5",
        "yarl==1.25.1",
        # pins what these need in turn
        extra_options="--constraint /constraints.txt",
        uv_version="0.13.9",
    )
    .env(
        {
            "HF_HOME": VOLUME_PATH,
            "HF_XET_HIGH_PERFORMANCE": "1",
            **settings.as_environment(),
        }
    )
    .add_local_python_source("backend")
)


@app.cls(
    image=image,
    gpu=list(settings.gpus),
    cpu=2.0,  # one drives the GPU, one decodes and transcribes
    memory=8_192,
    volumes={VOLUME_PATH: volume},
    secrets=secrets,
    timeout=CALL_SECONDS,
    startup_timeout=1_200,  # enough to download a model that is not on the volume
    scaledown_window=settings.scaledown_window,
    min_containers=settings.min_containers,
    max_containers=settings.max_containers,
    buffer_containers=settings.buffer_containers or None,
    region=list(settings.regions) or None,
    enable_memory_snapshot=settings.memory_snapshot,
    experimental_options={"enable_gpu_snapshot": True} if settings.gpu_snapshot else None,
)
@modal.concurrent(max_inputs=MOST_CALLS)
class Qwen3TTSService:
    """Clones voices and speaks with them.

    Any number of callers may call at once. Arguments and answers are Python's own types, so a
    caller needs Modal's client and none of this code. Speech is mono, 16-bit, at 24 kHz, and
    carries an inaudible watermark.

    What cannot be done raises a `backend.contract.SpeechError` that says why, if possible before
    any work is done for it; a number out of its range raises ValueError. Where `backend` is not
    installed, Modal's client raises its `ExecutionError` instead, which quotes the error.

    The methods share these arguments:

    - `text`: What to say, at most 600 characters.
    - `language`: Its name, such as "English", or "Auto".
    - `ref_audio`: 3 to 30 s of one person's speech, at most 16 MiB: the bytes of a WAV, FLAC, Ogg
      or MP3 file, the same as base64 or as a base64 data URL, or the public https address of one.
    - `ref_text`: Exactly what is said in it. None takes what is heard, or else the sound alone.
    - `prompt`: A voice that `create_voice_prompt` made.
    - `max_new_tokens`: The most codec frames of speech, 80 ms each; 1 to 2,048.
    - `consent`: That the speaker may be cloned: the statement that was agreed to, or a dict of the
      fields of `backend.contract.ConsentRecord`. Every call that makes a voice needs it, by design.
      Without it, it raises `ConsentMissingError`, unless the deployment has `REQUIRE_CONSENT=0`.
    - `seed`: The same seed, 0 to 2**63 - 1, gives the same speech.
    - `caller`: For whom it is. Callers share the GPU fairly.

    Methods that speak may raise `TextNotSpeakableError`, `LanguageNotSupportedError`,
    `BackendBusyError` and `GenerationFailedError`; methods that take a recording,
    `ReferenceUnusableError`.
    """

    @modal.enter(snap=settings.memory_snapshot)
    def load(self) -> None:
        """Load what a memory snapshot can hold.

        With one, this runs once for each snapshot. Without, it runs in each container, before
        `start`, and leaves everything to that.
        """
        logging.basicConfig(level=logging.WARNING)
        logging.getLogger("backend").setLevel(logging.INFO)
        folder = models_folder()
        if not any(find_weights(repo_id, folder).defects for repo_id in settings.repositories):
            environment["HF_HUB_OFFLINE"] = "1"  # read by the hub's client when it is imported
        self._staged: StagedModel | None = None
        if settings.gpu_snapshot:
            self._service = open_service(service_options(), replace_container)
        elif settings.memory_snapshot:
            self._staged = stage_model(service_options())

    @modal.enter(snap=False)
    def start(self) -> None:
        """Get ready for calls, once for each container, before its first call."""
        if settings.memory_snapshot:
            renew_random_state()
        if not settings.gpu_snapshot:
            self._service = open_service(service_options(), replace_container, self._staged)
            self._staged = None
        # More calls would wait here, where no other container can take them.
        modal.experimental.set_local_input_concurrency(self._service.rows)

    @modal.exit()
    async def close(self) -> None:
        """Fail the calls that still run, because the container ends."""
        await self._service.close()

    @modal.method()
    async def generate_voice_clone(  # noqa: PLR0913 - the method's arguments
        self,
        text: str,
        language: str,
        ref_audio: bytes | str,
        ref_text: str | None = None,
        max_new_tokens: int = 2048,
        *,
        consent: Consent | None = None,
        seed: int | None = None,
    ) -> bytes:
        """Speak a text with the voice of a reference clip. Returns a WAV file."""
        [speech] = await self._service.clone(
            [text], [language], ref_audio, ref_text, max_new_tokens, consent=consent, seed=seed
        )
        return speech

    @modal.method()
    async def generate_voice_clone_batch(  # noqa: PLR0913 - the method's arguments
        self,
        texts: list[str],
        languages: list[str],
        ref_audio: bytes | str,
        ref_text: str | None = None,
        max_new_tokens: int = 2048,
        *,
        consent: Consent | None = None,
        seed: int | None = None,
    ) -> list[bytes]:
        """Speak up to 16 texts, each in its language, with one voice that is made once.

        Returns a WAV file for each text. If one cannot be spoken, none is.
        """
        return await self._service.clone(
            texts, languages, ref_audio, ref_text, max_new_tokens, consent=consent, seed=seed
        )

    @modal.method()
    async def create_voice_prompt(
        self,
        ref_audio: bytes | str,
        ref_text: str | None = None,
        *,
        consent: Consent | None = None,
        caller: str = "",
        x_vector_only_mode: bool = False,
    ) -> answers.VoicePromptAnswer:
        """Make a voice to keep, and say what was heard in the reference clip.

        With `x_vector_only_mode`, it is made of the sound alone, and nothing is transcribed.

        Returns:
            `prompt`: some kilobytes (safetensors), which any container can use. `model_id`: the
            only model that can use it. `mode`: "in-context", or "x-vector" if it was made from the
            sound alone. `transcript`: the one it was made with, or None. `heard`: `text`,
            `language`, and whether it `differs` from `ref_text`; None without a transcriber.
        """
        return await self._service.create_voice_prompt(
            ref_audio, ref_text, consent=consent, caller=caller, sound_alone=x_vector_only_mode
        )

    @modal.method()
    async def generate_with_prompt(  # noqa: PLR0913 - the method's arguments
        self,
        text: str,
        language: str,
        prompt: bytes,
        max_new_tokens: int = 2048,
        *,
        seed: int | None = None,
        caller: str = "",
    ) -> bytes:
        """Speak a text with a kept voice. Returns a WAV file.

        Raises `VoicePromptModelMismatchError` if another model made the prompt, and
        `VoicePromptInvalidError` if it is not a prompt.
        """
        voice = VoicePrompt(prompt, self._service.model_id)
        return await self._service.speak(
            SpeechRequest(text, voice, language, seed, caller, max_new_tokens)
        )

    @modal.method()
    async def stream_with_prompt(  # noqa: PLR0913 - the method's arguments
        self,
        text: str,
        language: str,
        prompt: bytes,
        max_new_tokens: int = 2048,
        *,
        seed: int | None = None,
        caller: str = "",
    ) -> AsyncGenerator[dict[str, object], None]:
        """Speak a text with a kept voice, piece by piece as it is made.

        Yields:
            First `call_id`, with which the call can be cancelled: Modal goes on with a call that
            nobody reads. Then the fields of `backend.contract.PcmChunk`: `pcm`, `sample_rate`,
            `first_sample`, and whether the speech `restarts`, so that earlier chunks are dropped.

        Raises the same as `generate_with_prompt`.
        """
        yield {"call_id": modal.current_function_call_id() or ""}
        voice = VoicePrompt(prompt, self._service.model_id)
        request = SpeechRequest(text, voice, language, seed, caller, max_new_tokens)
        async with aclosing(self._service.stream(request)) as chunks:
            async for chunk in chunks:
                yield asdict(chunk)

    @modal.method()
    async def transcribe(
        self, ref_audio: bytes | str, *, consent: Consent | None = None
    ) -> answers.TranscriptAnswer:
        """Write down what a reference clip says: `text`, `language`, `language_confidence`.

        This makes no voice, so it needs no consent; one that is given must be complete.

        Raises `BackendUnavailableError` without a transcriber.
        """
        return await self._service.transcribe(ref_audio, consent=consent)

    @modal.method()
    async def detect_watermark(self, audio: bytes | str) -> answers.WatermarkAnswer:
        """Tell whether a recording of up to 180 s, in any form of `ref_audio`, was made here.

        It is found at 90 to 110 % of the speed, too. Returns `watermarked`, the `confidence` from 0
        to 1, the `speed` that fits best, and how many `seconds` were searched.
        """
        return await self._service.detect_watermark(audio)

    @modal.method()
    async def get_model_info(self) -> answers.ModelInfoAnswer:
        """Say what is loaded on what.

        Among the answer's keys are `model_id`, `model_name`, `attention_implementation`, `gpu`,
        `gpu_memory_gb` and `supported_languages`; `backend.answers.ModelInfoAnswer` has them all.
        """
        return self._service.info()

    @modal.method()
    async def health(self) -> answers.HealthAnswer:
        """Say whether a request would be accepted now, and how many wait."""
        return self._service.health()


api_image = (
    modal.Image.debian_slim(python_version="3.12")
    .add_local_file(Path(__file__).with_name("constraints.txt"), "/constraints.txt", copy=True)
    .pip_install_from_pyproject(
        str(Path(__file__).with_name("pyproject.toml")),
        ["api", "postgres"],
        extra_options="--constraint /constraints.txt",
    )
    # The secret can name a database instead; what is on a container's own disk is lost with it.
    .env({"DATABASE_URL": "none", "SPEECH_BACKEND": "modal", **settings.as_environment()})
    .add_local_python_source("backend", "bot", ignore=["**/__pycache__", "**/*.html"])
)

if settings.api_secret:  # it holds the keys, and without any the API does not start

    @app.function(
        image=api_image,
        cpu=1.0,
        memory=2_048,
        secrets=[modal.Secret.from_name(settings.api_secret)],
        timeout=2 * CALL_SECONDS,
        scaledown_window=settings.scaledown_window,
        max_containers=1,  # without a database, limits are counted in one process
    )
    @modal.concurrent(max_inputs=MOST_API_REQUESTS)
    @modal.asgi_app()
    def api() -> OpenedAtStart:
        """The HTTP API of docs/api.md, in a small container that scales to zero."""
        from bot.api.asgi import OpenedAtStart  # noqa: PLC0415 - in its own image only
        from bot.log import configure_logging  # noqa: PLC0415 - as above
        from bot.settings import load_settings  # noqa: PLC0415 - as above

        bot_settings = load_settings()
        configure_logging(bot_settings)
        return OpenedAtStart(bot_settings)


@app.function(image=image, cpu=4.0, volumes={VOLUME_PATH: volume}, secrets=secrets, timeout=3_600)
def download_weights() -> None:
    """Fill the volume with the weights of the speech model and the transcriber. Needs no GPU."""
    from backend.weights.download import download  # noqa: PLC0415 - in the image only

    for repo_id in settings.repositories:
        token = environment.get("HF_TOKEN")
        weights = download(repo_id, models_folder(), token=token, by_xet=True)
        volume.commit()
        say(f"{repo_id} is whole, in {weights.folder}.")
    say("The volume holds all that is needed. Next: .venv/bin/modal deploy deploy_backend.py")


@app.local_entrypoint()
def main(  # noqa: PLR0913, PLR0917 - each is an option of `modal run`
    reference: str = SAMPLE,
    transcript: str = "",
    consent: str = "",
    text: str = "Good evening. This voice was made from a few seconds of speech.",
    language: str = "English",
    output: str = "test_output.wav",
) -> None:
    """Try it: show the model, clone a voice, and write what it says.

    Args:
        reference: A recording on this machine, or an https address. Without one, it is a sample
            that Qwen published.
        transcript: What is said in it, if you know.
        consent: The statement by which the speaker agreed. Needed for any other than the sample.
        text: What to say.
        language: Its language.
        output: Where to write it, as WAV.
    """
    service = Qwen3TTSService()
    try:
        recording = find_recording(reference, transcript, consent)
        for name, value in service.get_model_info.remote().items():
            say(f"{name}: {value}")
        speech = service.generate_voice_clone.remote(
            text, language, recording.audio, recording.transcript, consent=recording.consent
        )
    except RecordingError as error:
        sys.exit(str(error))
    except SpeechError as error:
        sys.exit(f"That didn't work: {error}.")
    Path(output).write_bytes(speech)
    say(f"Wrote {output}: {len(speech) / 1e3:.0f} kB. Listen to it.")


def service_options() -> ServiceOptions:
    """What a container loads, and under which rules."""
    return ServiceOptions(
        model_id=settings.model_id,
        weights_folder=models_folder(),
        transcriber=settings.transcriber,
        require_consent=settings.require_consent,
        plain_package=settings.plain_package,
        text_layout=settings.text_layout,
        cuda_graphs=settings.cuda_graphs,
        weights=settings.weights,
        prompt_seconds=PROMPT_SECONDS,
        speech_seconds=SPEECH_SECONDS,
    )


def models_folder() -> Path:
    """The folder in a container where the volume is mounted."""
    return Path(environment.get("HF_HOME", VOLUME_PATH))


async def replace_container() -> None:
    """Accept no more calls in this container, so that Modal starts another one."""
    log.error("the model keeps failing, or the GPU is lost: this container takes no more calls")
    try:
        await modal.experimental.stop_fetching_inputs.aio()
    except modal.exception.Error as error:
        log.warning("Modal was not told (%s)", type(error).__name__)


def say(line: str) -> None:
    """Show a line to the person at the terminal."""
    print(line, flush=True)  # noqa: T201 - the terminal is the interface here
