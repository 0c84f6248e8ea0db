"""Interactions whose tokens end, as Discord's do after 15 minutes."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from unittest.mock import patch

import discord
from simcord import interactions
from simcord.backend.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simcord.backend.models import Interaction
    from simcord.env import Env

LIFETIME = timedelta(minutes=15)
INVALID_WEBHOOK_TOKEN = 50027


class Tokens:
    """The tokens of one simulated Discord.

    simcord answers a token that has ended with 404, by its own clock. Discord answers with 401,
    which counts toward a ban of the bot's address.

    Attributes:
        refused: How many requests came with a token that had ended.
    """

    _watched: ClassVar[dict[Env, Tokens]] = {}

    def __init__(self, env: Env) -> None:
        self.refused = 0
        self._env = env
        self._ends: dict[str, datetime] = {}
        self._find = env.backend.interaction_by_token
        env.backend.interaction_by_token = self._look_up  # type: ignore[method-assign]

    @classmethod
    def watch(cls, env: Env) -> None:
        """Take over the tokens of a simulated Discord."""
        cls._watched[env] = cls(env)

    @classmethod
    def of(cls, env: Env) -> Tokens:
        """Return the tokens of a simulated Discord that is watched."""
        return cls._watched[env]

    @classmethod
    def forget(cls, env: Env) -> None:
        """Let go of a simulated Discord that has ended."""
        del cls._watched[env]

    @contextmanager
    def last_only(self, seconds: float) -> Iterator[None]:
        """Let interactions that begin meanwhile be so old that so many seconds are left to them.

        It is for tests in real time; the others let the simulated time pass.
        """
        build = interactions.base_payload

        def build_old(*arguments: Any, **options: Any) -> tuple[Interaction, dict[str, Any]]:
            record, payload = build(*arguments, **options)
            ends = datetime.now(UTC) + timedelta(seconds=seconds)
            self._ends[record.token] = ends
            began = discord.utils.time_snowflake(ends - LIFETIME)
            payload["id"] = str(began + record.id % 4096)
            self._env.backend.interactions[int(payload["id"])] = record
            return record, payload

        with patch.object(interactions, "base_payload", build_old):
            yield

    def end(self) -> None:
        """Let every token end now, sooner than the bot can know."""
        for token in self._env.backend.interaction_tokens:
            self._ends[token] = datetime.min.replace(tzinfo=UTC)

    def never_end(self) -> None:
        """Let the tokens that there are last, whatever the interactions' ids say."""
        for token in self._env.backend.interaction_tokens:
            self._ends[token] = datetime.max.replace(tzinfo=UTC)

    def _look_up(self, token: str) -> Interaction:
        if self._has_ended(token):
            self.refused += 1
            raise BackendError(401, INVALID_WEBHOOK_TOKEN, "Invalid Webhook Token")
        return self._find(token)

    def _has_ended(self, token: str) -> bool:
        if token in self._ends:
            return datetime.now(UTC) >= self._ends[token]
        backend = self._env.backend
        record = backend.interactions[backend.interaction_tokens[token]]
        return record.expires_at is not None and backend.now_iso() >= record.expires_at
