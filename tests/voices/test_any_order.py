"""Saving, renaming, replacing and deleting in any order, against a dictionary that does the same.

What was saved as each voice's prompt and consent stays its own, and no other consent is kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from backend.contract import VoicePrompt
from bot.errors import Reason, Refusal
from bot.storage.database import open_database
from bot.voices.consent import Permission, confirm
from bot.voices.library import VoiceLibrary
from bot.voices.tables import ConsentRow
from tests.support.refusals import refused
from tests.voices.people import ANA, MODEL, consent_of, replace_recording, save

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from backend.contract import ConsentRecord
    from bot.storage.database import Database

T = TypeVar("T")

MOST = 3
SPELLINGS = (
    ("Straße", "STRASSE", "strasse", " straße"),
    ("Ana Maria", "ana maria", "ANA  MARIA"),
    ("İpek", "i\u0307pek"),
    ("Robot 🤖", "ROBOT 🤖", "\uff32obot 🤖"),
    ("%", "\uff05"),
)
"""Each line is one name, written in ways that are the same."""

people = st.integers(min_value=0, max_value=1)
prompts = st.binary(min_size=1, max_size=20)
moments = st.datetimes(datetime(2026, 12, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - as hypothesis takes them
names = st.integers(min_value=0, max_value=len(SPELLINGS) - 1).flatmap(
    lambda number: st.tuples(st.just(number), st.sampled_from(SPELLINGS[number])),
)


@dataclass
class Kept:
    """What should be kept of a voice."""

    name: str
    prompt: VoicePrompt
    consent: ConsentRecord


class Shelves(RuleBasedStateMachine):
    """Two people with voices; `kept` is what each should have, by the numbers of names."""

    database: Database
    library: VoiceLibrary
    runner: asyncio.Runner
    games = 0

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    @initialize()
    def move_in(self) -> None:
        type(self).games += 1
        self.owners = [ANA + 2 * self.games, ANA + 2 * self.games + 1]
        self.kept: list[dict[int, Kept]] = [{}, {}]

    @rule(
        person=people,
        name=names,
        data=prompts,
        permission=st.sampled_from(Permission),
        at=moments,
    )
    def save(
        self, person: int, name: tuple[int, str], data: bytes, permission: Permission, at: datetime
    ) -> None:
        number, typed = name
        kept, owner = self.kept[person], self.owners[person]
        consent, prompt = confirm(permission, by=owner, at=at), VoicePrompt(data, MODEL)
        call = save(self.library, owner, typed, consent=consent, prompt=prompt)
        if number in kept or len(kept) == MOST:
            with pytest.raises(Refusal):
                self.run(call)
        else:
            assert self.run(call).name == typed.strip()
            kept[number] = Kept(typed.strip(), prompt, consent)

    @rule(person=people, name=names)
    def save_with_the_consent_of_another(self, person: int, name: tuple[int, str]) -> None:
        consent = consent_of(self.owners[1 - person])
        with pytest.raises(ValueError, match="consent of its owner"):
            self.run(save(self.library, self.owners[person], name[1], consent=consent))

    @rule(person=people, name=names)
    def find(self, person: int, name: tuple[int, str]) -> None:
        number, typed = name
        call = self.library.find(self.owners[person], typed)
        if number in self.kept[person]:
            assert self.run(call).name == self.kept[person][number].name
        else:
            with refused(Reason.NO_SUCH_VOICE):
                self.run(call)

    @rule(person=people, name=names, new_name=names)
    def rename(self, person: int, name: tuple[int, str], new_name: tuple[int, str]) -> None:
        kept = self.kept[person]
        call = self.library.rename(self.owners[person], name[1], new_name[1])
        if name[0] not in kept or (new_name[0] in kept and new_name[0] != name[0]):
            with pytest.raises(Refusal):
                self.run(call)
        else:
            self.run(call)
            kept[new_name[0]] = replace(kept.pop(name[0]), name=new_name[1].strip())

    @rule(person=people, name=names, data=prompts, permission=st.sampled_from(Permission))
    def replace_recording(
        self, person: int, name: tuple[int, str], data: bytes, permission: Permission
    ) -> None:
        kept, owner = self.kept[person], self.owners[person]
        consent = confirm(permission, by=owner, at=datetime.now(UTC))
        prompt = VoicePrompt(data, MODEL)
        call = self.find_and_replace(owner, name[1], prompt, consent)
        if name[0] not in kept:
            with refused(Reason.NO_SUCH_VOICE):
                self.run(call)
        else:
            self.run(call)
            kept[name[0]] = Kept(kept[name[0]].name, prompt, consent)

    async def find_and_replace(
        self, owner_id: int, name: str, prompt: VoicePrompt, consent: ConsentRecord
    ) -> None:
        before = await self.library.find(owner_id, name)
        after = await replace_recording(self.library, before, prompt=prompt, consent=consent)
        assert (after.id, after.name) == (before.id, before.name)
        assert await self.library.prompt(before, MODEL) is None, "that was another recording"

    async def find_and_delete(self, owner_id: int, name: str) -> None:
        await self.library.delete(await self.library.find(owner_id, name))

    @rule(person=people, name=names)
    def delete(self, person: int, name: tuple[int, str]) -> None:
        call = self.find_and_delete(self.owners[person], name[1])
        if self.kept[person].pop(name[0], None) is None:
            with refused(Reason.NO_SUCH_VOICE):
                self.run(call)
        else:
            self.run(call)

    @rule(person=people)
    def forget(self, person: int) -> None:
        forgotten = self.run(self.library.forget(self.owners[person]))
        assert forgotten.voices == forgotten.consents == len(self.kept[person])
        self.kept[person].clear()

    @invariant()
    def everyone_has_what_they_should(self) -> None:
        for owner, kept in zip(self.owners, self.kept, strict=True):
            page = self.run(self.library.page(owner))
            assert page.total == len(kept)
            assert {voice.name: voice.consent for voice in page.voices} == {
                each.name: each.consent for each in kept.values()
            }
            assert {
                voice.name: self.run(self.library.prompt(voice, MODEL)) for voice in page.voices
            } == {each.name: each.prompt for each in kept.values()}
            assert self.run(self.consents_of(owner)) == len(kept)

    async def consents_of(self, owner: int) -> int:
        async with self.database.read() as session:
            records = select(func.count()).where(ConsentRow.user_id == owner)
            return await session.scalar(records) or 0


@pytest.fixture
def shelves(sqlite_url: str) -> Iterator[type[Shelves]]:
    with asyncio.Runner() as runner:
        database = runner.run(open_database(sqlite_url))
        Shelves.runner = runner
        Shelves.database = database
        Shelves.library = VoiceLibrary(database, max_voices_per_user=MOST)
        yield Shelves
        runner.run(database.close())


@pytest.mark.slow
def test_in_any_order_everyone_has_what_they_should(shelves: type[Shelves]) -> None:
    run_state_machine_as_test(
        shelves,
        settings=settings(
            max_examples=10,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
