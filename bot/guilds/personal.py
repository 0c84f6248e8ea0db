"""What this room's tables keep about people, see `bot.storage.personal`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import or_

from bot.guilds.audit import WITHOUT_NAME
from bot.guilds.records import ReportState, Scope
from bot.guilds.tables import AuditRow, ReportRow, UsageDayRow
from bot.storage.personal import PersonalTable

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

_TABLES = AuditRow.metadata.tables


def _is_persons_usage(user_id: int) -> ColumnElement[bool]:
    return (UsageDayRow.scope == Scope.PERSON) & (UsageDayRow.scope_id == user_id)


def _may_know_line(user_id: int) -> ColumnElement[bool]:
    """When a person was reported isn't for them to know; `reports` has what was decided on it."""
    return or_(AuditRow.actor_id == user_id, AuditRow.action.not_in(WITHOUT_NAME))


def _may_know_report(user_id: int) -> ColumnElement[bool]:
    """While a report is open, the person it is about could make away with what it is about."""
    return or_(
        ReportRow.reporter_id == user_id,
        ReportRow.decided_by == user_id,
        ReportRow.state != ReportState.OPEN,
    )


PERSONAL = (
    PersonalTable(
        "usage",
        _TABLES["usage_days"],
        people=frozenset({"scope_id"}),
        about=_is_persons_usage,
        hidden={"scope": "only what the person used is exported"},
        outlives_deletion="today's use counts against limits, until tomorrow",
    ),
    PersonalTable(
        "requests_of_the_last_minute",
        _TABLES["requests"],
        people=frozenset({"user_id"}),
        outlives_deletion="they count against limits, for a minute",
    ),
    PersonalTable(
        "being_made_now",
        _TABLES["work"],
        people=frozenset({"user_id"}),
        outlives_deletion="it goes when it ends",
    ),
    PersonalTable(
        "keys_of_the_api",
        _TABLES["api_keys"],
        people=frozenset({"user_id"}),
        hidden={"key_hash": "what the key is compared with"},
    ),
    PersonalTable("posts", _TABLES["posts"], people=frozenset({"owner_id", "asker_id"})),
    PersonalTable(
        "log",
        _TABLES["audit"],
        people=frozenset({"actor_id", "owner_id"}),
        but=_may_know_line,
        outlives_deletion="what moderators decided, and what the person reported, until it is old",
    ),
    PersonalTable(
        "reports",
        _TABLES["reports"],
        people=frozenset({"owner_id", "asker_id", "reporter_id", "decided_by"}),
        but=_may_know_report,
        outlives_deletion="until they are old, so that they can be decided",
    ),
    PersonalTable(
        "blocks",
        _TABLES["blocks"],
        people=frozenset({"user_id", "by"}),
        outlives_deletion="or everybody could lift their own",
    ),
    PersonalTable(
        "voices_frozen_or_removed",
        _TABLES["voice_freezes"],
        people=frozenset({"owner_id", "by"}),
        outlives_deletion="what a moderator decided about the voices of others",
    ),
)
"""The tables with something about people."""

NOT_PERSONAL = {
    "server_settings": "what a server decided; nobody in it is named",
    "report_notices": "which messages of the bot's show a report",
    "secrets": "the key of the log's hashes",
}
"""The other tables, with the reason why nothing in them is about a person."""
