"""Every setting, from the environment and `.env`, checked at start. Nothing else reads either."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """A setting is missing or unusable. The text says which one, and what to do."""


def _choose_backend(settings: dict[str, Any]) -> Literal["preview", "modal"]:
    """Take the production backend where Modal's client has a token to use it with."""
    has_token = settings["modal_token_id"] and settings["modal_token_secret"]
    return "modal" if has_token or _has_profile(settings["modal_config_path"]) else "preview"


def _has_profile(path: Path) -> bool:
    """Whether a configuration file of Modal's client holds a token, as `modal setup` puts it there.

    https://modal.com/docs/reference/modal.config
    """
    try:
        profiles = tomllib.loads(path.expanduser().read_text(encoding="utf-8"))
    except (OSError, RuntimeError, ValueError):  # without a home there is no file either
        return False
    return any(isinstance(profile, dict) and "token_id" in profile for profile in profiles.values())


class Settings(BaseSettings):
    """What an operator can decide. The README's table describes each one.

    The environment wins over `.env`; names there are these names in capitals.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        protected_namespaces=(),  # MODEL_ID is ours; older pydantic keeps "model_" for itself
    )

    discord_token: SecretStr | None = None
    database_url: str = Field(default="sqlite:///data/timbre.db", repr=False)
    storage_keys: SecretStr = SecretStr("")
    modal_token_id: SecretStr | None = None
    modal_token_secret: SecretStr | None = None
    modal_config_path: Path = Path("~/.modal.toml")
    speech_backend: Literal["preview", "local", "modal"] = Field(default_factory=_choose_backend)
    model_id: str = ""
    weights_folder: Path = Path("data/weights")
    transcriber_model: str = ""
    engine: Literal["timbre", "reference"] = "timbre"
    text_layout: Literal["before", "along"] = "before"
    weights: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    cuda_graphs: bool = True
    require_consent: bool = True
    max_modal_calls: Annotated[int, Field(ge=1, le=1000)] = 16
    max_voices_per_user: Annotated[int, Field(ge=1, le=1000)] = 50
    max_parallel_uploads: Annotated[int, Field(ge=1, le=64)] = 2
    voice_idle_minutes: Annotated[float, Field(ge=0.1, le=1440)] = 5
    voice_trace: bool = False
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    def require_token(self) -> str:
        """Return the bot's token, or raise `SettingsError` that says where to get one."""
        if self.discord_token is None:
            raise SettingsError(
                "There's no Discord token. Put DISCORD_TOKEN=<your bot's token> into .env "
                "(copy .env.example) or the environment, then start again."
            )
        return self.discord_token.get_secret_value().strip()

    def modal_token(self) -> tuple[str, str] | None:
        """Return the token's id and secret, or None if Modal's client has to find one itself."""
        if self.modal_token_id is None or self.modal_token_secret is None:
            return None
        return (
            self.modal_token_id.get_secret_value().strip(),
            self.modal_token_secret.get_secret_value().strip(),
        )


def can_others_read(file: Path = Path(".env")) -> bool:
    """Whether other users of this machine may read the file of settings, which holds secrets."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return False
    return bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def load_settings() -> Settings:
    """Read the settings. Raises `SettingsError` naming every unusable one, and never its value."""
    try:
        return Settings()
    except UnicodeDecodeError:
        raise SettingsError("The file .env isn't UTF-8 text. Save it again as UTF-8.") from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(
            f"A setting can't be used: {problems}. Correct it in .env or the environment, "
            "then start again."
        ) from None
