"""Every setting, from the environment and `.env`, checked at start. Nothing else reads either."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """A setting is missing or unusable. The text says which one, and what to do."""


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
    database_url: str = "sqlite:///data/timbre.db"
    speech_backend: Literal["preview", "local"] = "preview"
    model_id: str = "Qwen/Qwen3-TTS-12Hz-1.7B-Base"
    weights_folder: Path = Path("data/weights")
    transcriber_model: str = ""
    require_consent: bool = True
    max_voices_per_user: Annotated[int, Field(ge=1, le=1000)] = 50
    max_parallel_uploads: Annotated[int, Field(ge=1, le=64)] = 2
    voice_idle_minutes: Annotated[float, Field(ge=0.1, le=1440)] = 5
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    def require_token(self) -> str:
        """Return the bot's token, or raise `SettingsError` that says where to get one."""
        if self.discord_token is None:
            raise SettingsError(
                "There is no Discord token. Put DISCORD_TOKEN=<your bot's token> into .env "
                "(copy .env.example) or the environment, then start again."
            )
        return self.discord_token.get_secret_value().strip()


def load_settings() -> Settings:
    """Read the settings. Raises `SettingsError` naming every unusable one, and never its value."""
    try:
        return Settings()
    except UnicodeDecodeError:
        raise SettingsError("The file .env is not UTF-8 text. Save it again as UTF-8.") from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(
            f"A setting cannot be used: {problems}. Mend it in .env or the environment, "
            "then start again."
        ) from None
