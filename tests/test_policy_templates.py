"""The templates of a privacy policy and of terms, which whoever runs the bot publishes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.settings import Settings

ROOT = Path(__file__).parents[1]
TEMPLATES = ("PRIVACY.md", "TERMS.md")


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_published_links_no_file_of_the_project(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    published = "\n".join(line for line in lines if not line.startswith(">"))
    targets = re.findall(r"\]\(([^)]+)\)", published)
    assert targets
    assert [each for each in targets if not each.startswith(("https://", "["))] == []


def test_the_days_in_the_template_are_the_setting_and_to_be_filled_in() -> None:
    days = Settings.model_fields["audit_days"].default
    policy = (ROOT / "PRIVACY.md").read_text()
    assert policy.count(f"[{days}: YOUR `AUDIT_DAYS`] days") == 3
    assert f"[{days}] days" not in policy
