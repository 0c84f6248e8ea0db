"""What a person agrees to before a voice is saved."""

from __future__ import annotations

CONSENT_STATEMENT = (
    "This is my own voice, or I have the speaker's permission to clone it. "
    "I will not use it to deceive or harm anyone."
)

CONSENT_VERSION = "2026-11"
"""Names the wording above. Change both together: everyone is then asked again."""
