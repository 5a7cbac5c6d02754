"""Every kind of tool, crossed with every limit and every way to fail: outcome, message, memory, leftovers."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import tracemalloc
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from openai.types.responses.response_input_item import ResponseInputItem
from pydantic import TypeAdapter
from tool_bench import Recorder, call, is_gone, run_one, until

from descriptors import none_left_open
from triplane.core.answers import answers_of
from triplane.core.outcome import ToolCall
from triplane.ledger import FileArtifacts
from triplane.tools import (
    CommandOutput,
    Tool,
    Workbench,
    apply_patch_tool,
    computer_tool,
    custom_tool,
    local_shell_tool,
    mcp,
    process,
    process_tool,
    shell_tool,
    thread_statistics,
    tool,
    tools_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from triplane.core.outcome import ToolOutcome

ANSWER = TypeAdapter[Any](ResponseInputItem)

CAP = 16 * 1024
LINE = "0123456789abcde\n"
BLOCK = LINE * 4096


@attrs.frozen
class Scene:
    """What tools of all kinds do here, and what they leave behind."""

    options: dict[str, Any]
    # Lets threads end that nothing can stop.
    release: threading.Event = attrs.field(factory=threading.Event)
    closed: list[str] = attrs.field(factory=list)
    folder: str = ""
    # An MCP server's, by what they do.
    served: dict[str, Tool] = attrs.field(factory=dict)

    def of(self, kind: str, does: str) -> Tool:
        return getattr(self, f"_{kind}")(does)

    def _async(self, does: str) -> Tool:
        @tool(name="t", **self.options)
        async def work(number: int = 1) -> Any:
            try:
                await trio.lowlevel.checkpoint()
                match does:
                    case "text":
                        return "fine"
                    case "raise":
                        raise ValueError("no sk-abcdefghijkl")
                    case "hang":
                        await trio.sleep_forever()
                    case "late":
                        with trio.CancelScope(shield=True, relative_deadline=0.02 + self.options["timeout"]):
                            await trio.sleep_forever()
                        return "too late"
                    case "much":
                        return BLOCK * 40
                    case "bytes":
                        return b"a\xffb" + "ä".encode() * CAP
                    case "object":
                        return object()
                    case "exit":
                        raise SystemExit(3)
            finally:
                self.closed.append("closed")
            raise AssertionError

        return work

    def _method(self, does: str) -> Tool:
        scene = self

        class Owner:
            """State that calls share."""

            calls = 0

            @tool(name="t", **self.options)
            async def work(self, number: int = 1) -> Any:
                self.calls += 1
                return await scene._async(does)(number)

        (made,) = tools_of(Owner())
        return made

    def _thread(self, does: str) -> Tool:
        @tool(name="t", **self.options)
        def work(number: int = 1) -> Any:
            match does:
                case "text":
                    return "fine"
                case "raise":
                    raise ValueError("no sk-abcdefghijkl")
                case "hang" | "late":
                    self.release.wait(20)
                    return "too late"
                case "much":
                    return BLOCK * 40
                case "bytes":
                    return b"a\xffb" + "ä".encode() * CAP
                case "object":
                    return object()
                case "exit":
                    raise SystemExit(3)
            raise AssertionError

        return work

    def _stream(self, does: str) -> Tool:
        @tool(name="t", **self.options)
        async def work(number: int = 1) -> AsyncIterator[Any]:
            try:
                match does:
                    case "text":
                        yield "fi"
                        yield b"ne"
                    case "raise":
                        yield "begun"
                        raise ValueError("no sk-abcdefghijkl")
                    case "hang":
                        yield "begun"
                        await trio.sleep_forever()
                    case "late":
                        yield "begun"
                        with trio.CancelScope(shield=True, relative_deadline=0.02 + self.options["timeout"]):
                            await trio.sleep_forever()
                        yield "too late"
                    case "much" | "endless":
                        while True:
                            yield BLOCK
                    case "bytes":
                        yield b"a\xffb"
                        for _ in range(CAP):
                            yield b"\xc3"
                            yield b"\xa4"
                    case "object":
                        yield object()
                    case "exit":
                        yield "begun"
                        raise SystemExit(3)
            finally:
                self.closed.append("closed")

        return work

    def _process(self, does: str) -> Tool:
        @process_tool(name="t", **self.options)
        def work(number: int = 1) -> str:
            return self.command(does)

        return work

    def command(self, does: str) -> str:
        commands = {
            "text": "printf fine",
            "raise": "echo begun; echo no sk-abcdefghijkl >&2; exit 3",
            "hang": "echo begun; exec sleep 60",
            "late": "trap 'echo too late; exit 0' TERM; echo begun; sleep 60 & wait",
            "deaf": "trap '' TERM; echo begun; sleep 60; sleep 60",
            "forks": "sleep 60 & sleep 61 & echo begun; wait",
            "much": "yes 0123456789abcde",
            "endless": "yes 0123456789abcde",
            "bytes": f"printf 'a\\377b'; for i in 1 2 3 4 5 6 7 8 9; do printf '%{CAP // 4}s' ä; done",
        }
        return f"echo $$ > {self.folder}/group; {commands[does]}"

    def _custom(self, does: str) -> Tool:
        @custom_tool(name="t", **self.options)
        async def work(text: str) -> Any:
            return await self._async(does)(1)

        return work

    def _patch(self, does: str) -> Tool:
        async def work(operation: Any, context: Any) -> Any:
            return await self._async(does)(1)

        return apply_patch_tool(handler=work, **self.options)

    def _computer(self, does: str) -> Tool:
        async def work(actions: Any, context: Any) -> Any:
            return await self._async(does)(1)

        return computer_tool(work, on_error="report", **self.options)

    def _handler(self, does: str) -> Tool:
        async def work(action: Any, context: Any) -> Any:
            said = await self._async(does)(1)
            said = said.decode(errors="replace") if isinstance(said, bytes) else said
            return [CommandOutput(said)] if isinstance(said, str) else said

        return shell_tool(handler=work, **self.options)

    def _shell(self, does: str) -> Tool:
        return shell_tool(self.folder, **self.options)

    def _local_shell(self, does: str) -> Tool:
        return local_shell_tool(self.folder, **self.options)

    def call(self, kind: str, does: str) -> ToolCall | None:
        """What the model says to have it done; None for a function."""
        line = self.command(does) if kind in ("shell", "local_shell") else ""
        said: dict[str, tuple[str, Any, Any]] = {
            "custom": ("custom_tool_call", "t", None),
            "patch": ("apply_patch_call", "apply_patch", {"type": "delete_file", "path": "f"}),
            "computer": ("computer_call", "computer", {"actions": [{"type": "screenshot"}]}),
            "handler": ("shell_call", "shell", {"commands": ["do it"]}),
            "shell": ("shell_call", "shell", {"commands": [line]}),
            "local_shell": (
                "local_shell_call",
                "local_shell",
                {"type": "exec", "command": ["/bin/sh", "-c", line], "env": {}},
            ),
        }
        if kind not in said:
            return None
        wire, name, action = said[kind]
        return ToolCall("c1", name, "text" if action is None else json.dumps(action), wire)  # type: ignore[arg-type]

    async def run(
        self,
        kind: str,
        does: str,
        observer: Recorder | None = None,
        *,
        workbench: Workbench | None = None,
        **arguments: Any,
    ) -> ToolOutcome:
        """Have a tool do it, and see that the answer to the call is one."""
        one = self.call(kind, does)
        tool = self.of(kind, does)
        outcome = await run_one(tool, observer, workbench=workbench, one=one, **arguments)
        for answer in answers_of([(one or call("t"), outcome)]):
            ANSWER.validate_python(answer)
        return outcome

    def _mcp(self, does: str) -> Tool:
        return attrs.evolve(self.served[does], name="t", effect="write", **self.options)

    def group(self) -> int:
        path = Path(self.folder, "group")
        # There is nothing in it for a moment.
        return int((path.exists() and path.read_text()) or 0)


@pytest.fixture
async def scene(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Any]]:
    monkeypatch.setattr(process, "GRACE", 0.05)
    served: dict[str, Tool] = {}

    @contextmanager
    def made(**options: Any) -> Iterator[Scene]:
        options.setdefault("max_output", CAP)
        options.setdefault("timeout", 10)
        one = Scene(options, folder=str(tmp_path), served=served)
        try:
            yield one
        finally:
            one.release.set()

    async with AsyncExitStack() as stack:
        if "mcp" in parameters_of(request.node).values():
            plain = mcp.Stdio([sys.executable, "-S", "-E", str(Path(__file__).with_name("mcp_plain.py"))])
            server = await stack.enter_async_context(mcp.open_mcp(plain, mode="legacy"))
            served |= {each.name: each for each in server.tools}
        yield made


def parameters_of(test: Any) -> dict[str, Any]:
    return test.callspec.params if hasattr(test, "callspec") else {}


@contextmanager
def nothing_left(scene: Scene) -> Iterator[None]:
    """No open file, and no thread beyond those that are counted as left behind."""
    with none_left_open():
        yield
    assert is_gone(scene.group() or -1)


FUNCTIONS = ["async", "method", "thread", "stream", "process", "mcp"]
HANDLED = ["custom", "patch", "handler"]
PROCESSES = ["process", "shell", "local_shell"]
ALL = [*FUNCTIONS, *HANDLED, "shell", "local_shell"]
IN_PYTHON = ["async", "method", "thread", "stream", *HANDLED, "computer"]


@pytest.mark.parametrize("kind", ALL)
async def test_an_ordinary_end(kind: str, scene: Any) -> None:
    with scene() as here:
        # The first thread and the first process of a Trio run open files that stay.
        await here.run(kind, "text", number=2)
        with nothing_left(here):
            outcome = await here.run(kind, "text", number=2)

    assert (outcome.kind, outcome.output, outcome.bytes_produced, outcome.bytes_kept) == ("ok", "fine", 4, 4)
    assert outcome.attempts == 1


@pytest.mark.parametrize("kind", FUNCTIONS)
async def test_arguments_that_do_not_fit(kind: str, scene: Any) -> None:
    with scene() as here, nothing_left(here):
        outcome = await here.run(kind, "text", number="x", other=1)

    assert (outcome.kind, outcome.reason, outcome.attempts) == ("failed", "invalid_arguments", 0)
    assert ("number: 'x' is not of type" if kind == "mcp" else "number: expected") in outcome.output
    assert here.closed == [], "it was not run"


@pytest.mark.parametrize("kind", ["custom", "patch", "computer", "shell", "local_shell"])
async def test_calls_that_make_no_sense(kind: str, scene: Any) -> None:
    with scene() as here, nothing_left(here):
        one = here.call(kind, "text")
        wrong = "x" * 5_000_000 if kind == "custom" else '{"type": "exec", "commands": 3, "command": []}'
        outcome = await run_one(here.of(kind, "text"), one=attrs.evolve(one, arguments=wrong))

    assert (outcome.kind, outcome.reason, outcome.attempts) == ("failed", "invalid_arguments", 0)
    assert "the text is longer than" in outcome.output or "expected {" in outcome.output
    assert here.closed == [], "it was not run"


@pytest.mark.parametrize("kind", IN_PYTHON)
async def test_an_exception(kind: str, scene: Any) -> None:
    with scene() as here:
        outcome = await here.run(kind, "raise")

    assert (outcome.kind, outcome.reason) == ("failed", "exception")
    begun = "\nIts output until then:\nbegun" if kind == "stream" else ""
    assert outcome.output == f"The tool failed. ValueError: no sk-[redacted]{begun}"


async def test_an_exit_status_is_an_output(scene: Any) -> None:
    with scene() as here, nothing_left(here):
        outcome = await here.run("process", "raise")

    assert (outcome.kind, outcome.output) == ("ok", "begun\nno sk-abcdefghijkl\n[exit status 3]")


@pytest.mark.parametrize("kind", IN_PYTHON)
async def test_a_result_that_is_none(kind: str, scene: Any) -> None:
    with scene() as here:
        outcome = await here.run(kind, "object")

    assert (outcome.kind, outcome.reason) == ("failed", "invalid_result")
    assert outcome.output.startswith("The tool ran, but it")
    assert "object" in outcome.output


@pytest.mark.parametrize("kind", IN_PYTHON)
async def test_what_stops_programs(kind: str, scene: Any) -> None:
    observer = Recorder()
    with scene() as here:
        with pytest.raises(SystemExit):
            await here.run(kind, "exit", observer)

    assert observer.outcomes["c1"].output.startswith("The tool stopped the program. SystemExit: 3")


@pytest.mark.parametrize("does", ["hang", "late"])
@pytest.mark.parametrize("kind", [*ALL, "computer"])
async def test_a_timeout(kind: str, does: str, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # What ends by itself has the time for it, on a machine that does other things as well.
    monkeypatch.setattr("triplane.tools.process.GRACE", 20 if does == "late" else 0.5)
    before = thread_statistics()
    observer = Recorder()
    with scene(timeout=0.05) as here:
        with nothing_left(here):
            outcome = await here.run(kind, does, observer)
        abandoned = thread_statistics().abandoned - before.abandoned
    await until(lambda: thread_statistics().abandoned == before.abandoned)

    assert (outcome.kind, outcome.reason) == ("timed_out", None)
    assert outcome.output.startswith("The tool timed out after 0.05 s. Part of its work may have been done.")
    assert abandoned == (1 if kind == "thread" else 0)
    if kind == "thread":
        await until(lambda: observer.late == ["c1"])
        assert thread_statistics().discarded == before.discarded + 1
    # A shell takes its time to begin: what has not begun has not set its trap.
    if does == "late" and (kind == "process" or (kind in PROCESSES and "begun" in outcome.output)):
        assert "too late" in outcome.output, "it was asked to end before it was killed, and had a last word"
    elif kind in ("stream", *PROCESSES) and "begun" in outcome.output:
        assert outcome.output.partition("Its output until then:\n")[2].startswith("begun")
    assert outcome.seconds >= 0.05


@pytest.mark.parametrize("does", ["deaf", "forks"])
@pytest.mark.parametrize("kind", PROCESSES)
async def test_a_process_that_does_not_go(kind: str, does: str, scene: Any) -> None:
    with scene(timeout=0.1) as here:
        with nothing_left(here):
            outcome = await here.run(kind, does)

    assert outcome.kind == "timed_out"


@pytest.mark.parametrize("kind", [*ALL, "computer"])
async def test_a_cancellation(kind: str, scene: Any) -> None:
    before = thread_statistics().abandoned
    observer = Recorder()
    with scene() as here:
        with nothing_left(here):
            with trio.move_on_after(0.05) as scope:
                await here.run(kind, "hang", observer)
    await until(lambda: thread_statistics().abandoned == before)

    assert scope.cancelled_caught
    assert "cancelled" == observer.outcomes["c1"].kind
    assert observer.outcomes["c1"].output.startswith("The call was cancelled before it ended. Whether it did")


@pytest.mark.parametrize("kind", PROCESSES)
async def test_a_cancelled_process_is_killed_at_once(kind: str, scene: Any) -> None:
    """It is not asked first, as it is at its deadline: what it would say would be for nobody."""
    observer = Recorder()
    with scene() as here:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.run, kind, "late", observer)
                await until(here.group)
                await trio.sleep(0.02)
                scope.cancel()
        group = here.group()

    assert is_gone(group)
    assert "too late" not in observer.outcomes["c1"].output


@pytest.mark.parametrize("kind", ALL)
async def test_text_is_cut_between_characters(kind: str, scene: Any) -> None:
    with scene(max_output=101) as here:
        outcome = await here.run(kind, "bytes")

    assert outcome.kind == "truncated"
    assert outcome.output.startswith("a\N{REPLACEMENT CHARACTER}b")
    assert outcome.output.count("\N{REPLACEMENT CHARACTER}") == 1
    assert "bytes cut …]" in outcome.output
    assert outcome.bytes_kept <= 101 < outcome.bytes_produced


@pytest.mark.parametrize("kind", ALL)
async def test_the_cap_with_an_artifact(kind: str, scene: Any, tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path / "artifacts")
    with scene(max_artifact=1_000_000) as here:
        with nothing_left(here):
            outcome = await here.run(kind, "much", workbench=Workbench(artifacts=store))

    assert outcome.kind == "truncated"
    assert outcome.bytes_kept == CAP
    assert outcome.artifact is not None
    found = store.find("run", outcome.artifact)
    assert found is not None
    assert found.size == 1_000_000
    assert LINE.encode() * 62_500 == await store.read("run", outcome.artifact, 0, 1_000_000)
    assert f"; the first 1,000,000 are in the artifact {outcome.artifact} …]" in outcome.output
    if kind in ("stream", *PROCESSES):
        assert outcome.output.endswith("[stopped: more than 1,000,000 bytes of output]")


@pytest.mark.parametrize("kind", ALL)
async def test_all_of_it_can_be_in_the_artifact(kind: str, scene: Any) -> None:
    store = FileArtifacts()
    with scene(max_output=100) as here:
        outcome = await here.run(kind, "bytes", workbench=Workbench(artifacts=store))

    assert outcome.artifact is not None
    found = store.find("run", outcome.artifact)
    assert found is not None
    assert found.size == outcome.bytes_produced
    assert f"; all of it is in the artifact {outcome.artifact} …]" in outcome.output


@pytest.mark.parametrize("artifacts", ["kept", ""])
@pytest.mark.parametrize("kind", ["stream", *PROCESSES])
async def test_endless_output_takes_no_memory(kind: str, artifacts: str, scene: Any) -> None:
    store = FileArtifacts() if artifacts else None
    with scene(max_artifact=24 * 2**20) as here:
        tracemalloc.start()
        try:
            outcome = await here.run(kind, "endless", workbench=Workbench(artifacts=store))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert outcome.kind == "truncated"
    assert outcome.output.endswith("[stopped: more than 25,165,824 bytes of output]")
    assert 24 * 2**20 <= outcome.bytes_produced < 26 * 2**20
    assert peak < 4 * 2**20
    assert here.closed == (["closed"] if kind == "stream" else [])
    assert is_gone(here.group() or -1)


@pytest.mark.parametrize("kind", ["async", "thread", "stream"])
async def test_retries(kind: str) -> None:
    attempts: list[float] = []
    options: Any = {"effect": "read", "retries": 2, "retry_on": (OSError,), "retry_delay": 0.001}

    def attempt() -> str:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("busy")
        return "fine"

    if kind == "thread":
        made: Tool = tool(attempt, name="t", **options)
    elif kind == "async":

        @tool(name="t", **options)
        async def made() -> str:
            return attempt()
    else:

        @tool(name="t", **options)
        async def made() -> AsyncIterator[str]:
            yield "half of it"
            yield attempt()

    outcome: ToolOutcome = await run_one(made)

    assert (outcome.kind, outcome.attempts) == ("ok", 3)
    assert outcome.output == ("half of itfine" if kind == "stream" else "fine"), "what failed is forgotten"


async def test_what_is_not_declared_is_not_tried_again() -> None:
    attempts: list[int] = []

    @tool(effect="idempotent", retries=3, retry_on=OSError)
    async def other() -> None:
        attempts.append(1)
        raise ValueError

    assert (await run_one(other)).attempts == 1
    assert attempts == [1]


async def test_retries_back_off(autojump_clock: Any) -> None:
    at: list[float] = []

    @tool(effect="read", retries=3, retry_delay=1)
    async def busy() -> None:
        at.append(trio.current_time())
        raise OSError

    await run_one(busy)

    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert [0.75 * 2**n <= gap <= 2**n for n, gap in enumerate(gaps)] == [True, True, True]
    assert gaps[1] == pytest.approx(2 * gaps[0]), "the jitter is the call's own"
