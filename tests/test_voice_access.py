"""No sequence of commands lets a person use, see or delete a voice that they may not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import product
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
from bot.guilds.access import Actor
from bot.guilds.policy import Policy
from bot.guilds.records import EVERYWHERE, FreezeKind
from bot.storage.database import open_database
from bot.voice_access import VoiceAccess, asker_of
from bot.voices.consent import Permission, confirm
from bot.voices.library import VoiceLibrary
from bot.voices.rights import Audience, Share
from tests.support.databases import database_url, postgres_url, sqlite_url
from tests.support.refusals import refused
from tests.voices.people import ANA, CONFIRMED_AT, replace_recording, save

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from bot.storage.database import Database
    from bot.voices.records import SavedVoice

__all__ = ["database_url", "postgres_url", "sqlite_url"]

T = TypeVar("T")

PEOPLE, GUILDS, ROLES = range(3), range(2), range(2)
NAMES = ("Bob", "bOB ", "Ann #1", "Ann (by @0)")


@dataclass(frozen=True)
class Process:
    """A bot's view of the database."""

    database: Database
    library: VoiceLibrary
    policy: Policy
    access: VoiceAccess

    @classmethod
    async def begin(cls, url: str) -> Process:
        database = await open_database(url)
        library, policy = VoiceLibrary(database), Policy(database)
        return cls(database, library, policy, VoiceAccess(policy, library))


@dataclass
class Known:
    """A voice as the plain rule knows it; `shares` are pairs of a guild and an audience's id."""

    saved: SavedVoice
    owner: int
    shares: set[tuple[int, int]] = field(default_factory=set)
    frozen_in: set[int] = field(default_factory=set)


people, guilds, roles = st.sampled_from(PEOPLE), st.sampled_from(GUILDS), st.sampled_from(ROLES)
either = st.sampled_from((0, 1))
places = st.sampled_from((*GUILDS, None))
anything = st.integers(min_value=0, max_value=20)


async def attempted(call: Coroutine[Any, Any, T]) -> T | Reason:
    """What a call returns, or why it is refused."""
    try:
        return await call
    except Refusal as refusal:
        return refusal.reason


async def use_and_choose(library: VoiceLibrary, voice: SavedVoice, actor: Actor) -> None:
    await library.defaults.choose(asker_of(actor), voice)
    library.defaults.touch(voice, asker_of(actor))


class Neighbours(RuleBasedStateMachine):
    """Three people in two servers, served by two bots that share a database."""

    processes: tuple[Process, ...]
    runner: asyncio.Runner
    games = 0

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    @initialize()
    def move_in(self) -> None:
        type(self).games += 1
        first = ANA + 100 * self.games
        self.people = [first + number for number in PEOPLE]
        self.guilds = [first + 10 + number for number in GUILDS]
        self.roles = [first + 20 + number for number in ROLES]
        self.voices: dict[int, Known] = {}
        self.deleted: list[int] = []
        self.blocks: set[tuple[int, int]] = set()
        self.asking: set[int] = set()
        for person, (guild, audience, whom) in enumerate(
            ((0, Audience.EVERYONE, 0), (1, Audience.ROLE, 0), (0, Audience.MEMBER, 0))
        ):
            self.saves(0, person, "Bob", aloud=person == 0)
            self.shares(0, person, guild, audience, whom, by=person)

    def actor(self, person: int, guild: int | None, held: frozenset[int]) -> Actor:
        guild_id = None if guild is None else self.guilds[guild]
        role_ids = frozenset(self.roles[role] for role in held)
        return Actor(
            self.people[person], guild_id, role_ids=frozenset() if guild is None else role_ids
        )

    def one(self, number: int) -> Known | None:
        known = list(self.voices.values())
        return known[number % len(known)] if known else None

    # What people do, each in either process.

    @rule(process=either, person=people, name=st.sampled_from(NAMES), aloud=st.booleans())
    def saves(self, process: int, person: int, name: str, aloud: bool) -> None:
        owner, library = self.people[person], self.processes[process].library
        consent = confirm(Permission.OWN, by=owner, at=CONFIRMED_AT, is_spoken=aloud)
        saved = self.run(attempted(save(library, owner, name, consent=consent)))
        if isinstance(saved, Reason):
            assert saved is Reason.NAME_TAKEN
        else:
            self.voices[saved.id] = Known(saved, owner)

    @rule(
        process=either,
        number=anything,
        guild=guilds,
        audience=st.sampled_from(Audience),
        whom=st.integers(min_value=0, max_value=1),
        by=people,
    )
    def shares(
        self, process: int, number: int, guild: int, audience: Audience, whom: int, by: int
    ) -> None:
        known = self.one(number)
        if known is None:
            return
        guild_id, owner = self.guilds[guild], self.people[by]
        audience_id = {
            Audience.EVERYONE: guild_id,
            Audience.ROLE: self.roles[whom],
            Audience.MEMBER: self.people[whom],
        }[audience]
        share = Share(guild_id, audience, audience_id)
        claimed = replace(known.saved, owner_id=owner)
        sharing = self.processes[process].library.sharing
        call = sharing.share(claimed, share, owner_name=str(by))
        if owner != known.owner:
            with refused(Reason.NO_SUCH_VOICE):
                self.run(call)
            return
        assert self.run(call) == ((guild_id, audience_id) not in known.shares)
        known.shares.add((guild_id, audience_id))

    @rule(process=either, number=anything, guild=places, by=people)
    def unshares(self, process: int, number: int, guild: int | None, by: int) -> None:
        known = self.one(number)
        if known is None:
            return
        guild_id = None if guild is None else self.guilds[guild]
        claimed = replace(known.saved, owner_id=self.people[by])
        ended = self.run(
            self.processes[process].library.sharing.unshare(claimed, guild_id=guild_id)
        )
        theirs = {share for share in known.shares if guild_id in {None, share[0]}}
        if self.people[by] != known.owner:
            assert ended == 0
        else:
            assert ended == len(theirs)
            known.shares -= theirs

    @rule(process=either, number=anything, name=st.sampled_from(NAMES), by=people)
    def renames(self, process: int, number: int, name: str, by: int) -> None:
        known, library = self.one(number), self.processes[process].library
        if known is None:
            return
        renamed = self.run(attempted(library.rename(self.people[by], known.saved.name, name)))
        if isinstance(renamed, Reason):
            assert renamed in {Reason.NAME_TAKEN, Reason.NO_SUCH_VOICE}
        else:
            assert renamed.owner_id == self.people[by]
            self.voices[renamed.id].saved = renamed

    @rule(process=either, number=anything, by=people, aloud=st.booleans())
    def replaces(self, process: int, number: int, by: int, aloud: bool) -> None:
        """Whoever may use a voice may use it with its new recording; nobody else can make one."""
        known, library = self.one(number), self.processes[process].library
        if known is None:
            return
        consent = confirm(Permission.OWN, by=self.people[by], at=datetime.now(UTC), is_spoken=aloud)
        claimed = replace(known.saved, owner_id=self.people[by])
        call = replace_recording(library, claimed, consent=consent)
        if self.people[by] != known.owner:
            with refused(Reason.NO_SUCH_VOICE):
                self.run(call)
        else:
            known.saved = self.run(call)

    @rule(process=either, number=anything, by=people)
    def deletes(self, process: int, number: int, by: int) -> None:
        known = self.one(number)
        if known is None:
            return
        library = self.processes[process].library
        call = library.delete(replace(known.saved, owner_id=self.people[by]))
        if self.people[by] != known.owner:
            with refused(Reason.NO_SUCH_VOICE):
                self.run(call)
        else:
            self.run(call)
            self.gone(known)

    @rule(process=either, person=people)
    def is_forgotten(self, process: int, person: int) -> None:
        owner = self.people[person]
        self.run(self.processes[process].library.forget(owner))
        for known in [each for each in self.voices.values() if each.owner == owner]:
            self.gone(known)
        for known in self.voices.values():
            known.shares = {share for share in known.shares if share[1] != owner}

    def gone(self, known: Known) -> None:
        del self.voices[known.saved.id]
        self.deleted.append(known.saved.id)

    @rule(process=either, person=people, guild=places, blocks=st.booleans())
    def is_moderated(self, process: int, person: int, guild: int | None, blocks: bool) -> None:
        user_id, where = self.people[person], EVERYWHERE if guild is None else self.guilds[guild]
        moderation = self.processes[process].policy.moderation
        if blocks:
            self.run(moderation.block(user_id, where, by=None))
            self.blocks.add((user_id, where))
        else:
            self.run(moderation.unblock(user_id, where))
            self.blocks.discard((user_id, where))

    @rule(process=either, number=anything, guild=places, freezes=st.booleans())
    def is_frozen(self, process: int, number: int, guild: int | None, freezes: bool) -> None:
        known, where = self.one(number), EVERYWHERE if guild is None else self.guilds[guild]
        if known is None:
            return
        moderation, voice = self.processes[process].policy.moderation, known.saved
        if freezes:
            self.run(moderation.freeze(voice.id, known.owner, where, FreezeKind.FROZEN, by=None))
            known.frozen_in.add(where)
        else:
            self.run(moderation.lift(voice.id, where))
            known.frozen_in.discard(where)

    @rule(process=either, guild=guilds, asks=st.booleans())
    def asks_for_consent_aloud(self, process: int, guild: int, asks: bool) -> None:
        settings, guild_id = self.processes[process].policy.settings, self.guilds[guild]
        self.run(settings.change(guild_id, lambda old: replace(old, spoken_consent=asks)))
        (self.asking.add if asks else self.asking.discard)(guild_id)

    # What they may do, by the plain rule.

    def is_shared_with(self, actor: Actor, known: Known) -> bool:
        if actor.guild_id is None or known.owner == actor.user_id:
            return False
        counting = {actor.guild_id, actor.user_id, *(actor.role_ids or ())}
        return any(guild == actor.guild_id and id_ in counting for guild, id_ in known.shares)

    def is_blocked(self, user_id: int, actor: Actor) -> bool:
        return bool(self.blocks & {(user_id, EVERYWHERE), (user_id, actor.guild_id)})

    def is_kept_away(self, actor: Actor, known: Known) -> bool:
        is_frozen = bool(known.frozen_in & {EVERYWHERE, actor.guild_id})
        if actor.guild_id in self.asking and "spoken" not in known.saved.consent.statement_version:
            return True
        return is_frozen or self.is_blocked(known.owner, actor)

    def may_use(self, actor: Actor, known: Known) -> bool:
        has_right = known.owner == actor.user_id or self.is_shared_with(actor, known)
        is_blocked = self.is_blocked(actor.user_id, actor)
        return has_right and not is_blocked and not self.is_kept_away(actor, known)

    @rule(
        process=either,
        person=people,
        guild=places,
        held=st.frozensets(roles),
        number=anything,
        by_name=st.booleans(),
    )
    def uses_and_chooses(
        self,
        process: int,
        person: int,
        guild: int | None,
        held: frozenset[int],
        number: int,
        by_name: bool,
    ) -> None:
        """Whatever is found may be used; and whatever may be used is found by its number.

        So it is by the button under its speech, which is still there when the voice is gone.
        """
        actor, access = self.actor(person, guild, held), self.processes[process].access
        ids = [*self.voices, *self.deleted]
        if not ids:
            return
        voice_id = ids[number % len(ids)]
        known = self.voices.get(voice_id)
        pressed = self.run(attempted(access.voice(actor, voice_id)))
        if known is None:
            assert pressed is Reason.VOICE_DELETED
        else:
            assert isinstance(pressed, Reason) != self.may_use(actor, known)
        reference = known.saved.name if by_name and known is not None else f"Bob #{voice_id}"
        found = self.run(attempted(access.find(actor, reference)))
        if not isinstance(found, Reason):
            assert self.may_use(actor, self.voices[found.id])
            assert by_name or found.id == voice_id
            library = self.processes[process].library
            self.run(use_and_choose(library, found, actor))
        elif not by_name:
            assert known is None or not self.may_use(actor, known)
        default = self.run(attempted(access.default(actor)))
        if not isinstance(default, Reason):
            assert self.may_use(actor, self.voices[default.voice.id])

    @rule(process=either, person=people, guild=places, held=st.frozensets(roles))
    def looks(self, process: int, person: int, guild: int | None, held: frozenset[int]) -> None:
        """They see their own, and of others what is shared with them, and nothing else."""
        actor, access = self.actor(person, guild, held), self.processes[process].access
        own = {each.saved.name for each in self.voices.values() if each.owner == actor.user_id}
        shared = {
            voice_id: known
            for voice_id, known in self.voices.items()
            if self.is_shared_with(actor, known)
        }
        names, others = self.run(access.suggest(actor, ""))
        assert set(names) == own
        assert {voice.id for voice in others} == {
            voice_id for voice_id, known in shared.items() if not self.is_kept_away(actor, known)
        }
        for typed in ("bob", "N", "#1"):
            names, others = self.run(access.suggest(actor, typed))
            assert all(typed.casefold() in name.casefold() for name in names)
            assert set(names) <= own
            assert all(typed.casefold() in voice.name.casefold() for voice in others)
            assert {voice.id for voice in others} <= set(shared)
        page = self.run(access.shared_with(actor, limit=50))
        assert page.total == len(shared)
        assert {voice.id: voice.name for voice in page.voices} == {
            voice_id: known.saved.name for voice_id, known in shared.items()
        }

    @rule(process=either, person=people)
    def asks_over_http(self, process: int, person: int) -> None:
        """A key reaches what is shared with its person by name, where they may use that."""
        user_id, access = self.people[person], self.processes[process].access
        found = self.run(access.shared_by_name(user_id))
        assert {share.voice.id for _, share in found} == {
            voice_id
            for voice_id, known in self.voices.items()
            for guild_id in self.guilds
            if known.owner != user_id
            and (guild_id, user_id) in known.shares
            and self.may_use(Actor(user_id, guild_id), known)
        }
        assert len({share.voice.id for _, share in found}) == len(found)
        for actor, share in found:
            assert self.run(access.voice(actor, share.voice.id)).name == share.voice.name

    def teardown(self) -> None:
        """In the end, each of them tries each voice everywhere."""
        for person, guild in product(PEOPLE, (*GUILDS, None)):
            actor, access = self.actor(person, guild, frozenset({0})), self.processes[1].access
            for voice_id, known in self.voices.items():
                tried = self.run(attempted(access.voice(actor, voice_id)))
                assert isinstance(tried, Reason) != self.may_use(actor, known)
            _, others = self.run(access.suggest(actor, ""))
            assert {voice.id for voice in others} == {
                voice_id
                for voice_id, known in self.voices.items()
                if self.is_shared_with(actor, known) and not self.is_kept_away(actor, known)
            }

    @invariant()
    def the_owner_sees_who_may_use_it(self) -> None:
        rights = self.run(self.processes[0].library.sharing.rights([*self.voices, *self.deleted]))
        assert {
            voice_id: {(share.guild_id, share.audience_id) for share in each.shares}
            for voice_id, each in rights.items()
        } == {voice_id: known.shares for voice_id, known in self.voices.items()}


@pytest.fixture
def neighbours(sqlite_url: str) -> Iterator[type[Neighbours]]:
    with asyncio.Runner() as runner:
        opened = [runner.run(Process.begin(sqlite_url)) for _ in range(2)]
        Neighbours.runner, Neighbours.processes = runner, tuple(opened)
        yield Neighbours
        for process in opened:
            runner.run(process.database.close())


@pytest.mark.slow
def test_in_any_order_nobody_gets_at_what_they_may_not(neighbours: type[Neighbours]) -> None:
    run_state_machine_as_test(
        neighbours,
        settings=settings(
            max_examples=5,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


async def test_two_processes_see_each_others_shares_at_once(database_url: str) -> None:
    ours, theirs = [await Process.begin(database_url) for _ in range(2)]
    ben = Actor(ANA + 1, guild_id=7, role_ids=frozenset({9}))
    voice = await save(ours.library, ANA, "Bob")
    for share in (
        Share.with_everyone(7),
        Share(7, Audience.ROLE, 9),
        Share(7, Audience.MEMBER, ben.user_id),
    ):
        await ours.library.sharing.share(voice, share, owner_name="ana")
        assert (await theirs.access.find(ben, "bob")).id == voice.id
        by_name = await theirs.access.shared_by_name(ben.user_id)
        assert len(by_name) == (share.audience is Audience.MEMBER)
        await ours.library.sharing.unshare(voice, guild_id=7, audience_id=share.audience_id)
        with refused(Reason.NO_VOICE_TO_USE):
            await theirs.access.find(ben, "bob")
    for process in (ours, theirs):
        await process.database.close()


@pytest.mark.slow
async def test_two_hundred_commands_at_once(database_url: str) -> None:
    """Half of them share, rename, unshare and delete what the others search and use."""
    both = [await Process.begin(database_url) for _ in range(2)]
    saves = (save(both[n % 2].library, ANA + n, f"Voice {n}") for n in range(50))
    voices = await asyncio.gather(*saves)

    async def owns(n: int) -> None:
        library, voice = both[n % 2].library, voices[n % 50]
        assert await library.sharing.share(voice, Share(7, Audience.ROLE, n), owner_name=str(n))
        await library.sharing.share(voice, Share.with_everyone(7), owner_name=str(n))
        if n < 25:
            await library.rename(voice.owner_id, f"Voice {n}", f"Other {n}")
        elif n < 50:
            await library.sharing.unshare(voice, audience_id=7)

    async def uses(n: int) -> None:
        access, asker = both[n % 2].access, Actor(ANA + 100 + n, guild_id=7)
        _, offered = await access.suggest(asker, "")
        for each in offered[:2]:
            found = await attempted(access.find(asker, each.reference))
            if isinstance(found, Reason):
                assert found is Reason.VOICE_NOT_SHARED, "meanwhile"
            else:
                assert found.id == each.id

    await asyncio.gather(*(owns(n) for n in range(100)), *(uses(n) for n in range(100)))
    page = await both[1].access.shared_with(Actor(ANA + 500, guild_id=7), limit=50)
    assert {voice.id for voice in page.voices} >= {voice.id for voice in voices[:25]}
    assert {f"Other {n}" for n in range(25)} <= {voice.name for voice in page.voices}
    rights = await both[0].library.sharing.rights([voice.id for voice in voices])
    assert all(len(each.shares) in {2, 3} for each in rights.values())
    for process in both:
        await process.database.close()
