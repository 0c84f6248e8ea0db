"""A deployment's settings mean what they say, and a slip is told before anything is deployed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.settings import (
    DEFAULT_TRANSCRIBER,
    DeploySettings,
    DeploySettingsError,
    read_deploy_settings,
)
from backend.weights.checkpoints import DEFAULT_MODEL_ID, SMALL_MODEL_ID


@pytest.mark.parametrize("environment", [{}, {"MODEL_ID": "", "GPU": " ", "MIN_CONTAINERS": ""}])
def test_without_settings_the_defaults_hold(environment: dict[str, str]) -> None:
    assert read_deploy_settings(environment) == DeploySettings()


def test_the_default_costs_nothing_when_nobody_speaks() -> None:
    assert DeploySettings().min_containers == 0
    assert DeploySettings().require_consent


@pytest.mark.parametrize(
    ("model_id", "gpus"),
    [(DEFAULT_MODEL_ID, ("A10G",)), (SMALL_MODEL_ID, ("T4",)), ("/vol/models/mine", ("A10G",))],
)
def test_the_gpu_follows_the_model_unless_it_is_named(model_id: str, gpus: tuple[str, ...]) -> None:
    assert read_deploy_settings({"MODEL_ID": model_id}).gpus == gpus
    named = read_deploy_settings({"MODEL_ID": model_id, "GPU": "L4, A10G"})
    assert named.gpus == ("L4", "A10G")


def test_gpus_may_be_a_list_of_fallbacks() -> None:
    assert read_deploy_settings({"GPU": " L4, A10G ,T4"}).gpus == ("L4", "A10G", "T4")


@pytest.mark.parametrize("setting", [",", " , ", ",".join(["T4"] * 11)])
def test_no_gpu_and_too_many_are_refused(setting: str) -> None:
    with pytest.raises(DeploySettingsError, match=r"^GPU .*1 to 10 GPUs"):
        read_deploy_settings({"GPU": setting})


def test_only_what_the_hub_has_is_downloaded() -> None:
    assert DeploySettings().repositories == [DEFAULT_MODEL_ID, DEFAULT_TRANSCRIBER]
    assert DeploySettings(transcriber=None).repositories == [DEFAULT_MODEL_ID]
    folders = DeploySettings("/vol/models/mine", transcriber="/vol/models/whisper")
    assert folders.repositories == []


@pytest.mark.parametrize("word", ["0", "false", "No", "OFF"])
def test_consent_can_be_switched_off_in_plain_words(word: str) -> None:
    assert not read_deploy_settings({"REQUIRE_CONSENT": word}).require_consent


@pytest.mark.parametrize(
    ("setting", "transcriber"),
    [
        ("", DEFAULT_TRANSCRIBER),
        ("none", None),
        ("Systran/faster-whisper-small", "Systran/faster-whisper-small"),
        ("/vol/models/whisper", "/vol/models/whisper"),
    ],
)
def test_the_transcriber_can_be_another_or_none(setting: str, transcriber: str | None) -> None:
    assert read_deploy_settings({"TRANSCRIBER_MODEL": setting}).transcriber == transcriber


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_ID", "Qwen/Qwen3-TTS"),
        ("MODEL_ID", "models/mine"),
        ("GPU", ","),
        ("GPU", ",".join(["T4"] * 11)),
        ("SCALEDOWN_WINDOW", "1"),
        ("SCALEDOWN_WINDOW", "3601"),
        ("SCALEDOWN_WINDOW", "5 min"),
        ("MIN_CONTAINERS", "-1"),
        ("MAX_CONTAINERS", "0"),
        ("MAX_CONTAINERS", "1000"),
        ("MAX_CONTAINERS", "\N{ARABIC-INDIC DIGIT ONE}"),
        ("REQUIRE_CONSENT", "maybe"),
        ("ENGINE", "fast"),
        ("TEXT_LAYOUT", "after"),
        ("CUDA_GRAPHS", "perhaps"),
        ("WEIGHTS", "int4"),
        ("API_SECRET", "no such name"),
        ("WEIGHTS", "INT8"),
        ("WEIGHTS", "float64"),
        ("WEIGHTS", "int8,bfloat16"),
        ("TRANSCRIBER_MODEL", "whisper"),
        ("TRANSCRIBER_MODEL", "a/b/c"),
        ("TRANSCRIBER_MODEL", "../../etc"),
    ],
)
def test_a_slip_is_told_with_the_settings_name(name: str, value: str) -> None:
    with pytest.raises(DeploySettingsError, match=rf"^{name}.*\.$"):
        read_deploy_settings({name: value})


def test_other_weights_are_refused_with_what_they_may_be() -> None:
    with pytest.raises(DeploySettingsError, match="auto, float32, bfloat16 or int8"):
        read_deploy_settings({"WEIGHTS": "fp16"})


def test_there_cannot_be_more_warm_containers_than_containers() -> None:
    with pytest.raises(DeploySettingsError, match="MIN_CONTAINERS must not exceed MAX_CONTAINERS"):
        read_deploy_settings({"MIN_CONTAINERS": "2", "MAX_CONTAINERS": "1"})


@given(
    st.builds(
        DeploySettings,
        model_id=st.sampled_from([DEFAULT_MODEL_ID, SMALL_MODEL_ID, "/vol/models/mine"]),
        gpus=st.lists(st.sampled_from(["T4", "A10G", "L4"]), min_size=1, max_size=3).map(tuple),
        scaledown_window=st.integers(2, 3_600),
        min_containers=st.integers(0, 3),
        max_containers=st.integers(3, 100),
        require_consent=st.booleans(),
        transcriber=st.sampled_from([None, DEFAULT_TRANSCRIBER, "/vol/models/whisper"]),
        plain_package=st.booleans(),
        text_layout=st.sampled_from(["before", "along"]),
        cuda_graphs=st.booleans(),
        weights=st.sampled_from(["auto", "float32", "bfloat16", "int8"]),
    )
)
def test_a_container_reads_the_very_settings_that_were_deployed(settings: DeploySettings) -> None:
    assert read_deploy_settings(settings.as_environment()) == settings


def test_regions_may_be_several() -> None:
    assert read_deploy_settings({"REGION": " eu, us-east-1 "}).regions == ("eu", "us-east-1")
    with pytest.raises(DeploySettingsError, match=r"^REGION .*separated by commas\.$"):
        read_deploy_settings({"REGION": "Europe!"})


@pytest.mark.parametrize(
    "environment",
    [
        {"BUFFER_CONTAINERS": "1"},  # there is one at most
        {"MAX_CONTAINERS": "2", "BUFFER_CONTAINERS": "2"},
        {"MEMORY_SNAPSHOT": "0", "GPU_SNAPSHOT": "1"},
    ],
)
def test_settings_that_do_not_fit_together_are_told(environment: dict[str, str]) -> None:
    with pytest.raises(DeploySettingsError, match=r"^(BUFFER_CONTAINERS|GPU_SNAPSHOT) .*\.$"):
        read_deploy_settings(environment)
