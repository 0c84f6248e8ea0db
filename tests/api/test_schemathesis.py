"""Whatever a client sends that the OpenAPI document allows, or nearly so, has an answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks

from tests.support.api import Api, saved

if TYPE_CHECKING:
    from schemathesis import Case

EXAMPLES = 5
"""Of each route and kind."""

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@pytest.mark.slow
async def test_every_answer_has_the_documented_form(api: Api, recording: bytes) -> None:
    await saved(api, recording)
    async with api.client() as client:
        document = (await client.get("/openapi.json")).json()
        headers = {"authorization": client.headers["authorization"]}
    asked = await asyncio.to_thread(_ask_everything, document, api.url, headers)
    assert len(asked) == 10, "every route was asked"
    assert asked["POST /v1/audio/speech"] >= 2 * EXAMPLES


def _ask_everything(document: dict[str, Any], url: str, headers: dict[str, str]) -> Counter[str]:
    load_all_checks()
    wanted: list[Any] = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS]
    asked: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        case: Case[Any] = data.draw(operation.as_strategy(generation_mode=mode))
        asked[operation.label] += 1
        case.call_and_validate(url, headers=headers, checks=wanted, timeout=30)

    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr] # the document is valid
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):  # noqa: B007 - `ask` reads it
            with suppress(Unsatisfiable):  # nothing can be wrong where nothing is sent
                ask()
    return asked
