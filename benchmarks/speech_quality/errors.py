"""The one error of the quality benchmark that is about what was asked for."""

from __future__ import annotations


class CannotMeasureError(Exception):
    """What was asked for cannot be measured. The text tells the person at the terminal why."""
