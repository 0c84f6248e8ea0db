"""Every code has a sentence, is used somewhere, and has the values that its sentence names."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from backend.contract import (
    BackendBusyError,
    ConsentMissingError,
    LanguageNotSupportedError,
    ReferenceUnusableError,
    SpeechError,
    SpeechRunsOnError,
)
from backend.weights.checkpoints import PUBLISHED
from bot.errors import Note, Reason, Refusal, Remark
from bot.interface.typed_text import as_text
from bot.interface.wording import api as api_wording
from bot.interface.wording.sentences import (
    REFUSALS,
    REMARKS,
    STEPS,
    about,
    engine_name,
    engine_state,
    explain,
    link_commands,
    note,
    said_late,
)
from bot.speech.errors import BackendUnreachableError, TextInOtherLanguageError
from bot.speech.preview import prompt as preview
from bot.studio import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
CODES = [*Reason, *Remark]
WITHOUT_USES = ("bot/errors.py", "bot/api/statuses.py")

COMMANDS = (
    "clone|say|voice|dictionary|forget|help|join|leave|queue|skip|stop|warm|usage|settings|"
    "moderation|report|verify|privacy"
)
SLASH_COMMAND = re.compile(rf"(?<![\w/.])/(?:{COMMANDS})\b")


class Use(NamedTuple):
    """A place in the sources that names a code.

    Attributes:
        values: The names of the values that it is given; none for a code that is passed on.
    """

    where: str
    code: Reason | Remark
    values: frozenset[str]


def sources(*rooms: str) -> Iterator[tuple[Path, ast.Module]]:
    for room in rooms:
        path = ROOT / room
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            yield file.relative_to(ROOT), ast.parse(file.read_text(encoding="utf-8"))


def code_of(node: ast.AST) -> Reason | Remark | None:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.value.id == "Reason":
            return Reason[node.attr]
        if node.value.id == "Remark":
            return Remark[node.attr]
    return None


def values_of(call: ast.Call) -> frozenset[str]:
    """The names of the values in `Refusal(code, name=...)` or `Note(code, {"name": ...})`."""
    values = {str(keyword.arg) for keyword in call.keywords if keyword.arg != "values"}
    dictionaries = [*call.args[1:], *(key.value for key in call.keywords if key.arg == "values")]
    for dictionary in dictionaries:
        assert isinstance(dictionary, ast.Dict), "the values are written where the code is"
        values |= {ast.literal_eval(key) for key in dictionary.keys if key is not None}
    return frozenset(values)


def given_values(tree: ast.AST) -> dict[int, frozenset[str]]:
    """By the identity of the node that names a code: the values that it is given.

    The node is an argument of `Refusal` or `Note`, or was assigned to a variable that is.
    """
    given: dict[int, frozenset[str]] = {}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        nodes = list(ast.walk(function))
        for call in nodes:
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            if call.func.id not in {"Refusal", "Note"} or not call.args:
                continue
            codes = [call.args[0]]
            if isinstance(codes[0], ast.Name):
                codes += assigned_to(codes[0].id, nodes)
            given |= {id(node): values_of(call) for code in codes for node in ast.walk(code)}
    return given


def assigned_to(variable: str, nodes: list[ast.AST]) -> list[ast.expr]:
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == variable for target in node.targets)
    ]


def uses() -> list[Use]:
    found = []
    for file, tree in sources("bot", "cogs"):
        if str(file) in WITHOUT_USES or file.parent.name == "wording":
            continue
        given = given_values(tree)
        for node in ast.walk(tree):
            code = code_of(node)
            if code is not None:
                values = given.get(id(node), frozenset[str]())
                found.append(Use(f"{file}:{getattr(node, 'lineno', 0)}", code, values))
    return found


def named_in(sentence: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(sentence) if name)


def sentence_of(code: Reason | Remark) -> str:
    return REFUSALS[code] if isinstance(code, Reason) else REMARKS[code]


def docstrings(tree: ast.Module) -> set[int]:
    """Strings that are statements of their own: they speak to who reads the source."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def test_every_code_has_a_sentence_and_every_sentence_a_code() -> None:
    assert set(REFUSALS) == set(Reason)
    assert set(REMARKS) == set(Remark)
    assert set(STEPS) == set(Step)
    sentences = [sentence_of(code) for code in CODES]
    assert all(sentence.endswith(".") for sentence in sentences)


def test_every_code_is_used() -> None:
    assert {str(code) for code in CODES} - {str(use.code) for use in uses()} == set()


def test_every_use_gives_the_values_that_the_sentence_names() -> None:
    wrong = [use for use in uses() if use.values != named_in(sentence_of(use.code))]
    assert not wrong


def test_what_people_typed_is_escaped_in_sentences() -> None:
    assert explain(Refusal(Reason.SKIPPED_BY, name="*Ada*")) == r"\*Ada\* skipped this."
    assert explain(Refusal(Reason.VOICE_KEPT, name="A_b")) == r"Kept. **A\_b** is still there."
    mention = Refusal(Reason.CHANNEL_FULL, channel="<#7>")
    assert explain(mention).startswith("<#7> is full.")


def test_remarks_name_their_values() -> None:
    shortened = Note(Remark.RECORDING_SHORTENED, {"seconds": 44.6, "used": 14.9})
    assert note(shortened) == "Your recording is 45 seconds long, so I used its clearest 15."


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (BackendBusyError(), "Please try again in a moment."),
        (BackendBusyError(1), "Please try again in about 5 seconds."),
        (BackendUnreachableError("x"), "Please try again in a minute."),
        (BackendUnreachableError("x", 31.2), "I'll look for it again in about 31 seconds;"),
        (
            LanguageNotSupportedError("Thai", ("Auto", "German")),
            "speaks only German. Write a German text, or",
        ),
        (
            TextInOtherLanguageError("Thai", ("Auto", "English")),
            "That looks like Thai. I can't speak Thai here yet. This voice engine speaks only",
        ),
        (
            TextInOtherLanguageError("Thai", ("Auto", "German", "French")),
            "Write in one of these, choose a `language` if I'm wrong, or ask whoever runs this bot",
        ),
        (SpeechRunsOnError(20.0), "The voice engine gave no usable speech this time."),
    ],
)
def test_errors_of_the_voice_engine_are_sentences(error: Exception, sentence: str) -> None:
    assert sentence in explain(error)  # type: ignore[arg-type]  # each is a `SpeechError`


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "a few seconds"),
        (3.9, "a few seconds"),
        (4.0, "about 5 seconds"),
        (16.0, "about 20 seconds"),
        (55.0, "about 55 seconds"),
        (55.1, "about a minute"),
        (60.0, "about a minute"),
        (61.0, "about 2 minutes"),
    ],
)
def test_a_wait_is_rounded_up(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_slow_speech_says_when_it_starts_and_goes_on() -> None:
    assert said_late(17.0, has_begun=False).endswith("so it starts in about 20 seconds.")
    assert said_late(17.0, has_begun=True).endswith("so it goes on in about 20 seconds.")


def test_the_state_of_the_voice_engine_is_a_sentence() -> None:
    assert engine_state(None) == "It's ready."
    assert engine_state(TimeoutError()) == "It hasn't answered yet; it may be waking up."
    assert engine_state(BackendUnreachableError("x")).startswith("I can't reach the voice engine")


def test_commands_become_links_where_their_ids_are_known() -> None:
    ids = {"say": 7, "voice": 8}
    assert (
        link_commands("Use `/say` with `where: file`.", ids) == "Use </say:7> with `where: file`."
    )
    assert link_commands("See `/voice list`.", ids) == "See </voice list:8>."
    assert link_commands("Make one with `/clone`.", ids) == "Make one with `/clone`."
    assert link_commands(as_text("`/say`"), ids) == as_text("`/say`"), "somebody typed that"


def test_every_command_that_a_sentence_names_could_be_a_link() -> None:
    ids = dict.fromkeys(COMMANDS.split("|"), 1)
    for code in CODES:
        assert not SLASH_COMMAND.search(re.sub("</.*?>", "", link_commands(sentence_of(code), ids)))


def test_what_somebody_typed_does_not_turn_the_words_around_it() -> None:
    assert as_text("a\u202eb\u2066c") == "abc"
    hebrew = "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET}"
    assert as_text(f"{hebrew}(1)") == f"\u2068{hebrew}\\(1\\)\u2069", "isolated"


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        (preview.MODEL_ID, "Preview voice"),
        *((checkpoint.model_id, checkpoint.label) for checkpoint in PUBLISHED),
        ("my_voice@0123456789ab", r"my\_voice"),
    ],
)
def test_voice_engines_have_names_for_people(model_id: str, name: str) -> None:
    assert engine_name(model_id) == name


def reasons_of_the_pipeline() -> set[Reason]:
    """Those for which what the HTTP API calls may refuse something."""
    rooms = ("studio.py", "verification.py", "streaming.py", "text", "audio", "speech", "voices")
    guilds = ("policy", "limits", "ledger", "moderation")
    files = [f"bot/{room}" for room in (*rooms, "storage", "api")]
    files += [f"bot/guilds/{name}.py" for name in guilds]
    found = set()
    for _, tree in sources(*files):
        found |= {code for node in ast.walk(tree) if isinstance(code := code_of(node), Reason)}
    return found


def test_clients_of_the_api_are_told_of_no_commands_and_no_buttons() -> None:
    only_on_discord = {  # a key has no server, and no dictionary is changed over HTTP
        *("SERVER_NOT_ALLOWED", "NO_DIRECT_MESSAGES", "NOT_IN_THIS_CHANNEL"),
        *("ROLE_NEEDED_TO_SPEAK", "ROLE_NEEDED_TO_CLONE", "ONLY_MANAGERS", "ONLY_OPERATORS"),
        *("SERVER_NOT_SEEN", "ONLY_IN_SERVERS", "TOO_MANY_CHANNELS"),
        *("NEVER_SLEEPS", "NO_VOICE_TO_USE", "TOO_MANY_SHARES"),
        *("SENTENCE_NOT_HEARD", "NOTHING_IS_HEARD", "CONSENT_NOT_SPOKEN"),
        *("SENTENCE_NOT_ALONE", "SENTENCE_USED", "SENTENCE_SYNTHETIC"),
        *("NO_SUCH_WORD", "WORD_NOT_SPEAKABLE", "WORD_TOO_LONG", "DICTIONARY_FULL"),
    }
    speaks_of_discord = {
        reason.name
        for reason in reasons_of_the_pipeline()
        if re.search(
            r"`/|<t:|Discord|\bbutton|press",
            api_wording.REFUSALS.get(reason, REFUSALS[reason]),
        )
    }
    assert speaks_of_discord <= only_on_discord
    for reason, sentence in api_wording.REFUSALS.items():
        assert named_in(sentence) <= named_in(REFUSALS[reason]), reason
    for error in (ConsentMissingError("x"), ReferenceUnusableError("x"), SpeechError("x")):
        assert "`/" not in api_wording.explain_to_client(error)


def test_clients_of_the_api_are_told_times_as_times() -> None:
    refusal = Refusal(Reason.OWN_SPEECH_TOO_LITTLE, wanted=61.2, left=9.9, again=1_795_824_000)
    assert api_wording.explain_to_client(refusal) == (
        "That takes about 1 minute 2 seconds of speech, and you have 9 seconds left today. "
        "Shorten it, or try again at 2026-11-28 00:00:00 UTC."
    )


def test_the_pipeline_names_no_slash_command() -> None:
    rooms = ("studio.py", "streaming.py", "text", "audio", "speech", "voices")
    for file, tree in sources(*(f"bot/{room}" for room in rooms)):
        for_readers = docstrings(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                names_one = SLASH_COMMAND.search(node.value)
                assert id(node) in for_readers or not names_one, (file, node.value)
