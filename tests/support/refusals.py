"""What a test expects to be refused."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from bot.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.errors import Reason


@contextmanager
def refused(reason: Reason, **values: object) -> Iterator[None]:
    """Expect the block to be refused for this reason, with exactly these values."""
    with pytest.raises(Refusal) as refusal:
        yield
    assert (refusal.value.reason, refusal.value.values) == (reason, values)
