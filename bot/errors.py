"""Refusals: what a person is told when something cannot be done."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """Something that was asked for is not possible, for a reason the person can act on.

    Its text is a whole sentence or two, shown to the person as it is: it names the problem and the
    remedy, and quotes nothing from an upload.
    """
