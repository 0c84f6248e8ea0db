"""Which tests run in one process, so that they share what is slow to set up."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

SHARE_NOTHING = ("tests/commands/", "tests/playback/")
"""Each of these tests opens a Discord of its own. Most of them wait, so they may spread out."""

SHARE_ONE_DEPLOYMENT = (
    "tests/deploy/test_guide_caller.py",
    "tests/deploy/test_service.py",
    "tests/deploy/test_service_from_discord.py",
    "tests/deploy/test_service_lifecycle.py",
)
"""These call one deployed service. Its container takes ten seconds of a processor to start."""


class Distribution(LoadScopeScheduling):  # type: ignore[misc] # it has no types
    """pytest-xdist's `--dist loadfile`, with files split and joined as said above."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(SHARE_NOTHING):
            return nodeid
        if nodeid.startswith(SHARE_ONE_DEPLOYMENT):
            return "the deployed service"
        return nodeid.partition("::")[0]
