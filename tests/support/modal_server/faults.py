"""What a test can have go wrong at the door where clients come in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from grpclib import GRPCError, Status

TOKEN_ID = "ak-loopback"  # noqa: S105 - opens nothing but a test's own server
TOKEN_SECRET = "as-loopback"  # noqa: S105 - likewise


@dataclass
class Faults:
    """What goes wrong until the test sets it back.

    Attributes:
        credentials_revoked: The right token is refused like a wrong one.
        quota_exhausted: New calls are refused, as when a workspace's spending limit is reached.
        answer_delay_seconds: How long each request of a client waits before it is looked at.
        cold_start_seconds: How long a new container takes before its process starts.
    """

    credentials_revoked: bool = False
    quota_exhausted: bool = False
    answer_delay_seconds: float = 0.0
    cold_start_seconds: float = 0.0

    async def meet(self, rpc: str, token_id: str | None, token_secret: str | None) -> None:
        """Let a client's request through, or raise what Modal would answer instead."""
        await asyncio.sleep(self.answer_delay_seconds)
        if self.credentials_revoked or (token_id, token_secret) != (TOKEN_ID, TOKEN_SECRET):
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID or secret is invalid")
        if self.quota_exhausted and rpc == "FunctionMap":
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "Workspace spending limit reached")
