from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.client import VoiceBot
from bot.settings import Settings, SettingsError, Shards, can_others_read, load_settings
from bot.speech import open_backend

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_come_from_the_environment_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("DISCORD_TOKEN=from-file\nMAX_VOICES_PER_USER=7\n")
    monkeypatch.setenv("DISCORD_TOKEN", " from-environment ")
    settings = load_settings()
    assert settings.require_token() == "from-environment"
    assert settings.max_voices_per_user == 7


def test_never_show_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "very-secret")
    assert "very-secret" not in repr(load_settings())


def test_never_show_keys_nor_the_databases_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_KEYS", "very-secret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://host/x?password=very-secret")
    assert "very-secret" not in repr(load_settings())


@pytest.mark.parametrize(
    ("mode", "can_read"), [(0o600, False), (0o700, False), (0o644, True), (0o640, True)]
)
def test_a_file_that_others_can_read_is_noticed(tmp_path: Path, mode: int, can_read: bool) -> None:
    assert not can_others_read(), "there is none"
    (tmp_path / ".env").touch()
    (tmp_path / ".env").chmod(mode)
    assert can_others_read() == can_read


def test_an_empty_token_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "")
    with pytest.raises(SettingsError, match=r"DISCORD_TOKEN=<your bot's token> into \.env"):
        load_settings().require_token()


def test_every_bad_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_VOICES_PER_USER", "many")
    monkeypatch.setenv("LOG_LEVEL", "SHOUT")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    sentence = str(caught.value)
    assert "MAX_VOICES_PER_USER: " in sentence
    assert "LOG_LEVEL: " in sentence
    assert "many" not in sentence
    assert "SHOUT" not in sentence


@pytest.mark.parametrize("name", ["privacy_url", "terms_url"])
@pytest.mark.parametrize(
    "value", ["http://example.org/x", "example.org", "https://", "https://a.b/(x)", "https://a.b c"]
)
def test_pages_have_https_addresses(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert getattr(load_settings(), name) is None
    monkeypatch.setenv(name.upper(), " https://example.org/privacy?l=en#top ")
    assert getattr(load_settings(), name) == "https://example.org/privacy?l=en#top"
    monkeypatch.setenv(name.upper(), value)
    with pytest.raises(SettingsError, match=f"{name.upper()}: .*it has to be an https address"):
        load_settings()


@pytest.mark.parametrize("name", ["operators", "allowed_servers", "warm_servers"])
def test_ids_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert getattr(load_settings(), name) == frozenset()
    monkeypatch.setenv(name.upper(), "1198765432109876543")
    assert getattr(load_settings(), name) == {1198765432109876543}
    monkeypatch.setenv(name.upper(), " 7, 1198765432109876543 7,")
    assert getattr(load_settings(), name) == {7, 1198765432109876543}


@pytest.mark.parametrize("value", ["ada", "0", "-7", "7;8", "9223372036854775808", "\u0667"])
def test_what_is_no_id_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OPERATORS", value)
    with pytest.raises(SettingsError, match=r"OPERATORS: .*Discord ids, which are numbers"):
        load_settings()


def test_shards_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().shards is None
    bot = VoiceBot(load_settings())
    assert not bot.shard_ids
    assert not bot.shard_count
    monkeypatch.setenv("SHARDS", "4-7/8")
    bot = VoiceBot(load_settings())
    assert (bot.shard_ids, bot.shard_count) == ([4, 5, 6, 7], 8)
    monkeypatch.setenv("SHARDS", "0/2")
    assert load_settings().shards == Shards(ids=(0,), count=2)


@pytest.mark.parametrize("value", ["8", "4-8/8", "3-2/8", "0-3", "a/8", "0/0", "-1/8", "0-3/8/9"])
def test_other_shards_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SHARDS", value)
    with pytest.raises(SettingsError, match=r"SHARDS: .*it has to be like 0-3/8"):
        load_settings()


@pytest.mark.parametrize("value", ["auto", "float32", "bfloat16", "int8", ""])
def test_the_weights_are_one_of_four(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WEIGHTS", value)
    assert load_settings().weights == (value or "auto")


@pytest.mark.parametrize("value", ["int4", "INT8", "fp16", "8", "float64", "int8,bfloat16", "none"])
def test_other_weights_are_refused_with_what_they_may_be(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("WEIGHTS", value)
    with pytest.raises(
        SettingsError, match=r"WEIGHTS: .*'auto', 'float32', 'bfloat16' or 'int8'.*start again"
    ):
        load_settings()


class TestTheSpeechBackend:
    def test_is_the_preview_where_there_is_no_modal_token(self) -> None:
        assert load_settings().speech_backend == "preview"

    def test_is_modal_with_a_token_in_the_file(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("MODAL_TOKEN_ID=ak-1\nMODAL_TOKEN_SECRET= as-1 \n")
        settings = load_settings()
        assert settings.speech_backend == "modal"
        assert settings.modal_token() == ("ak-1", "as-1")
        assert "as-1" not in repr(settings)

    def test_is_not_modal_with_half_a_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODAL_TOKEN_ID", "ak-1")
        settings = load_settings()
        assert settings.speech_backend == "preview"
        assert settings.modal_token() is None

    def test_is_modal_if_its_command_line_has_been_set_up(self, tmp_path: Path) -> None:
        config = '[me]\ntoken_id = "ak-1"\ntoken_secret = "as-1"\nactive = true\n'
        (tmp_path / ".modal.toml").write_text(config)
        settings = load_settings()
        assert settings.speech_backend == "modal"
        assert settings.modal_token() is None, "Modal's client reads its own file"

    def test_is_modal_if_it_has_been_set_up_elsewhere(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "elsewhere.toml").write_text('[me]\ntoken_id = "ak-1"\n')
        monkeypatch.setenv("MODAL_CONFIG_PATH", str(tmp_path / "elsewhere.toml"))
        assert load_settings().speech_backend == "modal"

    @pytest.mark.parametrize("config", ["", "[me]\nactive = true\n", "no toml", "token_id = 1"])
    def test_is_not_modal_if_that_was_not_finished(self, config: str, tmp_path: Path) -> None:
        (tmp_path / ".modal.toml").write_text(config)
        assert load_settings().speech_backend == "preview"

    def test_is_what_the_operator_says(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / ".env").write_text("MODAL_TOKEN_ID=ak-1\nMODAL_TOKEN_SECRET=as-1\n")
        monkeypatch.setenv("SPEECH_BACKEND", "local")
        assert load_settings().speech_backend == "local"


class TestTheSpeechServer:
    @pytest.mark.parametrize(
        ("written", "address"),
        [
            ("http://gpu.example:8091", "http://gpu.example:8091"),
            (" https://gpu.example/ ", "https://gpu.example"),
            ("https://gpu.example/tts/v1/", "https://gpu.example/tts"),  # as OpenAI's clients want
            ("http://[::1]:8091/v1", "http://[::1]:8091"),
        ],
    )
    def test_is_at_an_address(
        self, monkeypatch: pytest.MonkeyPatch, written: str, address: str
    ) -> None:
        monkeypatch.setenv("SPEECH_BACKEND", "http")
        monkeypatch.setenv("SPEECH_URL", written)
        monkeypatch.setenv("SPEECH_API_KEY", " very-secret ")
        settings = load_settings()
        assert settings.require_speech_url() == address
        assert settings.speech_key() == "very-secret"
        assert "very-secret" not in repr(settings)

    @pytest.mark.parametrize(
        "written",
        [
            "gpu.example:8091",
            "ftp://gpu.example",
            "http://",
            "http://gpu.example:99999",
            "http://me:very-secret@gpu.example",
            "http://gpu.example/?key=very-secret",
        ],
    )
    def test_is_not_anything_else(self, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
        monkeypatch.setenv("SPEECH_URL", written)
        with pytest.raises(SettingsError, match="SPEECH_URL: ") as caught:
            load_settings()
        assert "very-secret" not in str(caught.value)

    def test_has_to_be_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SPEECH_BACKEND", "http")
        with pytest.raises(SettingsError, match="SPEECH_URL=<its address>"):
            open_backend(load_settings())

    def test_has_a_key_that_a_request_can_carry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SPEECH_API_KEY", "very-secret\nX-Other: 1")
        with pytest.raises(SettingsError, match="SPEECH_API_KEY") as caught:
            load_settings().speech_key()
        assert "very-secret" not in str(caught.value)
