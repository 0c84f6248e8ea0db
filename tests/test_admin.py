"""`python -m bot admin` as an operator types it, beside the database of a running bot."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from backend.contract import VoicePrompt
from bot import __main__ as command_line
from bot.guilds.api_keys import ApiKeys
from bot.guilds.policy import Policy
from bot.guilds.records import EVERYWHERE, AuditAction, FreezeKind, ReportKind, Subject
from bot.storage.database import open_database
from bot.storage.keys import new_key, read_keys
from bot.voices.library import VoiceLibrary
from tests.voices.people import consent_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

ANA, BEN, GUILD = 1_198_765_432_109_876_543, 2**63 - 1, 998_765_432_109_876_543
T = TypeVar("T")


class Terminal:
    """Where commands are typed, and what the bot finds in the database."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._url = url
        self._capsys = capsys

    def types(self, *words: str) -> tuple[int, str]:
        """Type a command; return the exit code, and what it says."""
        try:
            code = command_line.main(["admin", *words])
        except SystemExit as ended:  # as argparse does
            code = int(ended.code or 0)
        shown = self._capsys.readouterr()
        return code, (shown.out + shown.err).strip()

    def bot(self, work: Callable[[Policy, VoiceLibrary], Awaitable[T]]) -> T:
        """Do something as the bot does, on the same database."""

        async def run() -> T:
            database = await open_database(self._url)
            try:
                return await work(Policy(database), VoiceLibrary(database))
            finally:
                await database.close()

        return asyncio.run(run())


@pytest.fixture
def terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - {"PATH", "HOME"}:
        monkeypatch.delenv(name)
    url = f"sqlite:///{tmp_path}/timbre.db"
    monkeypatch.setenv("DATABASE_URL", url)
    terminal = Terminal(url, capsys)
    terminal.bot(nothing)  # it has run before
    return terminal


async def nothing(_policy: Policy, _library: VoiceLibrary) -> None:
    """The bot starts and stops."""


async def save_voice(library: VoiceLibrary, owner: int) -> int:
    prompt = VoicePrompt(data=b"300", model_id="scripted/1")
    saved = await library.save(
        owner,
        "Bob",
        clip_flac=b"fLaC",
        clip_seconds=12.0,
        transcript=None,
        language=None,
        prompt=prompt,
        consent=consent_of(owner),
        guild_id=None,
    )
    return saved.id


def test_a_database_that_is_not_there_is_not_made(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    code, said = terminal.types("reports")
    assert code == 2
    assert said == (
        f"There's no database {tmp_path}/other.db. Set DATABASE_URL to the one that the bot uses; "
        "the demo's is sqlite:///data/demo.db."
    )
    assert not (tmp_path / "other.db").exists()


def test_block_and_unblock(terminal: Terminal) -> None:
    assert terminal.types("block", str(BEN)) == (
        0,
        f"Blocked {BEN} everywhere. What they have running ends within seconds.",
    )
    assert terminal.types("block", str(BEN)) == (1, f"{BEN} was blocked everywhere already.")
    assert terminal.types("block", str(BEN), "--server", str(GUILD))[0] == 0
    assert terminal.types("unblock", str(BEN))[0] == 0
    assert terminal.types("unblock", str(BEN)) == (1, f"{BEN} wasn't blocked everywhere.")
    assert terminal.bot(lambda policy, _: policy.moderation.is_blocked(BEN, GUILD)) == GUILD
    page = terminal.bot(lambda policy, _: policy.audit.page(GUILD))
    assert [(each.action, each.actor_id, each.owner_id) for each in page.entries] == [
        (AuditAction.BLOCKED, None, BEN)
    ]


def test_whoever_runs_the_bot_is_not_blocked(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPERATORS", str(BEN))
    code, said = terminal.types("block", str(BEN))
    assert code == 1
    assert said.startswith(f"{BEN} is in OPERATORS, so a block wouldn't hold.")
    assert terminal.bot(lambda policy, _: policy.moderation.is_blocked(BEN, GUILD)) is None


def test_restore_lets_a_frozen_voice_be_used_again(terminal: Terminal) -> None:
    """As one whose report is so old that it isn't kept, so that its buttons don't work."""

    async def freeze(policy: Policy, library: VoiceLibrary) -> None:
        number = await save_voice(library, ANA)
        for where in (EVERYWHERE, GUILD):
            frozen = FreezeKind.FROZEN
            await policy.moderation.freeze(number, ANA, where, frozen, by=BEN, report_id=9)

    terminal.bot(freeze)
    assert terminal.types("restore", "#1") == (0, "Voice #1 isn't frozen everywhere any more.")
    assert terminal.types("restore", "1") == (1, "Voice #1 isn't frozen everywhere.")
    freezes = terminal.bot(lambda policy, _: policy.moderation.freezes_among([1]))
    assert [each.guild_id for each in freezes] == [GUILD], "a server decides for itself"
    assert terminal.types("restore", "1", "--server", str(GUILD))[0] == 0
    page = terminal.bot(lambda policy, _: policy.audit.page(GUILD))
    assert [each.action for each in page.entries] == [AuditAction.UNFROZEN]


def test_purge_deletes_everything_about_a_person(terminal: Terminal) -> None:
    async def use(policy: Policy, library: VoiceLibrary) -> None:
        for person in (ANA, BEN):
            number = await save_voice(library, person)
            policy.audit.note(
                AuditAction.SPOKE_FILE,
                actor_id=person,
                guild_id=GUILD,
                voice_id=number,
                owner_id=person,
            )

    terminal.bot(use)
    code, said = terminal.types("purge", str(ANA))
    assert code == 0
    assert said.startswith(f"Deleted everything about {ANA}: voices 1, consent records 1,")
    assert terminal.types("purge", str(ANA)) == (1, f"Nothing is kept about {ANA}.")
    assert terminal.bot(lambda _, library: library.about([1, 2])).keys() == {2}
    page = terminal.bot(lambda policy, _: policy.audit.page(GUILD))
    assert [entry.actor_id for entry in page.entries] == [BEN, None]


def test_purge_ends_keys_before_voices(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(policy: Policy, library: VoiceLibrary) -> None:
        await save_voice(library, ANA)
        await policy.api_keys.create(ANA)

    terminal.bot(use)
    order: list[type] = []
    for part in (ApiKeys, VoiceLibrary):

        def noted(self: Any, user_id: int, forget: Any = part.forget) -> Any:
            order.append(type(self))
            return forget(self, user_id)

        monkeypatch.setattr(part, "forget", noted)
    assert terminal.types("purge", str(ANA))[0] == 0
    assert order.index(ApiKeys) < order.index(VoiceLibrary)


def test_an_encrypted_database_is_administered_with_its_key(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key()

    async def save() -> None:
        database = await open_database(os.environ["DATABASE_URL"], read_keys(key))
        await save_voice(VoiceLibrary(database), ANA)
        await database.close()

    asyncio.run(save())
    monkeypatch.setenv("STORAGE_KEYS", key)
    assert terminal.types("remove", "1")[1] == f"Deleted voice #1 of {ANA}, with its recording."


def test_remove_deletes_a_voice_and_running_bots_know_why(terminal: Terminal) -> None:
    terminal.bot(lambda _, library: save_voice(library, ANA))
    assert terminal.types("remove", "#1") == (
        0,
        f"Deleted voice #1 of {ANA}, with its recording.",
    )
    assert terminal.types("remove", "1") == (1, "There's no voice #1.")
    assert terminal.bot(lambda _, library: library.about([1])) == {}
    freeze = terminal.bot(lambda policy, _: policy.moderation.freeze_of(1, None))
    assert freeze is not None
    assert freeze.kind is FreezeKind.REMOVED


def test_the_log_is_exported_as_json_lines(terminal: Terminal) -> None:
    terminal.types("block", str(BEN), "--server", str(GUILD))
    terminal.types("block", str(ANA))
    code, said = terminal.types("export-log")
    assert code == 0
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["owner_id"] for line in lines] == [BEN, ANA]
    assert set(lines[0]) == {
        *("id", "at", "action", "actor_id", "guild_id"),
        *("voice_id", "owner_id", "text_hash", "details"),
    }
    here = terminal.types("export-log", "--server", str(GUILD))[1]
    assert json.loads(here) == lines[0]
    assert terminal.types("export-log", "--since", "2999-01-01") == (0, "")
    assert terminal.types("export-log", "--since", "2020-01-01T10:00")[1] == said


def test_reports_are_listed_and_dismissed(terminal: Terminal) -> None:
    async def claim(policy: Policy, _library: VoiceLibrary) -> None:
        subject = Subject(guild_id=GUILD, channel_id=5, message_id=6, voice_id=12, owner_id=ANA)
        report = await policy.reports.file(ReportKind.CLAIM, subject, BEN)
        frozen = FreezeKind.FROZEN
        await policy.moderation.freeze(12, ANA, EVERYWHERE, frozen, by=BEN, report_id=report.id)

    assert terminal.types("reports") == (0, "No report is open.")
    terminal.bot(claim)
    code, said = terminal.types("reports")
    assert code == 0
    assert said.startswith(f"1: claim by {BEN} at ")
    assert said.endswith(
        f"voice #12 of {ANA}, https://discord.com/channels/{GUILD}/5/6",
    )
    assert terminal.types("dismiss", "1") == (
        0,
        "Claim 1 is dismissed. If its voice was frozen for that alone, it can be used again.",
    )
    assert terminal.types("reports") == (0, "No report is open.")
    assert terminal.bot(lambda policy, _: policy.moderation.freeze_of(12, None)) is None
    assert terminal.types("dismiss", "2")[0] == 1


@pytest.mark.parametrize(
    "words",
    [
        ("block", "ada"),
        ("block", "-5"),
        ("block", "0"),
        ("block", "9" * 25),
        ("block", str(2**63)),
        ("remove", str(2**31)),
        ("remove", "²"),
        ("export-log", "--since", "yesterday"),
        ("export-log", "--server", "x"),
        (),
    ],
)
def test_what_makes_no_sense_changes_nothing(terminal: Terminal, words: tuple[str, ...]) -> None:
    code, said = terminal.types(*words)
    assert code == 2
    assert "usage:" in said
