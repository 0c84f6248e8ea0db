"""Reads what a caller sends as consent, into the record that a voice prompt carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from backend.contract import ConsentMissingError, ConsentRecord

Consent = ConsentRecord | Mapping[str, object] | str
"""A record, its fields by name, or the statement that somebody agreed to."""

MAX_STATEMENT_CHARACTERS = 200

_FIELDS = {"attested_by", "attested_at", "statement_version"}
_HIGHEST_ID = 2**63 - 1
_NOBODY = 0


def read_consent(consent: Consent | None, *, is_required: bool) -> ConsentRecord | None:
    """Read what a caller sends as consent.

    A statement alone says neither who agreed nor when. Its record is attested by 0, now, and has
    the statement's first `MAX_STATEMENT_CHARACTERS` characters as its version. Lone surrogates,
    which no prompt can hold, are left out. A statement without a letter or a digit is none.

    Args:
        consent: What was sent, not trusted.
        is_required: Whether there must be one.

    Raises `ConsentMissingError` if one is required and missing, or if it is incomplete.
    """
    match consent:
        case None if is_required:
            raise ConsentMissingError("a voice needs consent: a record of it, or a statement")
        case None:
            return None
        case ConsentRecord():
            return _record(asdict(consent))
        case str():
            return ConsentRecord(_NOBODY, datetime.now(UTC), _statement(consent))
        case Mapping():
            return _record(consent)
        case _:
            raise ConsentMissingError("the consent is neither a record nor a statement")


def _record(fields: Mapping[str, object]) -> ConsentRecord:
    if fields.keys() != _FIELDS:
        raise ConsentMissingError(f"a consent record has the fields {', '.join(sorted(_FIELDS))}")
    attested_by = fields["attested_by"]
    if type(attested_by) is not int or not 0 <= attested_by <= _HIGHEST_ID:  # nor True, an int too
        raise ConsentMissingError("a consent record names who attested it by a Discord id")
    return ConsentRecord(
        attested_by, _moment(fields["attested_at"]), _statement(fields["statement_version"])
    )


def _moment(value: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ConsentMissingError("the consent record's time is not an ISO 8601 one") from None
    if not isinstance(value, datetime):
        raise ConsentMissingError("a consent record says when it was attested")
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _statement(value: object) -> str:
    if isinstance(value, str):
        whole = value.encode("utf-8", "ignore").decode("utf-8")
        statement = whole.strip()[:MAX_STATEMENT_CHARACTERS]
        if any(map(str.isalnum, statement)):
            return statement
    raise ConsentMissingError("the consent names no statement")
