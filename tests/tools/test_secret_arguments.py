"""Arguments that are marked as secret: the tool gets them, and nobody else sees more than a mask."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import triplane
from triplane import Secret, ToolCall
from triplane.ledger.artifacts import FileArtifacts
from triplane.tools import Setting, Sink, ToolFailedError, Vault, Workbench, run_calls
from triplane.tools.secrets import UnknownSecretError

if TYPE_CHECKING:
    from triplane.core.outcome import ToolOutcome

SECRET = 'correct horse "battery" staple'
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["user", "note", "password", 'pass"word', "ключ"])
SHOWN = {"user", "note"}


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[begin:end] for begin, end in pairwise(places)]


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.lists(st.integers(0, 200), max_size=6), st.booleans())
def test_masked_arguments_say_the_same_but_for_the_secrets(arguments, cuts, spaced) -> None:
    text = json.dumps(arguments, indent=1 if spaced else None, ensure_ascii=len(cuts) % 2 == 0)
    vault = Vault()

    masked = vault.mask(SHOWN).feed(text)
    stream = vault.mask(SHOWN)

    # Piece by piece, and as often as you like, it is the same text.
    assert masked == "".join([stream.feed(piece) for piece in pieces_of(text, cuts)])
    assert masked == vault.mask(SHOWN).feed(masked)
    said = json.loads(masked)
    assert list(arguments) == list(said)
    for name, value in arguments.items():
        if name in SHOWN or value is None:
            assert value == said[name]
        else:
            assert said[name].startswith("[secret ")
    assert arguments == json.loads(vault.revealed(masked, SHOWN))


@given(st.text(alphabet='{}[]",:\\ \nab1', max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_what_is_no_object_is_none_afterwards_either(text, cuts) -> None:
    vault = Vault()
    stream = vault.mask(SHOWN)
    masked = vault.mask(SHOWN).feed(text)

    assert masked == "".join([stream.feed(piece) for piece in pieces_of(text, cuts)])
    assert is_object(text) == is_object(vault.revealed(masked, SHOWN))


def is_object(text: str) -> bool:
    try:
        return not text.strip() or isinstance(json.loads(text), dict)
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"user": "me", "password": "abcdef"}', '{"user": "me", "password": "[secret 1]"}'),
        ('{"pass\\u0077ord":"abcdef"}', '{"pass\\u0077ord":"[secret 1]"}'),
        ('{"passwrod":"abcdef"}', '{"passwrod":"[secret 1]"}'),
        ('{"password":"abcdef","password":"abcdef"}', '{"password":"[secret 1]","password":"[secret 1]"}'),
        ('{"password":null}', '{"password":null}'),
        ('{"password":"abcdef', '{"password":'),
        ('{"password":abcdef}', '{"password":[secret]}'),
        ('"abcdef"', "[secret]"),
        ("{abcdef", "{[secret]"),
        ('{"user":1} abcdef', '{"user":1} [secret]'),
    ],
)
def test_nothing_of_a_secret_stays(text, masked) -> None:
    assert masked == Vault().mask(SHOWN).feed(text)


def test_a_mask_of_another_process_is_none_of_this_one() -> None:
    assert "[secret 1]" == Vault().hide("a")
    masks = [Vault(run_id, token).hide("a") for run_id in ("run_1", "run_2") for token in (1, 2)]
    assert masks == [Vault(run_id, token).hide("b") for run_id in ("run_1", "run_2") for token in (1, 2)]
    assert 4 == len(set(masks))
    for mask in masks:
        assert re.fullmatch(r"\[secret [0-9a-f]{6}\.1\]", mask)
        with pytest.raises(UnknownSecretError):
            Vault("run_3").revealed(json.dumps({"password": mask}), SHOWN)


# The mark.


def test_the_model_sees_nothing_of_the_mark() -> None:
    def plain(user: str, password: str) -> None: ...

    def marked(user: str, password: Annotated[str, Secret()]) -> None: ...

    def described(user: str, password: Annotated[str, "Of the user.", Secret]) -> None: ...

    assert triplane.tool(plain).parameters == triplane.tool(marked).parameters
    assert not triplane.tool(plain).secrets
    assert {"password"} == triplane.tool(marked).secrets == triplane.tool(described).secrets
    assert "Of the user." == triplane.tool(described).parameters["properties"]["password"]["description"]


def test_a_default_that_is_secret_is_not_told() -> None:
    @triplane.tool
    def login(
        key: Annotated[str, Secret()] = SECRET, other: Annotated[int, Secret()] | None = None
    ) -> None: ...

    assert {"key", "other"} == login.secrets
    assert SECRET not in repr(login.definition())
    assert "correct" not in json.dumps(login.definition())


@attrs.define
class Account:
    user: str
    password: Annotated[str, Secret()]


@pytest.mark.parametrize(
    "annotation", [list[Annotated[str, Secret()]], Mapping[str, Annotated[str, Secret()]], Account]
)
def test_a_part_of_a_value_cannot_be_secret_alone(annotation) -> None:
    def login(account: Any) -> None: ...

    login.__annotations__["account"] = annotation

    with pytest.raises(
        triplane.ConfigError, match=r"mark the parameter: Annotated\[…, triplane.Secret\(\)\]"
    ):
        triplane.tool(login)


# A call.


class Told:
    """Everything that anybody is told of a call."""

    def __init__(self) -> None:
        self.all: list[object] = []

    def queued(self, *told: object) -> None:
        self.all.append(told)

    async def starting(self, *told: object) -> None:
        self.all.append(told)

    progress = finished = dropped = queued


async def run(
    tool: triplane.Tool, arguments: str, vault: Vault | None = None, workbench: Workbench | None = None
) -> tuple[ToolOutcome, str]:
    vault, workbench = vault or Vault(), workbench or Workbench()
    told = Told()
    call = ToolCall("call_1", tool.name, vault.mask(tool.shown).feed(arguments))
    (outcome,) = await run_calls(
        [call],
        {tool.name: tool},
        Setting(run_id="run_1", engine=None, observer=told, workbench=workbench, vault=vault),  # type: ignore[arg-type]
    )
    return outcome, repr(told.all)


ARGUMENTS = json.dumps({"user": "me", "password": SECRET})


@triplane.tool
async def login(user: str, password: Annotated[str, Secret()], context: triplane.ToolContext) -> str:
    context.progress(f"trying {password}")
    return f"{user} {len(password)} {password}"


@triplane.tool
def login_in_thread(user: str, password: Annotated[str, Secret()]) -> triplane.Image | list[object]:
    return [f"{user} {len(password)} {password}", triplane.Image(url="https://example.org/a.png")]


@triplane.process_tool
def login_by_command(user: str, password: Annotated[str, Secret()]) -> triplane.Command:
    return triplane.Command('printf "%s %s %s" $U ${#P} "$P"', env={"U": user, "P": password})


@pytest.mark.parametrize("tool", [login, login_in_thread, login_by_command], ids=lambda tool: tool.name)
async def test_the_tool_gets_it_and_nobody_else(tool) -> None:
    outcome, told = await run(tool, ARGUMENTS)

    assert "ok" == outcome.kind
    assert outcome.output.startswith(f"me {len(SECRET)} [secret 1]")
    assert "horse" not in told


LETTERS = st.text("abñ\\", min_size=4, max_size=12)


@given(LETTERS, st.text("abñ ", max_size=40), st.text("abñ ", max_size=40), st.integers(1, 60))
def test_a_cut_through_a_secret_leaves_no_piece_of_it(secret, before, after, budget) -> None:
    vault = Vault()
    arguments = json.dumps({"password": vault.hide(secret)})
    sink = Sink(budget)
    sink.write(f"{before}{secret}{after}".encode())

    kept = sink.text()
    head, line, tail = vault.masked(kept, arguments).partition("\n[… ")

    assert secret not in head + tail
    assert bool(line) == (sink.bytes_kept < sink.bytes_produced)
    if line:
        tail = tail.partition(" …]\n")[2]
        assert not any(head.endswith(secret[:size]) for size in range(2, len(secret)))
        assert not any(tail.startswith(secret[-size:]) for size in range(2, len(secret)))


@pytest.mark.parametrize("shown", range(len(SECRET) + 1))
async def test_an_output_that_is_cut_in_a_secret_shows_none_of_it(shown) -> None:
    @triplane.tool(effect="read", max_output=400)
    async def dump(password: Annotated[str, Secret()]) -> str:
        return "x" * (300 - shown) + password + "y" * 400

    @triplane.tool(effect="read", max_output=400)
    async def stream(password: Annotated[str, Secret()]) -> AsyncIterator[str]:
        yield "y" * 400
        yield password
        yield "x" * (100 - shown)

    head = (await run(dump, json.dumps({"password": SECRET})))[0].output.partition("\n[… ")[0]
    tail = (await run(stream, json.dumps({"password": SECRET})))[0].output.partition(" …]\n")[2]

    mask = "[secret 1]" if shown > 1 else ""
    assert "x" * (300 - shown) + (mask or SECRET[:shown]) == head
    assert (mask or SECRET[len(SECRET) - shown :]) + "x" * (100 - shown) == tail


@triplane.tool(retries=1, effect="read", retry_delay=0)
async def refuse(user: str, password: Annotated[str, Secret()]) -> str:
    raise PermissionError(f"{user}: {password!r} and {json.dumps(password)} are wrong")


async def test_an_error_that_quotes_it_is_told_without() -> None:
    outcome, told = await run(refuse, ARGUMENTS)

    assert ("failed", 2) == (outcome.kind, outcome.attempts)
    assert "PermissionError: me: '[secret 1]' and \"[secret 1]\" are wrong" in outcome.output
    assert "horse" not in told


@pytest.mark.parametrize("quoted", [str, repr, ascii, json.dumps])
async def test_a_secret_that_is_not_ascii_is_known_in_all_its_forms(quoted) -> None:
    @triplane.tool(effect="read")
    async def dump(password: Annotated[str, Secret()]) -> str:
        return f"<{quoted(password)}>"

    outcome, _ = await run(dump, json.dumps({"password": "ключ 🔑 é"}))

    assert "<[secret 1]>" == outcome.output.replace('"', "").replace("'", "")


@pytest.mark.parametrize(
    "message", ["password: {}, and so on", "{}" + "y" * 20_000, "x" * 8_180 + "{}" + "y" * 20_000]
)
@pytest.mark.parametrize("error_text", [None, str])
async def test_nothing_is_taken_out_of_an_error_before_its_secrets(message, error_text) -> None:
    """What redaction and budgets leave of a secret, nobody would know for one."""

    @triplane.tool(effect="read", error_text=error_text)
    async def dump(password: Annotated[str, Secret()]) -> str:
        raise ValueError(message.format(password))

    _, told = await run(dump, ARGUMENTS.replace('"user": "me", ', ""))

    assert not any(word in told for word in ("corr", "horse", "battery", "staple"))
    assert message.startswith("x") or "[secret 1]" in told.replace("[secret 1]", "", 1)


async def test_nothing_is_taken_out_of_words_about_a_result_before_its_secrets() -> None:
    class Telling(list[int]):
        def __init__(self, word: str) -> None:
            super().__init__([1])
            self._word = word

        def __iter__(self) -> Any:
            raise ValueError(f"password: {self._word}")

    @triplane.tool(effect="read")
    async def dump(password: Annotated[str, Secret()]) -> Any:
        return Telling(password)

    _, told = await run(dump, ARGUMENTS.replace('"user": "me", ', ""))

    assert "cannot be read: ValueError: password: [secret 1]" in told


async def test_what_else_than_text_holds_a_secret() -> None:
    @triplane.tool(effect="read")
    async def dump(password: Annotated[str, Secret()]) -> Any:
        image = triplane.Image(url=f"https://example.org/{password}")
        file = triplane.File(file_id=password)
        return [triplane.File(password.encode(), f"{password}.txt"), image, file, triplane.Image(b"x")]

    outcome, _ = await run(dump, json.dumps({"password": "hunter22"}))

    assert "hunter22" not in repr(outcome)
    assert outcome.content is not None
    file, *left_out, image = outcome.content
    assert ("[secret 1].txt", "data:text/plain;base64,aHVudGVyMjI=") == (file["filename"], file["file_data"])
    assert [{"type": "input_text", "text": "[left out: its address holds a secret]"}] * 2 == left_out
    assert "data:image/png;base64,eA==" == image["image_url"]


async def test_an_error_that_ends_the_run_comes_without_its_cause() -> None:
    raising = attrs.evolve(refuse, on_error="raise", retries=0)
    with pytest.raises(ToolFailedError) as caught:
        await run(raising, ARGUMENTS)

    assert "[secret 1]" in str(caught.value)
    assert None is caught.value.__cause__


@pytest.mark.parametrize(
    "arguments",
    [
        {"user": "me", "password": {"is": SECRET}},
        {"user": "me", "passwort": SECRET},
        {"user": 1, "password": [SECRET]},
        [SECRET],
    ],
)
async def test_arguments_that_do_not_fit_are_not_quoted(arguments) -> None:
    outcome, told = await run(login, json.dumps(arguments))

    assert "invalid_arguments" == outcome.reason
    assert "horse" not in told


async def test_what_is_wrong_with_it_is_said_all_the_same() -> None:
    outcome, _ = await run(login, '{"user": "me", "password": 12345}')

    assert outcome.output.endswith("password: expected str")


@triplane.tool(effect="read", max_output=1_000)
async def show_all(user: str, password: Annotated[str, Secret()]) -> str:
    return f"{password}\n" * 1_000


async def test_long_outputs_are_not_kept_beside_the_log(tmp_path) -> None:
    store = FileArtifacts(tmp_path)
    outcome, _ = await run(show_all, ARGUMENTS, workbench=Workbench(artifacts=store))

    assert ("truncated", None) == (outcome.kind, outcome.artifact)
    assert " bytes cut …]" in outcome.output
    assert "[stopped" not in outcome.output
    assert () == tuple(store.of_run("run_1"))
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_a_mask_means_what_it_meant() -> None:
    vault = Vault()
    vault.hide("another")
    await run(login, ARGUMENTS, vault)
    outcome, _ = await run(login, '{"user": "me", "password": "[secret 2]"}', vault)

    assert f"me {len(SECRET)} [secret 2]" == outcome.output


async def test_a_mask_that_nobody_knows_is_no_secret() -> None:
    outcome, _ = await run(login, '{"user": "me", "password": "[secret 9]"}')

    assert "invalid_arguments" == outcome.reason
    assert "[secret 9] stands for a secret that is not known any more" in outcome.output
    assert 0 == outcome.attempts


async def test_local_variables_do_not_show_it() -> None:
    structured = login.arguments.structure(ARGUMENTS)

    assert {"user": "me", "password": SECRET} == structured
    assert "horse" not in repr(structured)
    assert "horse" not in repr(structured.copy())
    assert "horse" in structured.copy()["password"]
