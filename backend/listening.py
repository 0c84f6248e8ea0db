"""The transcript that a voice prompt rests on: given by a person, heard, or unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.contract import REFERENCE_SAMPLE_RATE, Heard
from backend.transcript_match import Verdict, compare

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.transcriber import Transcriber


def listen(
    transcriber: Transcriber | None, reference: NDArray[np.float32], given: str | None
) -> tuple[str | None, Heard | None]:
    """Find the transcript of a reference clip, and say what was heard in it. Blocks for seconds.

    A transcript that a person gave stands, even if something else was heard: recognisers err.

    Args:
        transcriber: Hears the clip; None where there is none, so that nothing is heard.
        reference: Mono `(n,)`, in [-1, 1], at `REFERENCE_SAMPLE_RATE`.
        given: What a person says is said in it, if anybody did.

    Returns:
        The transcript, or None if nobody knows it; and what was heard, or None if nothing listened.

    Raises `ReferenceUnusableError` if the clip cannot be heard.
    """
    given = (given or "").strip() or None
    if transcriber is None:
        return given, None
    heard = transcriber.transcribe(reference, REFERENCE_SAMPLE_RATE)
    if given is not None:
        differs = compare(given, heard) is Verdict.DIFFERS
        return given, Heard(heard.text, heard.language, differs)
    return heard.text or None, Heard(heard.text, heard.language)
