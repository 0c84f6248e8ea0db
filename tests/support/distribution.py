"""Which tests run in one process, so that they share what is slow to set up."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

SHARE_NOTHING = (
    "tests/commands/test_database_failures.py",
    "tests/commands/test_hanging_engine.py",
    "tests/commands/test_shutdown.py",
    "tests/commands/test_tokens.py",
    "tests/commands/voice/",
    "tests/playback/",
)
"""Each of these tests opens a Discord of its own. Most of them wait, so they may spread out."""

SHARE_ONE_DEPLOYMENT = (
    "tests/deploy/test_guide_caller.py",
    "tests/deploy/test_service.py",
    "tests/deploy/test_service_from_discord.py",
    "tests/deploy/test_service_lifecycle.py",
)
"""These call one deployed service. Its container takes ten seconds of a processor to start."""


def together(nodeid: str) -> str:
    """The name of the tests that run in one process with this one."""
    if nodeid.startswith(SHARE_NOTHING):
        return nodeid
    if nodeid.startswith(SHARE_ONE_DEPLOYMENT):
        return "the deployed service"
    return nodeid.partition("::")[0]


class Distribution(LoadScopeScheduling):  # type: ignore[misc] # it has no types
    """pytest-xdist's `--dist loadfile`, with files split and joined as said above.

    The first tests of all are the longest. What waits behind each of them is short.
    """

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)

    def _reschedule(self, node: Any) -> None:
        has_begun = any(any(done.values()) for done in self.assigned_work[node].values())
        if self.workqueue and not has_begun:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._reschedule(node)
