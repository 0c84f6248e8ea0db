"""What can be decided about reports and claims, by whom, and what that changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import discord
import pytest

from bot.guilds.dismissal import dismiss
from bot.guilds.records import EVERYWHERE, AuditAction, FreezeKind, ServerSettings
from tests.support.discord_server import Member
from tests.support.report_scene import REASON, labels, open_scene, says, shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.discord_server import Answer
    from tests.support.report_scene import Scene

FROZEN = "That voice is frozen: somebody reported it, or says that it's their own."


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as opened:
        yield opened


async def claims(scene: Scene, message: discord.Message) -> Answer:
    """Grace says that the voice of a message is hers."""
    return await scene.grace.types("voice claim", message=message.jump_url)


async def test_a_server_decides_for_itself_and_all_notices_say_so(scene: Scene) -> None:
    await scene.reported(await scene.speech(), "Rude")
    frozen = await scene.admin.presses(scene.notice, "Freeze the voice")
    assert frozen.told == "Frozen. Nobody can use that voice in this server until it's unfrozen."
    assert (await says(scene.ada)).startswith("That voice was reported, so it's frozen in this")
    for notice in (scene.notice, scene.direct_notice):
        assert "The voice is frozen in the server." in shown(notice)["State"]
        assert notice.content == "They write:\n```\nRude\n```"
    assert "Freeze the voice" in labels(scene.direct_notice), "the operator may still freeze it"

    await scene.admin.presses(scene.notice, "Unfreeze the voice")
    assert not await says(scene.ada)
    await scene.admin.presses(scene.notice, "Remove the voice")
    assert (await says(scene.ada)).startswith("The admins of this server have removed that voice")
    assert shown(scene.notice)["State"].startswith(
        f"Acted on in the server by <@{scene.admin.actor.id}>, <t:"
    )
    assert labels(scene.notice) == ["Block its owner"]


async def test_the_buttons_work_after_a_restart(scene: Scene) -> None:
    await scene.reported(await scene.speech())
    await scene.server.restarts()
    frozen = await scene.admin.presses(scene.notice, "Freeze the voice")
    assert frozen.told.startswith("Frozen.")
    assert labels(scene.notice)[0] == "Unfreeze the voice"


async def test_only_managers_and_operators_decide_and_not_about_themselves(scene: Scene) -> None:
    await scene.reported(await scene.speech())
    refused = await scene.grace.presses(scene.notice, "Freeze the voice")
    assert refused.told.startswith("Only members with the Manage Server permission can use that.")

    await scene.admin.saves_voice()
    [own] = (await scene.admin.types("say", text="Hello.")).posted
    await scene.reported(own)
    about_them = await scene.admin.presses(scene.notice, "Dismiss")
    assert about_them.told.startswith("That report is about you")
    assert labels(scene.notice)[-1] == "Dismiss"
    blocked = await scene.operator_presses(scene.direct_notice, "Block its owner")
    assert blocked.told.startswith("Blocked.")


async def test_an_owner_can_be_blocked_and_unblocked(scene: Scene) -> None:
    await scene.reported(await scene.speech())
    blocked = await scene.admin.presses(scene.notice, "Block its owner")
    ada = scene.ada.actor.id
    assert blocked.told == f"Blocked. <@{ada}> can't make or use voices in this server any more."
    assert "blocked you" in await says(scene.ada)
    assert "Its owner is blocked in the server." in shown(scene.direct_notice)["State"]
    assert "Dismiss" not in labels(scene.notice)
    assert "Dismiss" in labels(scene.direct_notice), "operators look at it themselves"

    await scene.operator_presses(scene.direct_notice, "Block its owner")
    unblocked = await scene.admin.presses(scene.notice, "Unblock its owner")
    assert unblocked.told.startswith("Unblocked here. But whoever runs this bot still blocks")
    await scene.operator_presses(scene.direct_notice, "Unblock its owner")
    assert not await says(scene.ada)


async def test_whoever_runs_the_bot_or_a_server_is_not_blocked(scene: Scene) -> None:
    managers = next(role for name, role in scene.server.guild.roles.items() if name == "admins")
    user = scene.server.env.create_user("another")
    another = Member(scene.server, scene.server.guild.add_member(user, roles=[managers]))
    for member, sentence in (
        (scene.operator, "That's one of those who run this bot."),
        (another, "That's a member with Manage Server."),
    ):
        await member.saves_voice()
        [message] = (await member.types("say", text="Hello.")).posted
        await scene.reported(message)
        refused = await scene.admin.presses(scene.notice, "Block its owner")
        assert refused.told.startswith(sentence)
        assert labels(scene.notice)[-1] == "Dismiss", "nothing was decided"

    scene.server.breaks("GET", "/guilds/*/members/*", status=500, times=10)
    await scene.reported(await scene.speech())
    unsure = await scene.admin.presses(scene.notice, "Block its owner")
    assert unsure.told.startswith("Something broke on my side.")
    guild = scene.server.bot.get_guild(scene.server.guild.id)
    assert guild is not None
    guild.unavailable = True
    unsure = await scene.admin.presses(scene.notice, "Block its owner")
    assert unsure.told.startswith("I'm reconnecting to Discord")
    guild.unavailable = False
    assert not await says(scene.ada)


async def test_a_dismissed_report_is_closed_and_its_freeze_lifted(scene: Scene) -> None:
    await scene.reported(await scene.speech())
    await scene.admin.presses(scene.notice, "Freeze the voice")
    dismissed = await scene.admin.presses(scene.notice, "Dismiss")
    assert dismissed.told == "Dismissed."
    assert labels(scene.notice) == []
    assert not await says(scene.ada)
    assert shown(scene.direct_notice)["State"].startswith("Dismissed in the server by")

    await scene.operator_presses(scene.direct_notice, "Dismiss")
    assert shown(scene.notice)["State"].startswith("Dismissed everywhere by")
    assert labels(scene.notice)[-1] == "Block its owner", "the server can still act for itself"


async def test_an_operator_deletes_a_voice_everywhere_once_they_are_sure(scene: Scene) -> None:
    await scene.reported(await scene.speech())
    asked = await scene.operator_presses(scene.direct_notice, "Remove the voice")
    assert asked.told == ("Delete the voice **Bob** with its recording? This can't be undone.")
    await scene.operator_presses(asked.private, "Keep")
    assert not await says(scene.ada)
    asked = await scene.operator_presses(scene.direct_notice, "Remove the voice")
    await scene.operator_presses(asked.private, "Delete")

    assert asked.told == "Deleted. That voice and its recording are gone for good."
    assert (await says(scene.ada)).startswith("You have no saved voice yet.")
    assert shown(scene.notice)["Voice"] == "`#1`, which is deleted"
    assert labels(scene.notice) == ["Block its owner"]


async def test_a_claim_freezes_a_voice_everywhere_until_an_operator_decides(scene: Scene) -> None:
    message = await scene.speech()
    answer = await claims(scene, message)
    assert answer.told == (
        "That voice is frozen now. Nobody can use it anywhere until this is decided. "
        "I told the server's moderators and whoever runs this bot. Whoever runs this bot decides, "
        "and may write to you to be sure that it's your voice. This is claim 1."
    )
    assert (await says(scene.ada)).startswith(FROZEN)
    assert scene.notice.embeds[0].title == "Claim 1: “That's my voice”"
    assert labels(scene.notice) == ["Remove the voice", "Block its owner"]
    assert "until then it's frozen" in str(scene.notice.embeds[0].footer.text)

    decided = await scene.operator_presses(scene.direct_notice, "It isn't: unfreeze the voice")
    assert decided.told == "Dismissed. Its owner can use that voice again."
    assert not await says(scene.ada)
    assert (await claims(scene, message)).told.startswith("You've sent that before")


async def test_a_claim_that_is_right_ends_the_voice(scene: Scene) -> None:
    message = await scene.speech()
    report = await scene.reported(message)
    await scene.grace.presses(report.private, "That's my voice")
    assert report.private is not None
    assert (await says(scene.ada)).startswith(FROZEN)

    await scene.admin.presses(scene.notice, "Remove the voice")
    assert shown(scene.notice)["State"].startswith("Waits for a decision.")
    asked = await scene.operator_presses(scene.direct_notice, "It's theirs: delete the voice")
    await scene.operator_presses(asked.private, "Delete")
    assert (await says(scene.ada)).startswith("You have no saved voice yet.")
    assert shown(scene.notice)["State"].startswith("Acted on everywhere by")


async def test_a_voice_that_was_only_tried_can_be_claimed(scene: Scene, recording: bytes) -> None:
    [tried] = (await scene.ada.clones(recording)).posted
    answer = await claims(scene, tried)
    assert answer.told.startswith("That voice isn't saved, so nobody can use it again, and")
    assert shown(scene.notice)["Voice"].startswith("Not saved")
    assert labels(scene.direct_notice) == ["Block its owner", "Dismiss"]
    assert (await claims(scene, await scene.speech())).told.startswith("That voice is frozen now.")
    own = await scene.ada.types("voice claim", message=tried.jump_url)
    assert own.told.startswith("You made that yourself")


async def test_everything_is_in_the_audit_log(scene: Scene) -> None:
    await scene.reported(await scene.speech(), "Something private")
    await scene.admin.presses(scene.notice, "Freeze the voice")
    await scene.admin.presses(scene.notice, "Dismiss")
    await claims(scene, await scene.speech())
    audit = scene.server.bot.policy.audit
    await audit.written()
    lines = (await audit.page(scene.server.guild.id)).entries
    noted = [(line.action, line.actor_id, line.details) for line in reversed(lines)]
    grace, admin = scene.grace.actor.id, scene.admin.actor.id
    assert [each for each in noted if each[0] is not AuditAction.SPOKE_FILE] == [
        (AuditAction.REPORTED, grace, "report 1"),
        (AuditAction.FROZEN, admin, "report 1"),
        (AuditAction.DECIDED, admin, "report 1"),
        (AuditAction.UNFROZEN, admin, "report 1"),
        (AuditAction.CLAIMED, grace, "claim 2"),
    ]


async def test_who_decides_what_was_decided_meanwhile_sees_how_it_stands(scene: Scene) -> None:
    """Somebody else pressed the same button, or another one, or an operator used a terminal."""
    await scene.reported(await scene.speech())
    policy, here, ada = scene.server.bot.policy, scene.server.guild.id, scene.ada.actor.id
    await policy.moderation.block(ada, here, by=7, report_id=1)
    late = await scene.admin.presses(scene.notice, "Block its owner")
    assert late.told.startswith("That was decided already, so I changed nothing.")
    assert labels(scene.notice)[-2:] == ["Unblock its owner", "Dismiss"]
    await policy.audit.written()
    lines = (await policy.audit.page(here)).entries
    assert AuditAction.BLOCKED not in {line.action for line in lines}, "by whoever was late"

    await dismiss(policy, 1, by=None, where=EVERYWHERE)
    late = await scene.admin.presses(scene.notice, "Dismiss")
    assert late.told.startswith("That was decided already")
    assert labels(scene.notice)[-1] == "Unblock its owner"
    assert labels(scene.direct_notice) == []
    assert shown(scene.direct_notice)["State"].startswith("Dismissed everywhere by whoever runs")


async def test_a_question_that_is_answered_too_late_changes_nothing(scene: Scene) -> None:
    """Two operators decide a claim: one deletes, the other finds that it isn't theirs."""
    await claims(scene, await scene.speech())
    asked = await scene.operator_presses(scene.direct_notice, "It's theirs: delete the voice")
    await dismiss(scene.server.bot.policy, 1, by=None, where=EVERYWHERE)
    await scene.operator_presses(asked.private, "Delete")
    assert asked.told.startswith("That was decided already, so I changed nothing.")
    assert not await says(scene.ada)


async def test_an_operator_can_finish_what_a_kill_has_cut_off(scene: Scene) -> None:
    """The bot was killed after a voice was removed everywhere, and before it was deleted."""
    await scene.reported(await scene.speech())
    moderation = scene.server.bot.policy.moderation
    await moderation.freeze(1, scene.ada.actor.id, EVERYWHERE, FreezeKind.REMOVED, by=None)
    asked = await scene.operator_presses(scene.direct_notice, "Remove the voice")
    await scene.operator_presses(asked.private, "Delete")
    assert asked.told.startswith("Deleted.")
    assert not await scene.server.bot.library.about([1])


async def test_a_claimed_voice_stays_frozen_whatever_is_decided_about_a_report(
    scene: Scene,
) -> None:
    message = await scene.speech()
    await scene.reported(message)
    report = scene.direct_notice
    await scene.operator_presses(report, "Freeze the voice")
    await claims(scene, message)
    claim = scene.direct_notice
    report = await report.channel.fetch_message(report.id)
    refused = await scene.operator_presses(report, "Unfreeze the voice")
    assert refused.told.startswith("Somebody says that this voice is their own, so it stays")
    await scene.operator_presses(report, "Dismiss")
    assert (await says(scene.ada)).startswith(FROZEN)
    await scene.operator_presses(claim, "It isn't: unfreeze the voice")
    assert not await says(scene.ada)


async def test_a_manager_of_another_server_has_no_hold_over_this_one(scene: Scene) -> None:
    """They know the voice's number and the message's link, and their server has a channel, too."""
    message = await scene.speech()
    await scene.reported(message)
    elsewhere, user = (
        scene.server.env.create_guild("Elsewhere"),
        scene.server.env.create_user("eve"),
    )
    role = elsewhere.create_role("admins", permissions=discord.Permissions(manage_guild=True))
    there = replace(scene.server, channel=elsewhere.create_text_channel("text"))
    eve = Member(there, elsewhere.add_member(user, roles=[role]))
    chosen = ServerSettings(report_channel_id=there.channel.id)
    await scene.server.bot.policy.settings.change(elsewhere.id, lambda _before: chosen)

    await scene.admin.presses(scene.notice, "Freeze the voice")
    for command, told in (
        ("remove", "No voice with that number was used here."),
        ("restore", "That voice isn't removed here."),
    ):
        assert (await eve.types(f"moderation {command}", voice="1")).told.startswith(told)
    assert (
        await eve.types("moderation voices")
    ).told == "No voice that still exists was used here yet."
    assert (await eve.types("moderation log")).told.startswith("Nothing like that happened here")
    form = await eve.types("report", message=message.jump_url)
    sent = await eve.submits(form, {REASON: "Mine to decide?"})
    assert sent.told.startswith("Thank you. I sent your report to the server's moderators")
    assert [each for each in there.channel.history() if each.embeds] == []
    assert len(scene.reports.history()) == 2
    assert (await says(scene.ada)).startswith("That voice was reported, so it's frozen in this")


async def test_old_reports_cannot_be_decided(scene: Scene) -> None:
    await scene.reported(await scene.speech())
    reports = scene.server.bot.policy.reports
    await reports.decide(1, "upheld", by=1, where=EVERYWHERE)  # type: ignore[arg-type]
    await reports.drop_before(discord.utils.utcnow())
    gone = await scene.admin.presses(scene.notice, "Freeze the voice")
    assert gone.told.startswith("I don't keep that report any more.")
