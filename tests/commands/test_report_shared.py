"""Speech with a voice that somebody else shares: who is reported, and who is blocked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.errors import Reason
from bot.guilds.records import FreezeKind
from tests.commands.test_sharing import says, sentence, shares
from tests.support.report_scene import REASON, Scene, labels, open_scene, shown, uses_menu

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as scene:
        yield scene


async def test_who_had_it_said_is_blocked_and_not_the_owner_of_the_voice(scene: Scene) -> None:
    eve = scene.server.member("eve")
    await shares(scene.ada)
    [message] = (await says(eve)).posted
    await scene.reported(message)
    assert shown(scene.notice)["Its owner"].startswith(f"<@{scene.ada.actor.id}>")
    assert shown(scene.notice)["Asked for by"].startswith(f"<@{eve.actor.id}>")
    assert "Block who asked for it" in labels(scene.notice)

    blocked = await scene.admin.presses(scene.notice, "Block who asked for it")
    assert blocked.told.startswith(f"Blocked. <@{eve.actor.id}> can't make or use voices")
    assert (await says(eve)).told == sentence(scene.server, Reason.BLOCKED_HERE)
    assert (await says(scene.ada)).posted
    assert (await says(scene.grace)).posted
    log = (await scene.admin.types("moderation log")).told
    assert f"<@{scene.admin.actor.id}> blocked <@{eve.actor.id}>" in log
    await scene.admin.presses(scene.notice, "Unblock who asked for it")
    assert (await says(eve)).posted


async def test_the_owner_can_report_what_others_say_with_their_voice(scene: Scene) -> None:
    await shares(scene.ada)
    [message] = (await says(scene.grace)).posted
    form = await uses_menu(scene.ada, message)
    answer = await scene.ada.submits(form, {REASON: "Not with my voice."})
    assert answer.told.startswith("Thank you.")
    own = await uses_menu(scene.grace, message)
    assert own.told == sentence(scene.server, Reason.OWN_SPEECH)
    claim = await scene.ada.types("voice claim", message=message.jump_url)
    assert claim.told == sentence(scene.server, Reason.OWN_SPEECH), (
        "it is theirs, and nobody took it"
    )


async def test_a_claim_freezes_the_voice_for_all_who_share_it(scene: Scene) -> None:
    eve = scene.server.member("eve")
    await shares(scene.ada)
    [message] = (await says(eve)).posted
    await scene.grace.types("voice claim", message=message.jump_url)
    assert "Block its owner" in labels(scene.notice), "who cloned it, not who used it"
    freeze = await scene.server.bot.policy.moderation.freeze_of(1, None)
    assert freeze is not None
    assert freeze.kind is FreezeKind.FROZEN
    for member in (scene.ada, eve):
        assert not (await says(member)).posted


async def test_who_had_it_said_is_forgotten_with_the_message(scene: Scene) -> None:
    await shares(scene.ada)
    [message] = (await says(scene.grace)).posted
    posts = scene.server.bot.policy.posts
    assert await posts.keeps_anything_about(scene.grace.actor.id)
    asked = await scene.grace.types("forget")
    await scene.grace.presses(asked.private, "Delete")
    await posts.written()
    assert await posts.find(message.id) is None
    library = scene.server.bot.library
    assert not await library.keeps_anything_about(scene.grace.actor.id)
    assert (await says(scene.ada)).posted, "the voice is still there"
