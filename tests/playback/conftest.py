"""A guild with a loopback voice server, and members who speak there."""

from __future__ import annotations

from tests.support.voice_fixtures import ada, backend, grace, guild

__all__ = ["ada", "backend", "grace", "guild"]
