"""`/settings` as a server's admins use it, and what it changes for the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from bot.guilds.limits import Limits
from bot.guilds.records import AuditAction
from bot.guilds.tables import AuditRow
from tests.support.discord_server import Answer, Member

if TYPE_CHECKING:
    from simcord.actors import MemberActor
    from simcord.builders import ChannelHandle

    from tests.support.discord_server import Server

ONLY_MANAGERS = "Only members with the Manage Server permission can use that. Ask one of them."
PERSONS_MINUTES = "Minutes of speech a day, for each person"


class Page:
    """The page of `/settings` that somebody has opened."""

    def __init__(self, member: Member, answer: Answer) -> None:
        assert answer.private is not None
        self.member, self.message = member, answer.private

    @property
    def words(self) -> str:
        """What is said above."""
        return self.message.content

    @property
    def says(self) -> dict[str, str]:
        """What the page says about each part."""
        [embed] = self.message.embeds
        return {field.name or "": field.value or "" for field in embed.fields}

    @property
    def _actor(self) -> MemberActor:
        return self.member.actor

    def _menus(self) -> list[dict[str, Any]]:
        rows = self.message.components
        return [item for row in rows for item in row["components"] if item["type"] != 2]

    async def opens(self, part: str) -> None:
        """Choose the part to be changed."""
        menu = self._menus()[0]
        [value] = [each["value"] for each in menu["options"] if each["label"] == part]
        await self._actor.select(self.message, [value], custom_id=menu["custom_id"])

    async def chooses(self, part: str, *handles: Any) -> None:
        """Choose the part, then channels or roles for it."""
        await self.opens(part)
        await self._actor.select(self.message, handles, custom_id=self._menus()[1]["custom_id"])

    def is_chosen(self) -> list[int]:
        """What the menu of the part shows as chosen."""
        return [int(each["id"]) for each in self._menus()[1]["default_values"]]

    async def limits(self, **written: str) -> None:
        """Open the form of the limits, and fill fields of it by their names."""
        await self.opens("Limits")
        form = await self._actor.click(self.message, label="Change the limits")
        await self._actor.submit_modal(form, written)


async def page_of(member: Member) -> Page:
    return Page(member, await member.types("settings"))


async def say_in(member: Member, channel: ChannelHandle, **options: Any) -> str:
    return Answer(await member.actor.slash(channel, "say", text="Hello.", **options)).told


@pytest_asyncio.fixture(loop_scope="module")
async def ada(ada: Member) -> Member:
    await ada.saves_voice()
    return ada


@pytest_asyncio.fixture(loop_scope="module")
async def page(manager: Member) -> Page:
    return await page_of(manager)


def test_shows_privately_what_holds(page: Page) -> None:
    assert page.message.ephemeral
    [embed] = page.message.embeds
    assert "Changes count from the next command on. `/stop` ends" in (embed.description or "")
    assert page.says["Who can speak"] == "Everyone"
    assert page.says["Where I can be used"] == "In every channel"
    assert f"{PERSONS_MINUTES}: **10**" in page.says["Limits"]


async def test_is_not_offered_to_everybody(ada: Member) -> None:
    with pytest.raises(Exception, match="default-member-permissions"):
        await ada.types("settings")


async def test_a_role_that_may_speak(server: Server, ada: Member, page: Page) -> None:
    role = server.guild.create_role("DJ")
    await page.chooses("Who can speak", role)
    assert page.words == "Saved."
    assert page.says["Who can speak"] == role.mention
    assert page.is_chosen() == [role.id]
    refused = await ada.types("say", text="Hello.")
    assert refused.told == (
        f"In this server, I speak only for members with the role {role.mention}. "
        "An admin can change that with `/settings`."
    )
    assert not refused.posted
    server.env.backend.add_member_role(server.guild.id, ada.actor.id, role.id)
    assert (await ada.types("say", text="Hello.")).posted

    await page.member.presses(page.message, "Clear")
    assert page.says["Who can speak"] == "Everyone"
    server.env.backend.remove_member_role(server.guild.id, ada.actor.id, role.id)
    assert (await ada.types("say", text="Hello.")).posted


async def test_roles_are_not_missed_while_discord_has_not_sent_the_server(
    server: Server, ada: Member, page: Page
) -> None:
    await page.chooses("Who can speak", server.guild.create_role("DJ"))
    guild = server.bot.get_guild(server.guild.id)
    assert guild is not None
    guild.unavailable = True
    assert (await ada.types("say", text="Hello.")).told.startswith("I'm reconnecting to Discord")
    await page.opens("Reports")
    assert page.words.startswith("I'm reconnecting to Discord, so I can't see this server's")


async def test_everyone_is_no_role(server: Server, page: Page) -> None:
    await page.chooses("Who can make voices", server.guild.default_role)
    assert page.says["Who can make voices"] == "Everyone who can speak"


async def test_a_role_that_was_deleted_lets_managers_speak_and_says_so(
    server: Server, ada: Member, page: Page
) -> None:
    dj, other = server.guild.create_role("DJ"), server.guild.create_role("other")
    await page.chooses("Who can speak", dj, other)
    server.env.backend.delete_role(server.guild.id, other.id)
    await page.opens("Who can speak")
    assert page.says["Who can speak"] == f"{dj.mention}, and 1 that was deleted"
    assert page.is_chosen() == [dj.id]

    server.env.backend.delete_role(server.guild.id, dj.id)
    await page.opens("Who can speak")
    assert page.says["Who can speak"].startswith("⚠️ Only members with Manage Server, because")
    assert (await ada.types("say", text="Hello.")).told.startswith("In this server, I speak only")
    await page.member.saves_voice()
    assert (await page.member.types("say", text="Hello.")).posted


async def test_channels_where_it_may_be_used(server: Server, ada: Member, page: Page) -> None:
    elsewhere = server.guild.create_text_channel("elsewhere")
    await page.chooses("Where I can be used", server.channel)
    assert (await say_in(ada, elsewhere)).startswith(
        f"In this server, I can be used only in {server.channel.mention}. Please try it there."
    )
    assert (await ada.types("say", text="Hello.")).posted
    # Whoever decides is not kept from deciding.
    again = Answer(await page.member.actor.slash(elsewhere, "settings"))
    assert again.private is not None
    assert again.private.embeds


async def test_voice_channels_where_it_may_be_heard(
    server: Server, ada: Member, page: Page
) -> None:
    guild = server.guild
    stage, lounge = guild.create_voice_channel("stage"), guild.create_voice_channel("lounge")
    await page.chooses("Voice channels", stage)
    await ada.actor.join_voice(lounge)
    only = f"In this server, I speak only in {stage.mention}. Join me there, or use `/say`"
    assert (await ada.types("say", text="Hello.", where="voice")).told.startswith(only)
    assert (await ada.types("join")).told.startswith(only)
    assert (await ada.types("say", text="Hello.")).posted, "a file, if nothing was chosen"


async def test_channels_that_were_deleted_are_shown_and_can_be_cleared(
    server: Server, ada: Member, page: Page
) -> None:
    elsewhere = server.guild.create_text_channel("elsewhere")
    await page.chooses("Where I can be used", elsewhere)
    server.env.backend.delete_channel(elsewhere.id)
    again = await page_of(page.member)
    assert again.says["Where I can be used"].startswith("⚠️ Nowhere, because every channel you")
    assert not (await ada.types("say", text="Hello.")).posted
    await again.opens("Where I can be used")
    await page.member.presses(again.message, "Clear")
    assert (await ada.types("say", text="Hello.")).posted


@pytest.mark.parametrize("part", ["Reports", "Log"])
async def test_a_channel_for_reports_and_the_log(server: Server, page: Page, part: str) -> None:
    channel = server.guild.create_text_channel("moderators")
    await page.chooses(part, channel)
    assert page.says[part] == channel.mention
    server.env.backend.delete_channel(channel.id)
    await page.opens(part)
    assert page.says[part].startswith("⚠️ Not posted, because the channel you chose was deleted.")


async def test_a_channel_where_it_may_not_post_is_not_taken(server: Server, page: Page) -> None:
    await server.forbids_bot(send_messages=False)
    await page.chooses("Reports", server.channel)
    assert page.words.startswith(f"I'm not allowed to post in {server.channel.mention}. Give me")
    assert page.says["Reports"].startswith("Not posted here.")


@pytest.mark.parametrize(
    ("part", "name", "on", "off"),
    [
        (
            "Who asked, in voice channels",
            "live_attribution",
            "Said in the channel's chat",
            "Not said, except in `/queue`",
        ),
        ("Consent read aloud", "spoken_consent", "Asked for", "Not asked for"),
    ],
)
async def test_switches(
    server: Server, page: Page, part: str, name: str, on: str, off: str
) -> None:
    for _ in range(2):
        turn_off = page.says[part] == on
        await page.opens(part)
        await page.member.presses(page.message, "Turn off" if turn_off else "Turn on")
        assert (page.words, page.says[part]) == ("Saved.", off if turn_off else on)
        kept = await server.bot.policy.settings.of(server.guild.id)
        assert getattr(kept, name) is not turn_off
    [first, second] = await _noted(server)
    assert [first.details, second.details] == [name] * 2


async def test_lower_limits(server: Server, page: Page) -> None:
    await page.limits(seconds_per_person="5", at_once_per_server=" 4 ")
    assert page.words == "Saved."
    assert f"{PERSONS_MINUTES}: **5** (whoever runs this bot allows 10)" in page.says["Limits"]
    assert page.says["Limits"].endswith("-# The other numbers come from whoever runs this bot.")
    kept = await server.bot.policy.settings.of(server.guild.id)
    assert (kept.seconds_per_person, kept.at_once_per_server) == (300, 4)
    assert kept.requests_per_minute is None

    form = await page.member.presses(page.message, "Change the limits")
    assert form.field_of_form(PERSONS_MINUTES) == "5", "what holds is filled in"
    await page.member.presses(page.message, "Clear")
    assert f"{PERSONS_MINUTES}: **10**" in page.says["Limits"]
    assert page.says["Limits"].endswith("-# These come from whoever runs this bot.")


@pytest.mark.parametrize("typed", ["0", "-1", "many", "1.5", "²", "11"])
async def test_other_limits_change_nothing(server: Server, page: Page, typed: str) -> None:
    await page.limits(at_once_per_person="1")
    await page.limits(at_once_per_person="2", seconds_per_person=typed)
    assert page.words.endswith("I changed nothing.")
    if typed == "11":
        assert f"allows at most 10 for “{PERSONS_MINUTES}”" in page.words
    kept = await server.bot.policy.settings.of(server.guild.id)
    assert (kept.at_once_per_person, kept.seconds_per_person) == (1, None)


async def test_an_operators_lower_limit_counts(
    server: Server, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    await page.limits(seconds_per_person="5")
    lower = Limits(
        seconds_per_person=120,
        seconds_per_server=3_650,
        requests_per_minute=1_000_000,
        at_once_per_person=None,
    )
    monkeypatch.setattr(server.bot.policy, "limits", lower)
    await page.opens("Limits")
    assert "Minutes of speech a day, for all together: **60.83**" in page.says["Limits"]
    assert "Commands a minute, for each person: **1,000,000**" in page.says["Limits"]
    assert f"{PERSONS_MINUTES}: **2**\n" in page.says["Limits"]
    assert "Commands at the same time, for each person: **no limit**" in page.says["Limits"]


async def test_all_of_it_works_after_a_restart(server: Server, ada: Member, page: Page) -> None:
    role = server.guild.create_role("DJ")
    await page.opens("Limits")
    form = await page.member.actor.click(page.message, label="Change the limits")
    await server.restarts()
    await page.member.actor.submit_modal(form, {"seconds_per_person": "5"})
    assert f"{PERSONS_MINUTES}: **5**" in page.says["Limits"]
    await page.chooses("Who can speak", role)
    await server.restarts()
    assert (await ada.types("say", text="Hello.")).told.startswith("In this server, I speak only")
    await page.member.presses(page.message, "Clear")
    assert (await ada.types("say", text="Hello.")).posted


async def test_a_member_who_lost_the_permission_changes_nothing(server: Server, page: Page) -> None:
    guild = server.guild
    await page.opens("Limits")
    form = await page.member.actor.click(page.message, label="Change the limits")
    server.env.backend.remove_member_role(
        guild.id, page.member.actor.id, guild.roles["managers"].id
    )
    await page.member.actor.submit_modal(form, {"seconds_per_person": "5"})
    assert page.words == ONLY_MANAGERS
    assert (await server.bot.policy.settings.of(guild.id)).seconds_per_person is None


@pytest.mark.parametrize("press", ["opens", "clears", "opens the form"])
async def test_each_press_is_checked(server: Server, page: Page, press: str) -> None:
    guild = server.guild
    await page.opens("Limits")
    server.env.backend.remove_member_role(
        guild.id, page.member.actor.id, guild.roles["managers"].id
    )
    if press == "opens":
        await page.opens("Who can speak")
        assert page.words == ONLY_MANAGERS
    else:
        label = "Clear" if press == "clears" else "Change the limits"
        answer = await page.member.presses(page.message, label)
        assert ONLY_MANAGERS in {page.words, answer.told}
    assert not await _noted(server)


async def test_a_form_is_refused_before_discord_gives_up(
    server: Server, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_arguments: object) -> None:
        await asyncio.sleep(3_600)

    await page.opens("Limits")
    monkeypatch.setattr(server.bot.policy.moderation, "is_blocked", hang)
    answer = await page.member.presses(page.message, "Change the limits")
    assert answer.told.startswith("I can't look that up right now")


async def test_changes_are_noted(server: Server, page: Page) -> None:
    await page.chooses("Where I can be used", server.channel)
    await page.limits(requests_per_minute="3")
    [first, second] = await _noted(server)
    assert (first.action, first.actor_id) == (AuditAction.SETTINGS_CHANGED, page.member.actor.id)
    assert [first.details, second.details] == ["channels", "limits"]
    assert first.guild_id == server.guild.id


async def test_two_admins_change_different_parts(server: Server, page: Page) -> None:
    other = await page_of(server.manager("another"))
    role = server.guild.create_role("DJ")
    await page.opens("Who can speak")
    await other.limits(requests_per_minute="3")
    await page.chooses("Who can speak", role)
    assert page.says["Who can speak"] == role.mention
    assert "Commands a minute, for each person: **3**" in page.says["Limits"]


async def _noted(server: Server) -> list[AuditRow]:
    """What the audit log holds about the server."""
    audit = server.bot.policy.audit
    await audit.written()
    of_server = select(AuditRow).where(AuditRow.guild_id == server.guild.id)
    async with audit._database.read() as session:
        rows = list(await session.scalars(of_server.order_by(AuditRow.id)))
        session.expunge_all()
        return rows
