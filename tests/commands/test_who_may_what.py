"""Who may do what: every actor and every action, as a plain rule says and as people meet it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import Reason, Refusal
from bot.guilds.access import Action, Actor, OperatorRules
from bot.guilds.policy import Policy
from bot.guilds.records import EVERYWHERE, ServerSettings
from bot.guilds.tables import BlockRow
from bot.interface.wording.sentences import REFUSALS
from bot.storage.database import open_database
from tests.support.discord_server import Answer, Member

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from bot.storage.database import Database
    from tests.support.discord_server import Server

ROLES = frozenset({301, 302})
VOICE = 403
CHANNELS = frozenset({401, 402, VOICE})
AT = datetime(2026, 11, 27, tzinfo=UTC)


def some(ids: frozenset[int]) -> st.SearchStrategy[frozenset[int]]:
    return st.frozensets(st.sampled_from(sorted(ids)))


@dataclass(frozen=True)
class Case:
    """Somebody who wants to do something, and all that was decided about that."""

    action: Action
    is_direct: bool
    is_operator: bool
    is_manager: bool
    roles: frozenset[int]
    channel: int
    is_blocked_here: bool
    is_blocked_everywhere: bool
    speak_roles: frozenset[int]
    clone_roles: frozenset[int]
    channels: frozenset[int]
    voice_channels: frozenset[int]
    allowed: bool | None
    takes_direct_messages: bool
    is_warm: bool

    def reason(self) -> Reason | None:
        """Why it is refused, or None: the first line that applies."""
        act, in_server, others = self.action, not self.is_direct, not self.is_operator
        makes_speech = act in {Action.SPEAK, Action.CLONE} and in_server and others
        has_to_have_role = makes_speech and not self.is_manager
        is_in_listed_channel = self.channel in self.channels | self.voice_channels
        lines = [
            (None, act is Action.OWN),
            (Reason.SERVER_NOT_ALLOWED, in_server and self.allowed is False),
            (
                Reason.NO_DIRECT_MESSAGES,
                self.is_direct
                and others
                and not self.takes_direct_messages
                and act is not Action.REPORT,
            ),
            (Reason.BLOCKED_EVERYWHERE, others and self.is_blocked_everywhere),
            (Reason.BLOCKED_HERE, others and in_server and self.is_blocked_here),
            (
                Reason.NOT_IN_THIS_CHANNEL,
                makes_speech and self.channels and not is_in_listed_channel,
            ),
            (
                Reason.ROLE_NEEDED_TO_SPEAK,
                has_to_have_role and self.speak_roles and not self.speak_roles & self.roles,
            ),
            (
                Reason.ROLE_NEEDED_TO_CLONE,
                has_to_have_role
                and act is Action.CLONE
                and self.clone_roles
                and not self.clone_roles & self.roles,
            ),
            (Reason.ONLY_IN_SERVERS, act is Action.MANAGE and self.is_direct),
            (Reason.ONLY_MANAGERS, act is Action.MANAGE and not self.is_manager),
            (
                Reason.ONLY_OPERATORS,
                act is Action.OPERATE and others and not (in_server and self.is_warm),
            ),
            (Reason.ONLY_MANAGERS, act is Action.OPERATE and others and not self.is_manager),
        ]
        return next((reason for reason, applies in lines if applies), None)


async def blocks(policy: Policy, user_id: int, guild_id: int) -> None:
    """Somebody blocks a person in a server, or everywhere."""
    async with policy.moderation._database.write() as session:
        session.add(BlockRow(user_id=user_id, guild_id=guild_id, at=AT))


cases = st.builds(
    Case,
    action=st.sampled_from(Action),
    channel=st.sampled_from(sorted(CHANNELS)),
    roles=some(ROLES),
    speak_roles=some(ROLES),
    clone_roles=some(ROLES),
    channels=some(CHANNELS),
    voice_channels=some(frozenset({VOICE})),
    allowed=st.sampled_from((None, True, False)),
)


class Judge:
    """Asks a policy about cases, each with a person and a server of its own."""

    def __init__(
        self, database: Database, run: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._database = database
        self._ids = count(1_000)
        self.run = run

    async def check(self, case: Case) -> None:
        person, server, another = next(self._ids), next(self._ids), next(self._ids)
        allowed = {None: frozenset[int](), True: frozenset({server}), False: frozenset({another})}
        rules = OperatorRules(
            operators=frozenset({person if case.is_operator else another}),
            allowed_servers=allowed[case.allowed],
            direct_messages=case.takes_direct_messages,
            warm_servers=frozenset({server if case.is_warm else another}),
        )
        policy = Policy(self._database, rules)
        await policy.settings.change(
            server,
            lambda settings: replace(
                settings,
                speak_roles=case.speak_roles,
                clone_roles=case.clone_roles,
                channels=case.channels,
                voice_channels=case.voice_channels,
            ),
        )
        await blocks(policy, person, another)
        if case.is_blocked_here:
            await blocks(policy, person, server)
        if case.is_blocked_everywhere:
            await blocks(policy, person, EVERYWHERE)
        actor = Actor(
            user_id=person,
            guild_id=None if case.is_direct else server,
            channel_id=case.channel,
            role_ids=frozenset() if case.is_direct else case.roles,
            is_manager=case.is_manager and not case.is_direct,
        )
        await policy.check(actor, case.action)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    file = tmp_path_factory.mktemp("policy") / "timbre.db"
    with asyncio.Runner() as runner:
        database = runner.run(open_database(f"sqlite:///{file}"))
        yield Judge(database, runner.run)
        runner.run(database.close())


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases)
def test_every_case_is_decided_as_the_plain_rule_says(judge: Judge, case: Case) -> None:
    case = replace(case, is_manager=case.is_manager and not case.is_direct)
    reason = None
    try:
        judge.run(judge.check(case))
    except Refusal as refusal:
        reason = refusal.reason
    assert reason == case.reason()


# What each person is told about each command, where "yes" means that it's done.
TABLE = """
           say      clone    join     list  word     words    settings  warm
anybody    speak    speak    speak    yes   yes      manage   manage    operate
speaker    yes      clone    yes      yes   yes      manage   manage    operate
cloner     speak    speak    speak    yes   yes      manage   manage    operate
both       yes      yes      yes      yes   yes      manage   manage    operate
manager    yes      yes      yes      yes   yes      yes      yes       operate
operator   yes      yes      yes      yes   yes      manage   manage    yes
elsewhere  channel  channel  channel  yes   yes      manage   manage    operate
blocked    blocked  blocked  blocked  yes   blocked  blocked  blocked   blocked
"""
[HEAD, *LINES] = [line.split() for line in TABLE.strip().splitlines()]
WORDS = {
    "speak": Reason.ROLE_NEEDED_TO_SPEAK,
    "clone": Reason.ROLE_NEEDED_TO_CLONE,
    "channel": Reason.NOT_IN_THIS_CHANNEL,
    "blocked": Reason.BLOCKED_HERE,
    "manage": Reason.ONLY_MANAGERS,
    "operate": Reason.ONLY_OPERATORS,
}
USES: dict[str, tuple[str, dict[str, Any]]] = {
    "say": ("say", {"text": "Hello.", "where": "file"}),
    "clone": ("clone", {"audio": ("voice.wav", b""), "permission": "own voice"}),
    "join": ("join", {}),
    "list": ("voice list", {}),
    "word": ("dictionary add", {"word": "GG", "spoken": "good game"}),
    "words": ("dictionary add", {"word": "GG", "spoken": "good game", "whose": "server"}),
    "settings": ("settings", {}),
    "warm": ("warm", {"minutes": 30}),
}


def outcome(answer: Answer) -> str:
    """The word for what a person was told, as in the table."""
    for word, reason in WORDS.items():
        beginning, *_ = re.split(r"[{.]", REFUSALS[reason])
        if answer.told.startswith(beginning):
            return word
    return "yes"


@pytest_asyncio.fixture(loop_scope="module")
async def people(server: Server) -> dict[str, Member]:
    """Members with the roles that their names tell, on a server that decided about roles."""
    guild = server.guild
    speak, clone = guild.create_role("speak"), guild.create_role("clone")
    roles = {"anybody": [], "operator": [], "speaker": [speak], "cloner": [clone]}
    people = {"manager": server.manager("manager")}
    for name, *_ in LINES:
        if name not in people:
            user, given = server.env.create_user(name), roles.get(name, [speak, clone])
            people[name] = Member(server, guild.add_member(user, roles=given))
    await server.restarts(operators=frozenset({people["operator"].actor.id}))
    for person in people.values():
        await person.saves_voice()
    decided = ServerSettings(
        speak_roles=frozenset({speak.id}),
        clone_roles=frozenset({clone.id}),
        channels=frozenset({server.channel.id}),
    )
    await server.bot.policy.settings.change(guild.id, lambda _before: decided)
    await blocks(server.bot.policy, people["blocked"].actor.id, guild.id)
    return people


@pytest.mark.usefixtures("careless_client")
async def test_people_are_told_what_the_table_says(
    server: Server, people: dict[str, Member]
) -> None:
    elsewhere = server.guild.create_text_channel("elsewhere")
    for name, *expected in LINES:
        channel = elsewhere if name == "elsewhere" else server.channel
        told = []
        for use in HEAD:
            command, options = USES[use]
            answer = Answer(await people[name].actor.slash(channel, command, **options))
            told.append(outcome(answer))
        assert dict(zip(HEAD, told, strict=True)) == dict(zip(HEAD, expected, strict=True)), name
