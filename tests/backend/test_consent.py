"""Consent is a whole record or a statement; anything less is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backend.consent import MAX_STATEMENT_CHARACTERS, read_consent
from backend.contract import ConsentMissingError, ConsentRecord
from backend.voice_prompt import ClonedVoice, PromptModel, read_voice_prompt, write_voice_prompt

AGREED = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
FIELDS = {"attested_by": 4242, "attested_at": AGREED, "statement_version": "2026-05"}
RECORD = ConsentRecord(4242, AGREED, "2026-05")
MODEL = PromptModel("some/model", None, dimension=4, code_groups=2, codebook_size=10)


@pytest.mark.parametrize(
    "consent",
    [
        RECORD,
        FIELDS,
        {**FIELDS, "attested_at": "2026-05-17T12:30:00+00:00"},
        {**FIELDS, "attested_at": "2026-05-17T12:30:00"},
        {**FIELDS, "attested_at": AGREED.replace(tzinfo=None)},
        {**FIELDS, "attested_at": AGREED.astimezone(timezone(timedelta(hours=9)))},
    ],
)
def test_a_record_is_taken_as_it_is_or_by_its_fields(consent: Any) -> None:
    assert read_consent(consent, is_required=True) == RECORD


def test_a_statement_becomes_a_record_of_now() -> None:
    record = read_consent("  This is my own voice.  ", is_required=True)
    assert record is not None
    assert (record.attested_by, record.statement_version) == (0, "This is my own voice.")
    assert abs(datetime.now(UTC) - record.attested_at) < timedelta(minutes=1)


def test_a_long_statement_is_cut() -> None:
    record = read_consent("I agree. " * 1_000, is_required=True)
    assert record is not None
    assert len(record.statement_version) == MAX_STATEMENT_CHARACTERS


def test_without_consent_nothing_is_made_unless_the_deployment_asks_for_none() -> None:
    with pytest.raises(ConsentMissingError):
        read_consent(None, is_required=True)
    assert read_consent(None, is_required=False) is None


@pytest.mark.parametrize(
    "consent",
    [
        "",
        "   ",
        "\u200b\u2060",
        "\x00",
        "...",
        "\ud800",
        True,
        1,
        {},
        {"attested_by": 4242},
        {**FIELDS, "attested_by": "somebody"},
        {**FIELDS, "attested_by": -1},
        {**FIELDS, "attested_by": True},
        {**FIELDS, "attested_by": 2**63},
        {**FIELDS, "attested_at": "yesterday"},
        {**FIELDS, "attested_at": 0},
        {**FIELDS, "statement_version": ""},
        {**FIELDS, "statement_version": "\u200b"},
        {**FIELDS, "more": 1},
    ],
)
@pytest.mark.parametrize("is_required", [True, False])
def test_what_is_incomplete_is_no_consent(consent: Any, is_required: bool) -> None:
    with pytest.raises(ConsentMissingError):
        read_consent(consent, is_required=is_required)


@given(st.text(st.characters(), max_size=MAX_STATEMENT_CHARACTERS))  # with lone surrogates
@example("\ud800I agree.")
@example("\u200b")
def test_whatever_is_said_is_refused_or_is_in_the_prompt(statement: str) -> None:
    try:
        record = read_consent(statement, is_required=True)
    except ConsentMissingError:
        assert not any(map(str.isalnum, statement))
        return
    voice = ClonedVoice(np.ones(4, np.float32), consent=record)
    assert read_voice_prompt(write_voice_prompt(voice, MODEL), MODEL).consent == record
