"""Every setting, from the environment and `.env`, checked at start. Nothing else reads either."""

from __future__ import annotations

import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class SettingsError(Exception):
    """A setting is missing or unusable. The text says which one, and what to do."""


@dataclass(frozen=True, slots=True)
class Shards:
    """Which part of all servers a process serves. Discord puts each server into one shard.

    Attributes:
        ids: The shards of this process, from 0.
        count: How many there are, over all processes.
    """

    ids: tuple[int, ...]
    count: int


_SHARDS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?/(\d{1,5})", re.ASCII)
_ID = re.compile(r"\d{1,19}", re.ASCII)
MAX_ID = 2**63 - 1


def _parse_ids(value: object) -> object:
    """Read Discord ids with commas or spaces between them."""
    if not isinstance(value, str):
        return value
    parts = value.replace(",", " ").split()
    if not all(_ID.fullmatch(part) and 0 < int(part) <= MAX_ID for part in parts):
        raise ValueError("it has to be Discord ids, which are numbers, with commas between them")
    return frozenset(map(int, parts))


def _parse_shards(value: object) -> object:
    """Read shards such as "0-3/8", the first four of eight."""
    if not isinstance(value, str):
        return value
    found = _SHARDS.fullmatch(value.replace(" ", ""))
    if found is not None:
        first, count = int(found[1]), int(found[3])
        last = int(found[2] or first)
        if first <= last < count:
            return Shards(tuple(range(first, last + 1)), count)
    raise ValueError("it has to be like 0-3/8: the first and the last shard, counted from 0, of 8")


_LINK = re.compile(r"https://[^\s()<>\[\]/?#]+\.[^\s()<>\[\]]+")
MAX_LINK_CHARACTERS = 400


def _check_link(value: str) -> str:
    """Check an address. Nothing in it may end Discord's markup of links."""
    value = value.strip()
    if len(value) > MAX_LINK_CHARACTERS or not _LINK.fullmatch(value):
        raise ValueError(
            f"it has to be an https address of at most {MAX_LINK_CHARACTERS} characters, "
            "without spaces and brackets"
        )
    return value


def _parse_server(value: object) -> object:
    """Read the address of a server, with or without the `/v1` that OpenAI's clients want."""
    if not isinstance(value, str):
        return value
    try:
        address = urlsplit(value.strip())
        is_whole = address.scheme in {"http", "https"} and bool(address.hostname)
        is_whole = is_whole and address.port != 0  # an impossible port raises
    except ValueError:
        is_whole = False
    if not is_whole or address.query or address.fragment:
        raise ValueError("it has to be an address like http://gpu.example:8091")
    if address.username is not None or address.password is not None:
        raise ValueError("leave the user and the password out; a key belongs into SPEECH_API_KEY")
    path = address.path.rstrip("/").removesuffix("/v1")
    return urlunsplit((address.scheme, address.netloc, path, "", ""))


Ids = Annotated[frozenset[int], NoDecode, BeforeValidator(_parse_ids)]


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


NO_DATABASE = "none"
"""For DATABASE_URL: only the HTTP API can do without one."""

DiscordId = Annotated[int, Field(ge=1, le=MAX_ID)]

Link = Annotated[str, AfterValidator(_check_link)]
"""The address of a page that people are shown."""

Limit = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""A limit; 0 is none."""


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
    operators: Ids = frozenset()
    allowed_servers: Ids = frozenset()
    direct_messages: bool = True
    warm_servers: Ids = frozenset()
    shards: Annotated[Shards | None, NoDecode, BeforeValidator(_parse_shards)] = None
    database_url: str = Field(default="sqlite:///data/timbre.db", repr=False)
    storage_keys: SecretStr = SecretStr("")
    modal_token_id: SecretStr | None = None
    modal_token_secret: SecretStr | None = None
    modal_config_path: Path = Path("~/.modal.toml")
    speech_backend: Literal["preview", "local", "modal", "http"] = Field(
        default_factory=_choose_backend
    )
    speech_url: Annotated[str, BeforeValidator(_parse_server)] | None = None
    speech_api_key: SecretStr = SecretStr("")
    speech_voice: Annotated[str, Field(max_length=200)] = ""
    speech_calls: Annotated[int, Field(ge=1, le=1000)] = 16
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
    seconds_per_person: Limit = 600
    seconds_per_server: Limit = 3_600
    seconds_in_all: Limit = 10_800
    requests_per_minute: Limit = 10
    at_once_per_person: Limit = 3
    at_once_per_server: Limit = 10
    voice_channels: Limit = 25
    audit_days: Annotated[int, Field(ge=1, le=3650)] = 30
    max_parallel_uploads: Annotated[int, Field(ge=1, le=64)] = 2
    report_channel: DiscordId | None = None
    api_keys: SecretStr = SecretStr("")
    voice_idle_minutes: Annotated[float, Field(ge=0.1, le=1440)] = 5
    voice_trace: bool = False
    privacy_url: Link | None = None
    terms_url: Link | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    @property
    def has_database(self) -> bool:
        """Whether there is a database that outlasts the process."""
        return self.database_url != NO_DATABASE

    def require_token(self) -> str:
        """Return the bot's token, or raise `SettingsError` that says where to get one."""
        if self.discord_token is None:
            raise SettingsError(
                "There's no Discord token. Put DISCORD_TOKEN=<your bot's token> into .env "
                "(copy .env.example) or the environment, then start again."
            )
        return self.discord_token.get_secret_value().strip()

    def require_speech_url(self) -> str:
        """Return the speech server's address, or raise `SettingsError` that says what to do."""
        if self.speech_url is None:
            raise SettingsError(
                "There's no speech server. Put SPEECH_URL=<its address>, such as "
                "http://gpu.example:8091, into .env or the environment, then start again."
            )
        return self.speech_url

    def speech_key(self) -> str:
        """Return the key for the speech server, or "" for none.

        Raises `SettingsError` for one that no request could have.
        """
        key = self.speech_api_key.get_secret_value().strip()
        if not key.isascii() or not key.isprintable():
            raise SettingsError(
                "SPEECH_API_KEY can't be used: it holds something else than letters, digits and "
                "punctuation. Copy it again, then start again."
            )
        return key

    def require_database(self) -> None:
        """Raise `SettingsError` if there is no database to keep voices in."""
        if not self.has_database:
            raise SettingsError(
                "On Discord, voices are kept, so the bot needs a database. "
                "Remove DATABASE_URL=none, then start again."
            )

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
