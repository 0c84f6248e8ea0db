"""Saving, renaming and deleting in any order, against a dictionary that does the same."""

from __future__ import annotations

import asyncio
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

from bot.errors import Reason, Refusal
from bot.storage.database import open_database
from bot.voices.library import VoiceLibrary
from tests.support.refusals import refused
from tests.voices.people import ANA, save

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

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
names = st.integers(min_value=0, max_value=len(SPELLINGS) - 1).flatmap(
    lambda number: st.tuples(st.just(number), st.sampled_from(SPELLINGS[number])),
)


class Shelves(RuleBasedStateMachine):
    """Two people with voices; `kept` is what each should have, as name number → spelling."""

    library: VoiceLibrary
    runner: asyncio.Runner
    games = 0

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    @initialize()
    def move_in(self) -> None:
        type(self).games += 1
        self.owners = [ANA + 2 * self.games, ANA + 2 * self.games + 1]
        self.kept: list[dict[int, str]] = [{}, {}]

    @rule(person=people, name=names)
    def save(self, person: int, name: tuple[int, str]) -> None:
        number, typed = name
        kept = self.kept[person]
        call = save(self.library, self.owners[person], typed)
        if number in kept or len(kept) == MOST:
            with pytest.raises(Refusal):
                self.run(call)
        else:
            assert self.run(call).name == typed.strip()
            kept[number] = typed.strip()

    @rule(person=people, name=names)
    def find(self, person: int, name: tuple[int, str]) -> None:
        number, typed = name
        call = self.library.find(self.owners[person], typed)
        if number in self.kept[person]:
            assert self.run(call).name == self.kept[person][number]
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
            del kept[name[0]]
            kept[new_name[0]] = new_name[1].strip()

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
        assert forgotten.voices == len(self.kept[person])
        self.kept[person].clear()

    @invariant()
    def everyone_has_what_they_should(self) -> None:
        for owner, kept in zip(self.owners, self.kept, strict=True):
            page = self.run(self.library.page(owner))
            assert page.total == len(kept)
            assert {voice.name for voice in page.voices} == set(kept.values())


@pytest.fixture
def shelves(sqlite_url: str) -> Iterator[type[Shelves]]:
    with asyncio.Runner() as runner:
        database = runner.run(open_database(sqlite_url))
        Shelves.runner = runner
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
