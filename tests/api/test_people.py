"""A key is a person: with that person's voices, limits, blocks and erasure, and nobody else's."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bot.api import service
from bot.api.errors import CLIENTS_WAIT_SECONDS
from bot.guilds.records import EVERYWHERE, AuditAction, FreezeKind, Scope
from bot.voices.consent import Permission
from bot.voices.rights import Audience, Share
from tests.api.test_speech import SPEECH, TWO_SENTENCES, Pause, in_base64, until_nothing_runs
from tests.support.api import ANA, BEN, CAT, Api, running_api, saved

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    import httpx

    from bot.voices.records import SavedVoice
    from tests.support.scripted_backend import ScriptedBackend

VOICES = "/v1/audio/voices"
WORDS = [f"{a}{b}{c}o" for a in "bdfgklmnp" for b in "aeiou" for c in "rst"]
"""Three to a second."""


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_voice_is_saved_listed_used_and_deleted(api: Api, recording: bytes) -> None:
    async with api.client() as client:
        form = {
            "name": " Großmutter 👵 ",
            "consent": "With Permission",
            "language": "english",
            "ref_text": "x",
        }
        sample = {"audio_sample": ("x.wav", recording)}
        voice = (await client.post(VOICES, data=form, files=sample)).json()
        assert voice["name"] == "Großmutter 👵"
        assert (voice["object"], voice["language"], voice["ref_text"]) == (
            "audio.voice",
            "English",
            "x",
        )
        listed = (await client.get(VOICES)).json()
        assert [each["id"] for each in listed["data"]] == [voice["id"]]
        assert (listed["total"], listed["has_more"]) == (1, False)
        for name in (voice["id"], "GROSSMUTTER 👵"):
            assert (await client.get(f"{VOICES}/{name}")).json()["id"] == voice["id"]
        kept = await api.services.library.find(ANA, voice["name"])
        assert kept.consent.statement_version == Permission.GIVEN.statement_version
        assert (
            await client.post(SPEECH, json={"input": "x y", "voice": {"id": voice["id"]}})
        ).is_success
        deleted = (await client.delete(f"{VOICES}/{voice['id']}")).json()
        assert deleted == {
            "id": voice["id"],
            "object": "audio.voice.deleted",
            "deleted": True,
            "copies_left": False,
        }
        assert (await client.get(VOICES)).json()["data"] == []
        assert code_of(await client.delete(f"{VOICES}/{voice['id']}")) == (404, "no_such_voice")
    audit = api.services.policy.audit
    await audit.written()
    lines = await audit.after(0, guild_id=None, since=None, limit=10)
    assert [(line.action, line.details) for line in lines] == [
        (AuditAction.CLONED, f"api: {Permission.GIVEN.statement_version}"),
        (AuditAction.SPOKE_FILE, "api"),
        (AuditAction.DELETED, "api"),
    ]


async def test_forms_that_cannot_be_used_name_the_field(api: Api, recording: bytes) -> None:
    sample = {"audio_sample": ("x.wav", recording)}
    whole = {"name": "Me", "consent": "true"}
    cases: list[tuple[dict[str, str], dict[str, Any], int, str]] = [
        ({"name": "Me"}, sample, 400, "consent"),
        ({**whole, "consent": "no"}, sample, 400, "consent"),
        ({"consent": "true"}, sample, 400, "name"),
        ({**whole, "name": " "}, sample, 400, "name"),
        ({**whole, "name": "x" * 33}, sample, 400, "name"),
        ({**whole, "name": "a\u202eb"}, sample, 400, "name"),
        (whole, {}, 400, "audio_sample"),
        (whole, {"audio_sample": ("x.wav", b"")}, 400, "audio_sample"),
        (whole, {"audio_sample": ("x.wav", b"no sound")}, 400, "audio_sample"),
        ({**whole, "language": "Klingon"}, sample, 400, "language"),
        ({**whole, "ref_text": "x" * 1_001}, sample, 400, "ref_text"),
        ({**whole, "ref_text": "a\0b"}, sample, 400, "ref_text"),
    ]
    async with api.client() as client:
        for form, files, status, param in cases:
            answer = await client.post(VOICES, data=form, files=files or None)
            assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), form
        await saved(api, recording)
        answer = await client.post(VOICES, data=whole, files=sample)
        assert code_of(answer) == (400, "name_taken")
        for query in ({"limit": 0}, {"limit": 101}, {"offset": -1}):
            assert (await client.get(VOICES, params=query)).status_code == 400
        for path in ("a\u202eb", "voice_0", "voice_999999999", "%00", "a/b", "..%2fx"):
            assert (await client.get(f"{VOICES}/{path}")).status_code == 404


async def test_other_peoples_voices_are_as_if_there_were_none(api: Api, recording: bytes) -> None:
    voice = await saved(api, recording)
    async with api.client(BEN) as ben, api.client() as ana:
        assert (await ben.get(VOICES)).json()["data"] == []

        async def ask(method: str, wanted: str) -> tuple[int, bytes]:
            if method == "POST":
                answer = await ben.post(SPEECH, json={"input": "Hello.", "voice": wanted})
            else:
                answer = await ben.request(method, f"{VOICES}/{wanted}")
            return answer.status_code, answer.content

        for method in ("GET", "DELETE", "POST"):
            unknown = await ask(method, "nothing of that name")
            assert unknown[0] == 404
            for name in ("Me", f"voice_{voice.id}"):
                assert await ask(method, name) == unknown
        assert (await ana.get(f"{VOICES}/Me")).is_success


GUILD = 77
NAMED_BEN = Share(GUILD, Audience.MEMBER, BEN)


async def shared(api: Api, voice: SavedVoice, share: Share = NAMED_BEN, owner: str = "ana") -> None:
    assert await api.services.library.sharing.share(voice, share, owner_name=owner)


async def test_a_voice_that_is_shared_by_name_is_listed_and_spoken_with(
    api: Api, recording: bytes
) -> None:
    voice = await saved(api, recording)
    await saved(api, recording, "Mine", BEN)
    await shared(api, voice)
    await shared(api, voice, Share(GUILD + 1, Audience.MEMBER, BEN))
    async with api.client(BEN) as ben:
        listed = (await ben.get(VOICES)).json()
        assert [each["name"] for each in listed["data"]] == ["Mine", "Me"]
        assert (listed["total"], listed["has_more"]) == (2, False)
        pages = [(await ben.get(VOICES, params={"limit": 1, "offset": i})).json() for i in range(3)]
        assert [[each["name"] for each in page["data"]] for page in pages] == [["Mine"], ["Me"], []]
        assert [page["has_more"] for page in pages] == [True, False, False]
        others = listed["data"][1]
        assert (others["id"], others["owner"]) == (f"voice_{voice.id}", "ana")
        assert [others[field] for field in ("ref_text", "last_used_at", "seconds")] == [None] * 3

        for name in ("me", "Me (by @ana)", {"id": others["id"]}):
            assert (await ben.post(SPEECH, json={"input": "Hello.", "voice": name})).is_success
        assert (await ben.get(f"{VOICES}/{others['id']}")).json() == others
        assert code_of(await ben.delete(f"{VOICES}/{others['id']}")) == (404, "no_such_voice")

        assert (await ben.get(VOICES)).json()["data"][0] == listed["data"][0], "it wasn't used"
    audit = api.services.policy.audit
    await audit.written()
    lines = (await audit.page(GUILD)).entries
    assert [(line.actor_id, line.owner_id, line.details) for line in lines] == [
        (BEN, ANA, "api")
    ] * 3, "moderators see it where the voice is shared"


@pytest.mark.parametrize(
    "share",
    [
        Share.with_everyone(GUILD),
        Share(GUILD, Audience.ROLE, 5),
        Share(GUILD, Audience.MEMBER, 5),
        Share(GUILD, Audience.ROLE, BEN),
    ],
)
async def test_what_only_discord_can_check_is_not_shared_with_a_key(
    api: Api, recording: bytes, share: Share
) -> None:
    await shared(api, await saved(api, recording), share)
    async with api.client(BEN) as ben:
        assert (await ben.get(VOICES)).json()["data"] == []
        answer = await ben.post(SPEECH, json={"input": "Hello.", "voice": "Me"})
        assert code_of(answer) == (404, "no_such_voice")


async def test_what_a_server_decides_holds_for_voices_that_are_shared_there(
    api: Api, recording: bytes
) -> None:
    voice = await saved(api, recording)
    await shared(api, voice)
    policy = api.services.policy
    moderation, settings = policy.moderation, policy.settings

    async def forbids(change: Awaitable[object], undo: Awaitable[object]) -> None:
        await change
        assert (await ben.get(VOICES)).json()["data"] == []
        answer = await ben.post(SPEECH, json={"input": "Hello.", "voice": "Me"})
        assert code_of(answer) == (404, "no_such_voice")
        await undo
        assert len((await ben.get(VOICES)).json()["data"]) == 1

    async with api.client(BEN) as ben:
        await forbids(moderation.block(BEN, GUILD, by=None), moderation.unblock(BEN, GUILD))
        await forbids(moderation.block(ANA, GUILD, by=None), moderation.unblock(ANA, GUILD))
        await forbids(
            moderation.freeze(voice.id, ANA, GUILD, FreezeKind.FROZEN, by=None),
            moderation.lift(voice.id, GUILD),
        )
        await forbids(
            settings.change(GUILD, lambda old: replace(old, speak_roles=frozenset({5}))),
            settings.change(GUILD, lambda old: replace(old, speak_roles=frozenset())),
        )
        await forbids(
            settings.change(GUILD, lambda old: replace(old, spoken_consent=True)),
            settings.change(GUILD, lambda old: replace(old, spoken_consent=False)),
        )


async def test_speech_ends_when_its_voice_is_shared_no_more(
    api: Api, backend: ScriptedBackend, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SECONDS_TO_ENFORCE", 0.05)
    voice = await saved(api, recording)
    await shared(api, voice)
    pause = Pause(backend, at=1)
    recurring = asyncio.create_task(service.keep_up(api.context))
    async with api.client(BEN) as ben:
        asking = asyncio.create_task(ben.post(SPEECH, json={"input": "Hello.", "voice": "Me"}))
        await pause.reached.wait()
        await api.services.library.sharing.unshare(voice)
        assert code_of(await asking) == (404, "voice_unshared_meanwhile")
    recurring.cancel()
    assert pause.cancelled.is_set()


async def test_voices_of_one_name_are_told_apart_by_their_ids(api: Api, recording: bytes) -> None:
    first, second = [await saved(api, recording, name) for name in ("Me", "You")]
    twin = await saved(api, recording, "Me", CAT)
    for voice, owner in ((first, "ana"), (second, "ana"), (twin, "cat")):
        await shared(api, voice, owner=owner)
    async with api.client(BEN) as ben:
        answer = await ben.post(SPEECH, json={"input": "Hello.", "voice": "Me"})
        assert code_of(answer) == (400, "several_voices")
        assert f"voice_{first.id}, voice_{twin.id}" in answer.json()["error"]["message"]
        for name in (f"voice_{twin.id}", "Me (by @cat)"):
            assert (await ben.post(SPEECH, json={"input": "Hi.", "voice": name})).is_success


async def test_limits_hold_and_say_when_it_works_again(
    tmp_path: Path, backend: ScriptedBackend, recording: bytes
) -> None:
    limits: dict[str, Any] = {
        "requests_per_minute": 3,
        "at_once_per_person": 1,
        "seconds_per_person": 40,
    }
    async with running_api(tmp_path, backend, **limits) as api, api.client() as client:
        await saved(api, recording)
        pause = Pause(backend, at=1)
        first = asyncio.create_task(client.post(SPEECH, json={"input": "Hello."}))
        await pause.reached.wait()
        answer = await client.post(SPEECH, json={"input": "Hello."})
        assert code_of(answer) == (429, "too_many_commands")
        assert answer.headers["retry-after"] == "5"
        pause.goes_on.set()
        assert (await first).is_success
        answer = await client.post(
            SPEECH, json={"input": " ".join(WORDS[:115]), "language": "English"}
        )
        assert code_of(answer) == (429, "own_speech_too_little")
        assert answer.json()["error"]["type"] == "rate_limit_error"
        midnight = -time.time() % 86_400
        assert int(answer.headers["retry-after"]) == pytest.approx(midnight, abs=5)
        waits = int(answer.headers["retry-after"]) > CLIENTS_WAIT_SECONDS
        assert (answer.headers.get("x-should-retry") == "false") == waits
        assert code_of(
            await client.post(SPEECH, json={"input": " ".join(WORDS), "language": "English"})
        ) == (
            400,
            "longer_than_a_day",
        )
        answers = [await client.post(SPEECH, json={"input": "Hi."}) for _ in range(3)]
        assert code_of(answers[-1]) == (429, "too_many_requests")
        assert 0 < int(answers[-1].headers["retry-after"]) <= 61


async def test_a_recording_counts_once_a_day(
    tmp_path: Path, backend: ScriptedBackend, recording: bytes
) -> None:
    body = {"input": "Hello.", "ref_audio": in_base64(recording), "consent": True}
    async with running_api(tmp_path, backend, seconds_per_person=40) as api:

        async def used(person: int) -> float:
            await api.services.policy.ledger.written()
            return (await api.services.policy.usage.today(Scope.PERSON, person)).seconds

        async with api.client() as ana, api.client(BEN) as ben:
            assert (await ana.post(SPEECH, json=body)).is_success
            first = await used(ANA)
            assert first > 6
            for _ in range(3):  # 30 s more would not fit
                assert (await ana.post(SPEECH, json=body)).is_success
            assert await used(ANA) == pytest.approx(4 * (first - 6) + 6, abs=1)
            assert (await ben.post(SPEECH, json=body)).is_success
            assert await used(BEN) == pytest.approx(first), "it counts for each person"


async def test_direct_messages_may_be_off(
    tmp_path: Path, backend: ScriptedBackend, recording: bytes
) -> None:
    settings: dict[str, Any] = {"direct_messages": False, "allowed_servers": frozenset({7})}
    async with running_api(tmp_path, backend, **settings) as api, api.client() as client:
        await saved(api, recording)
        assert (await client.post(SPEECH, json={"input": "Hello."})).is_success


async def test_what_is_decided_on_discord_holds_here(
    api: Api, backend: ScriptedBackend, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = await saved(api, recording)
    moderation = api.services.policy.moderation
    speaks = {"input": TWO_SENTENCES}
    clones = {"input": "Hello.", "ref_audio": in_base64(recording), "consent": True}
    async with api.client() as client:
        await moderation.freeze(voice.id, ANA, EVERYWHERE, FreezeKind.FROZEN, by=None)
        assert code_of(await client.post(SPEECH, json=speaks)) == (403, "voice_frozen")
        await moderation.lift(voice.id, EVERYWHERE)

        await moderation.block(ANA, EVERYWHERE, by=None)
        assert code_of(await client.post(SPEECH, json=speaks)) == (403, "blocked_everywhere")
        assert code_of(await client.post(SPEECH, json=clones)) == (403, "blocked_everywhere")
        assert (await client.get(VOICES)).is_success, "what is one's own can be seen"
        await moderation.unblock(ANA, EVERYWHERE)

        pause = Pause(backend, at=1)
        asking = asyncio.create_task(client.post(SPEECH, json=speaks))
        await pause.reached.wait()
        monkeypatch.setattr(service, "SECONDS_TO_ENFORCE", 0.05)
        await moderation.block(ANA, EVERYWHERE, by=None)
        recurring = asyncio.create_task(service.keep_up(api.context))
        assert code_of(await asking) == (403, "blocked_everywhere")
        assert pause.cancelled.is_set()
        await moderation.unblock(ANA, EVERYWHERE)

        pause = Pause(backend, at=1)
        asking = asyncio.create_task(client.post(SPEECH, json=speaks))
        await pause.reached.wait()
        await api.services.library.delete(voice)
        assert code_of(await asking) == (404, "voice_deleted_meanwhile")
        recurring.cancel()
    await until_nothing_runs(api)


async def test_a_stored_key_works_until_it_is_revoked_or_its_person_forgotten(
    tmp_path: Path, backend: ScriptedBackend
) -> None:
    async with running_api(tmp_path, backend) as api, api.client(None) as client:
        keys = api.services.policy.api_keys
        key, stored = await keys.create(ANA, "laptop")
        other, _ = await keys.create(BEN)

        async def status(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return (await client.get(VOICES, headers=headers)).status_code

        assert [await status(each) for each in (key, other, key[:-1], key + "x")] == [
            200,
            200,
            401,
            401,
        ]
        await keys.written()
        assert (await keys.all(ANA))[0].last_used_at is not None
        assert await keys.revoke(stored.id) is not None
        assert await keys.revoke(stored.id) is None
        assert [await status(each) for each in (key, other)] == [401, 200]
        assert (await api.services.policy.forget(BEN)).had_any
        assert await status(other) == 401


async def test_no_voice_is_kept_of_whoever_had_everything_deleted_meanwhile(
    api: Api, backend: ScriptedBackend, recording: bytes
) -> None:
    library, policy = api.services.library, api.services.policy
    key, _ = await policy.api_keys.create(CAT)
    preparing, goes_on = asyncio.Event(), asyncio.Event()

    async def wait(_clip: object) -> None:
        preparing.set()
        await goes_on.wait()

    backend.on_prepare = wait
    async with api.client(None) as client:
        client.headers["authorization"] = f"Bearer {key}"
        saving = asyncio.create_task(
            client.post(
                VOICES,
                files={"audio_sample": ("me.wav", recording)},
                data={"name": "Me", "consent": "own voice"},
            )
        )
        await preparing.wait()
        await policy.api_keys.forget(CAT)
        await library.forget(CAT)
        goes_on.set()
        assert code_of(await saving) == (401, "invalid_api_key")
    assert not await library.keeps_anything_about(CAT)


async def test_the_gate_refuses_before_anything_is_fetched(
    tmp_path: Path, backend: ScriptedBackend
) -> None:
    async def fetch(_address: str) -> bytes:
        raise AssertionError("it was asked")

    body = {"input": "Hello.", "ref_audio": "https://example.com/x.wav", "consent": True}
    async with (
        running_api(tmp_path, backend, fetch=fetch, seconds_per_person=20) as api,
        api.client() as client,
    ):
        assert code_of(await client.post(SPEECH, json=body)) == (400, "longer_than_a_day")
        await api.services.policy.moderation.block(ANA, EVERYWHERE, by=None)
        assert code_of(await client.post(SPEECH, json=body)) == (403, "blocked_everywhere")
