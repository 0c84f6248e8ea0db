from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DISCORD_TOKEN", "MAX_VOICES_PER_USER", "LOG_LEVEL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
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
