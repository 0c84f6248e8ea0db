"""What counts as wrong in `python -m benchmarks.voice --modes`."""

from __future__ import annotations

from benchmarks.voice_tally import Tally, summary
from tests.support.explanations import Cause
from tests.support.marked_speech import Account
from tests.support.voice_guild import SPOKEN

TOLD = f"**ada** {SPOKEN} <#1>."
DISCONNECTED = "I was disconnected from the voice channel. Use `/say` again to bring me back."


def known(*, missing: float = 0.0, repeated: float = 0.0) -> Account:
    return Account(0.0, 1.0, missing, repeated, 0.2, frozenset({0}), frozenset({1}))


def test_a_healthy_item_may_not_be_repeated_or_lost() -> None:
    tally = Tally()
    tally.judge_healthy("fine", known(), TOLD)
    assert tally.is_good
    tally.judge_healthy("twice", known(repeated=0.5), TOLD)
    tally.judge_healthy("missing", known(missing=0.5), TOLD)
    tally.judge_healthy("refused", known(), "Something broke on my side.")
    assert [story.split(":")[0] for story in tally.stories] == ["twice", "missing", "refused"]
    assert (tally.healthy, tally.repeated, tally.lost) == (4, 0.5, 2)


def test_a_permitted_reconnection_may_repeat_a_little_and_be_told_of() -> None:
    tally = Tally()
    doubts = "Part of it may not have been heard."
    tally.judge_healthy("told", known(repeated=1.6), doubts, reconnected=True)
    assert tally.is_good
    assert (tally.repeated, tally.lost) == (1.6, 0)
    tally.judge_healthy("twice", known(repeated=2.1), TOLD, reconnected=True)
    tally.judge_healthy("missing", known(missing=0.5), doubts, reconnected=True)
    tally.judge_healthy("untold", known(), None, reconnected=True)
    assert [story.split(":")[0] for story in tally.stories] == ["twice", "missing", "untold"]


def test_after_a_fault_speech_is_heard_or_explained() -> None:
    tally = Tally()
    tally.judge_faulty("heard", known(repeated=1.5), TOLD, is_hidden=False)
    tally.judge_faulty(
        "told", known(missing=2.0), DISCONNECTED, is_hidden=False, causes={Cause.KICK}
    )
    tally.judge_faulty("hidden", known(missing=2.0), TOLD, is_hidden=True)
    assert tally.is_good
    assert (tally.heard, tally.told, tally.unnoticed, tally.twice) == (1, 1, 1, 1.5)
    tally.judge_faulty("unsaid", known(missing=2.0), TOLD, is_hidden=False)
    tally.judge_faulty("nothing told", known(missing=2.0), None, is_hidden=True)
    tally.judge_faulty("twice", known(repeated=2.5), TOLD, is_hidden=False)
    tally.judge_faulty(
        "not kicked", known(missing=2.0), DISCONNECTED, is_hidden=True, causes={Cause.DRAG}
    )
    wrong = ["unsaid", "nothing told", "twice", "not kicked"]
    assert [story.split(":")[0] for story in tally.stories] == wrong
    assert tally.lost == 3


def test_the_table_has_a_total_and_names_what_is_wrong() -> None:
    one, other = Tally(), Tally()
    one.judge_healthy("fine", known(), TOLD)
    other.judge_healthy("item 3", known(repeated=0.5), TOLD)
    lines = summary({"one": one, "other": other}).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:5]] == ["one", "other", "total"]
    assert lines[-1] == "other: item 3: 0.50 s are heard twice"
    assert summary({"one": one}).endswith("Nothing is wrong.")
