from __future__ import annotations

import contextlib
import hashlib
import math
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from tool_bench import NoEngine, Recorder, call, run_all, run_one, steady, told

from triplane.core.outcome import EffectClass, ToolCall, ToolOutcome
from triplane.tools import (
    Setting,
    Sink,
    Tool,
    ToolContext,
    Workbench,
    by_name,
    idempotency_key,
    run_calls,
    tool,
)


@tool(effect="read")
async def echo(text: str) -> str:
    return text


@tool(effect="read")
async def wait(seconds: float, text: str = "done") -> str:
    await trio.sleep(seconds)
    return text


@tool
async def fail(message: str) -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError(message)


async def refuse() -> None:
    raise ValueError("a")


@tool
async def stop() -> None:
    await trio.lowlevel.checkpoint()
    raise SystemExit(3)


async def test_a_call() -> None:
    observer = Recorder()

    outcome = await run_one(echo, observer, text="hällo")

    assert told(outcome) == ToolOutcome("ok", "hällo", None, outcome.seconds, 6, 6)
    assert 0 < outcome.seconds < 1
    assert observer.log == [("starting", "c1"), ("finished", "c1")]
    assert observer.keys == {"c1": idempotency_key("run", "c1")}


async def test_outcomes_are_in_the_order_of_the_calls(autojump_clock: Any) -> None:
    observer = Recorder()
    calls = [call("wait", f"c{number}", seconds=5 - number, text=str(number)) for number in range(5)]

    begun = trio.current_time()
    outcomes = await run_all(*calls, tools=[wait], observer=observer)

    assert [outcome.output for outcome in outcomes] == ["0", "1", "2", "3", "4"]
    assert [outcome.seconds for outcome in outcomes] == [5, 4, 3, 2, 1]
    assert trio.current_time() - begun == 5, "they ran all at once"
    # Each is reported as soon as it is known.
    assert observer.log[5:] == [("finished", f"c{number}") for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_it_checkpoints(count: int) -> None:
    @tool
    async def at_once() -> None: ...

    calls = [call("at_once", f"c{number}") for number in range(count)]
    with trio.testing.assert_checkpoints():
        await run_all(*calls, tools=[at_once])


async def test_one_call_needs_no_other_task() -> None:
    @tool
    async def who() -> str:
        return str(id(trio.lowlevel.current_task()))

    assert (await run_one(who)).output == str(id(trio.lowlevel.current_task()))


async def test_calls_that_start_nothing() -> None:
    observer = Recorder()

    outcomes = await run_all(
        call("ehco", "c1", text="a"),
        call("echo", "c2", txt="a"),
        ToolCall("c3", "echo", '{"text": '),
        tools=[echo, wait],
        observer=observer,
    )

    assert outcomes[0] == ToolOutcome(
        "failed", "There is no tool named 'ehco'. The tools are: echo, wait.", "unknown_tool"
    )
    assert outcomes[1] == ToolOutcome(
        "failed",
        "The tool was not run: its arguments do not fit.\n"
        "txt: there is no such parameter; the parameters are: text\ntext: missing",
        "invalid_arguments",
    )
    assert (outcomes[2].kind, outcomes[2].reason) == ("failed", "invalid_arguments")
    assert sorted(observer.log) == [("finished", f"c{number}") for number in (1, 2, 3)]


async def test_a_failure_is_told_and_disturbs_nobody() -> None:
    failed, fine = await run_all(
        call("fail", "c1", message="no sk-abcdefghijkl here"),
        call("echo", "c2", text="a"),
        tools=[fail, echo],
    )

    assert told(failed) == ToolOutcome(
        "failed", "The tool failed. ValueError: no sk-[redacted] here", "exception", failed.seconds
    )
    assert fine.output == "a"


async def test_a_group_of_failures() -> None:
    @tool
    async def twice() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            nursery.start_soon(refuse)

    outcome = await run_one(twice)

    assert outcome.output == "The tool failed. ValueError: a\nValueError: a"


@pytest.mark.parametrize(
    ("value", "output"),
    [
        (float("nan"), "The tool ran, but its result, a float, cannot be written as JSON: NaN and infinities are not JSON"),
        ("\ud800", "The tool ran, but its result holds a lone surrogate, which is not text"),
    ],
)  # fmt: skip
async def test_a_result_that_is_none(value: Any, output: str) -> None:
    @tool
    async def bad() -> Any:
        return value

    outcome = await run_one(bad)

    assert told(outcome) == ToolOutcome("failed", output, "invalid_result", outcome.seconds)


async def test_output_is_capped() -> None:
    @tool(max_output=100)
    async def much() -> str:
        return "x" * 1000

    outcome = await run_one(much)

    assert (outcome.kind, outcome.bytes_produced, outcome.bytes_kept) == ("truncated", 1000, 100)
    assert outcome.succeeded
    assert outcome.output == "x" * 75 + "\n[… 900 bytes cut …]\n" + "x" * 25


async def test_a_sink_may_be_returned() -> None:
    @tool
    async def written() -> Sink:
        sink = Sink(4)
        sink.write(b"abcdef")
        return sink

    outcome = await run_one(written)

    assert (outcome.kind, outcome.bytes_produced, outcome.bytes_kept) == ("truncated", 6, 4)


async def test_a_sync_tool() -> None:
    @tool
    def slow(number: int) -> int:
        return number + 1

    assert (await run_one(slow, number=3)).output == "4"


async def test_a_sync_function_that_returns_a_coroutine() -> None:
    @tool
    def wrapped(text: str) -> Any:
        return echo(text)

    outcome = await run_one(wrapped, text="a")

    assert outcome.reason == "invalid_result"
    assert "declare the tool's function with `async def`" in outcome.output


class TestTimeout:
    @pytest.mark.parametrize(
        ("effect", "doubt"), [("read", ""), ("write", " Part of its work may have been done.")]
    )
    async def test_it_is_cut_off(self, effect: Any, doubt: str, autojump_clock: Any) -> None:
        @tool(timeout=5, effect=effect)
        async def forever() -> None:
            await trio.sleep_forever()

        outcome = await run_one(forever)

        assert told(outcome) == ToolOutcome("timed_out", f"The tool timed out after 5 s.{doubt}", None, 5)

    async def test_no_limit(self, autojump_clock: Any) -> None:
        @tool(timeout=math.inf)
        async def long(context: ToolContext) -> str:
            await trio.sleep(80_000)
            return str(context.seconds_left())

        assert (await run_one(long)).output == "inf"

    async def test_its_own_timeout_is_not_ours(self, autojump_clock: Any) -> None:
        @tool(timeout=5)
        async def impatient() -> None:
            with trio.fail_after(1):
                await trio.sleep_forever()

        outcome = await run_one(impatient)

        assert (outcome.kind, outcome.output) == ("failed", "The tool failed. TooSlowError")

    async def test_cancellation_swallowed(self, autojump_clock: Any) -> None:
        @tool(timeout=5)
        async def stubborn() -> str:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                return "never mind"

        assert (await run_one(stubborn)).kind == "timed_out"

    async def test_cancellation_turned_into_an_error(self, autojump_clock: Any) -> None:
        @tool(timeout=5, effect="read", retries=3)
        async def translating() -> None:
            attempts.append(1)
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise RuntimeError("oh") from None

        attempts: list[int] = []
        assert (await run_one(translating)).kind == "timed_out"
        assert attempts == [1], "no retry after the deadline"

    async def test_an_error_beside_the_cancellation(self, autojump_clock: Any) -> None:
        async def messy() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("cleanup")

        @tool(timeout=5)
        async def nested() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(messy)
                nursery.start_soon(trio.sleep_forever)

        assert (await run_one(nested)).kind == "timed_out"

    async def test_it_never_checkpoints(self, autojump_clock: trio.testing.MockClock) -> None:
        @tool(timeout=5)
        async def busy() -> str:
            autojump_clock.jump(6)
            return "late"

        outcome = await run_one(busy)

        assert (outcome.kind, outcome.seconds) == ("timed_out", 6)

    async def test_waiting_for_the_observer_does_not_count(self, autojump_clock: Any) -> None:
        observer = Recorder()
        observer.on_starting = lambda call: trio.sleep(100)  # noqa: ASYNC105  (awaited by the observer)

        assert (await run_one(wait, observer, seconds=50)).kind == "ok"


class TestContext:
    async def test_what_it_says(self, autojump_clock: trio.testing.MockClock) -> None:
        seen: list[ToolContext] = []

        @tool(timeout=7)
        async def look(text: str, context: ToolContext) -> str:
            seen.append(context)
            await trio.sleep(3)
            return f"{context.seconds_left():g} {await context.engine.run('agent', text)}"

        begun = trio.current_time()
        outcome = await run_one(look, text="hi")

        assert outcome.output == "4 agent ran on hi"
        (context,) = seen
        assert (context.run_id, context.call_id, context.tool) == ("run", "c1", "look")
        assert context.deadline == begun + 7
        assert context.idempotency_key == idempotency_key("run", "c1")
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            context.run_id = "other"  # type: ignore[misc]
        await trio.sleep(100)
        assert context.seconds_left() == 0

    async def test_a_sync_tool_has_one_too(self) -> None:
        @tool(timeout=50)
        def look(context: ToolContext | None = None) -> str:
            return f"{context.tool} {context.seconds_left() > 45}" if context else "none"

        assert (await run_one(look)).output == "look True"
        assert look() == "none"


class TestRetries:
    @pytest.mark.parametrize(("failures", "kind"), [(0, "ok"), (2, "ok"), (3, "failed")])
    async def test_as_often_as_allowed(self, failures: int, kind: str) -> None:
        attempts: list[str] = []

        @tool(effect="idempotent", retries=2, retry_delay=0)
        async def flaky(context: ToolContext) -> str:
            attempts.append(context.idempotency_key)
            if len(attempts) <= failures:
                raise OSError(f"attempt {len(attempts)}")
            return "fine"

        observer = Recorder()
        outcome = await run_one(flaky, observer)

        assert outcome.kind == kind
        assert outcome.output == ("fine" if kind == "ok" else "The tool failed. OSError: attempt 3")
        assert len(attempts) == min(failures, 2) + 1
        assert set(attempts) == {idempotency_key("run", "c1")}
        assert len(observer.log) == 2

    async def test_sync_tools_too(self) -> None:
        attempts: list[int] = []

        @tool(effect="read", retries=1, retry_delay=0)
        def flaky() -> str:
            attempts.append(1)
            if len(attempts) == 1:
                raise OSError
            return "fine"

        assert (await run_one(flaky)).output == "fine"

    async def test_all_within_one_timeout(self, autojump_clock: Any) -> None:
        attempts: list[float] = []

        @tool(effect="read", retries=10, retry_delay=0, timeout=5)
        async def slow() -> None:
            attempts.append(trio.current_time())
            await trio.sleep(2)
            raise OSError

        assert (await run_one(slow)).kind == "timed_out"
        assert len(attempts) == 3

    async def test_not_after_the_deadline(self, autojump_clock: Any) -> None:
        attempts: list[int] = []

        @tool(effect="read", retries=3, timeout=5)
        async def busy() -> None:
            attempts.append(1)
            autojump_clock.jump(6)
            raise OSError

        assert (await run_one(busy)).kind == "timed_out"
        assert len(attempts) == 1

    async def test_not_when_it_stops_the_program(self) -> None:
        attempts: list[int] = []

        @tool(effect="read", retries=3)
        async def leave() -> None:
            attempts.append(1)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await run_one(leave)
        assert len(attempts) == 1

    async def test_not_when_cancelled(self) -> None:
        attempts: list[int] = []

        @tool(effect="read", retries=3)
        async def translating() -> None:
            attempts.append(1)
            scope.cancel()
            raise OSError

        observer = Recorder()
        with trio.CancelScope() as scope:
            await run_one(translating, observer)

        assert len(attempts) == 1
        assert observer.outcomes["c1"].kind == "cancelled"


class TestCancellation:
    @pytest.mark.parametrize("count", [1, 3])
    async def test_before_it_starts(self, count: int, autojump_clock: Any) -> None:
        observer = Recorder()
        with trio.CancelScope() as scope:
            scope.cancel()
            await run_all(
                *(call("echo", f"c{number}", text="a") for number in range(count)),
                tools=[echo],
                observer=observer,
            )

        assert scope.cancelled_caught
        never = ToolOutcome("cancelled", "The call was cancelled before it started.")
        assert observer.outcomes == {f"c{number}": never for number in range(count)}
        assert {what for what, _ in observer.log} == {"finished"}

    @pytest.mark.parametrize("count", [1, 2])
    async def test_in_the_middle(self, count: int, autojump_clock: Any) -> None:
        observer = Recorder()
        with trio.move_on_after(3) as scope:
            await run_all(
                *(call("wait", f"c{number}", seconds=2 + 2 * number) for number in range(1, count + 1)),
                tools=[wait],
                observer=observer,
            )

        assert scope.cancelled_caught
        cancelled = ToolOutcome("cancelled", "The call was cancelled before it ended.", None, 3)
        assert {key: told(one) for key, one in observer.outcomes.items()} == {
            f"c{number}": cancelled for number in range(1, count + 1)
        }

    async def test_what_had_ended_stays(self, autojump_clock: Any) -> None:
        observer = Recorder()
        with trio.move_on_after(3):
            await run_all(
                call("wait", "c1", seconds=2), call("wait", "c2", seconds=4), tools=[wait], observer=observer
            )

        assert [observer.outcomes[one].kind for one in ("c1", "c2")] == ["ok", "cancelled"]

    async def test_while_the_observer_is_at_work(self, autojump_clock: Any) -> None:
        observer = Recorder()
        observer.on_starting = lambda call: trio.sleep_forever()  # noqa: ASYNC105  (awaited by the observer)
        with trio.move_on_after(3):
            await run_one(echo, observer, text="a")

        assert told(observer.outcomes["c1"]) == ToolOutcome(
            "cancelled", "The call was cancelled before it started."
        )

    @pytest.mark.parametrize("count", [1, 2])
    async def test_errors_beside_the_cancellation_stay_with_the_tool(
        self, count: int, autojump_clock: Any
    ) -> None:
        """A nursery in the tool is cancelled, and its clean-up fails: the run's caller only sees the cancellation."""

        async def messy() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("cleanup")

        @tool
        async def nested() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(messy)
                nursery.start_soon(trio.sleep_forever)

        observer = Recorder()
        with trio.move_on_after(3) as scope:
            calls = [call("nested", f"c{number}") for number in range(count)]
            await run_all(*calls, tools=[nested], observer=observer)

        assert scope.cancelled_caught
        assert {outcome.kind for outcome in observer.outcomes.values()} == {"cancelled"}

    async def test_a_tool_that_ends_all_the_same_is_not_lost(self, autojump_clock: Any) -> None:
        @tool
        async def stubborn() -> str:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            return "done"

        observer = Recorder()
        with trio.move_on_after(3):
            await run_one(stubborn, observer)

        assert observer.outcomes["c1"].output == "done"

    async def test_a_group_of_cancellations(self, autojump_clock: Any) -> None:
        """What comes out of a strict nursery in the tool may be a group of nothing but Cancelled."""

        @tool
        async def nested() -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                raise BaseExceptionGroup("both", [error, error]) from None

        observer = Recorder()
        with trio.move_on_after(3) as scope:
            await run_one(nested, observer)

        assert scope.cancelled_caught
        assert observer.outcomes["c1"].kind == "cancelled"


class TestWhatStopsPrograms:
    async def test_alone(self) -> None:
        observer = Recorder()
        with pytest.raises(SystemExit, match="3"):
            await run_one(stop, observer)

        assert told(observer.outcomes["c1"]) == ToolOutcome(
            "failed",
            "The tool stopped the program. SystemExit: 3\n"
            "Whether it did its work is not known; look before you make it again.",
            "exception",
            observer.outcomes["c1"].seconds,
        )

    @pytest.mark.parametrize("effect", ["read", "idempotent", "write"])
    @pytest.mark.parametrize("kind", ["failed", "cancelled"])
    async def test_what_may_have_happened(self, effect: EffectClass, kind: str, autojump_clock: Any) -> None:
        """Nobody knows how far a tool had come that was cut off, by itself or by others."""

        @tool(effect=effect)
        async def work() -> None:
            if kind == "failed":
                raise KeyboardInterrupt
            await trio.sleep_forever()

        observer = Recorder()
        with trio.move_on_after(3), contextlib.suppress(KeyboardInterrupt):
            await run_one(work, observer)

        outcome = observer.outcomes["c1"]
        assert kind == outcome.kind
        assert (effect != "read") == ("Whether it did its work is not known" in outcome.output)

    async def test_among_others(self) -> None:
        observer = Recorder()
        with pytest.RaisesGroup(SystemExit):
            await run_all(
                call("stop", "c1"), call("wait", "c2", seconds=60), tools=[stop, wait], observer=observer
            )

        assert [observer.outcomes[one].kind for one in ("c1", "c2")] == ["failed", "cancelled"]

    async def test_in_a_thread(self) -> None:
        @tool
        def leave() -> None:
            raise SystemExit(4)

        with pytest.raises(SystemExit, match="4"):
            await run_one(leave)

    async def test_together_with_errors(self) -> None:
        @tool
        async def both() -> None:
            raise BaseExceptionGroup("both", [SystemExit(3), ValueError("a")])

        with pytest.RaisesGroup(SystemExit) as caught:
            await run_one(both)
        assert isinstance(caught.value.__cause__, BaseExceptionGroup), "the ValueError can still be seen"

    async def test_in_a_group(self) -> None:
        @tool
        async def group() -> None:
            raise BaseExceptionGroup("group", [SystemExit(3)])

        with pytest.RaisesGroup(SystemExit) as caught:
            await run_one(group)
        assert caught.value.__cause__ is None

    async def test_a_group_class_of_its_own_with_errors_only(self) -> None:
        class Odd(BaseExceptionGroup[Exception]):
            pass

        @tool
        async def odd() -> None:
            raise Odd("odd", [ValueError("a")])

        assert (await run_one(odd)).output == "The tool failed. ValueError: a"


class LedgerBrokenError(Exception):
    pass


class TestObserverFails:
    async def test_alone(self) -> None:
        observer = Recorder()

        async def broken(call: ToolCall) -> None:
            await trio.lowlevel.checkpoint()
            raise LedgerBrokenError

        observer.on_starting = broken
        with pytest.raises(LedgerBrokenError):
            await run_one(stop, observer)

        assert observer.outcomes["c1"].output == "The call was cancelled before it started."

    async def test_among_others(self, autojump_clock: Any) -> None:
        observer = Recorder()

        async def broken(call: ToolCall) -> None:
            if call.call_id == "c2":
                await trio.sleep(1)
                raise LedgerBrokenError

        observer.on_starting = broken
        calls = [call("wait", f"c{number}", seconds=9) for number in range(3)]
        with pytest.raises(LedgerBrokenError) as caught:
            await run_all(*calls, tools=[wait], observer=observer)

        assert caught.value.__context__ is None
        assert {outcome.kind for outcome in observer.outcomes.values()} == {"cancelled"}

    async def test_more_than_once(self) -> None:
        observer = Recorder()

        async def broken(call: ToolCall) -> None:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            raise LedgerBrokenError

        observer.on_starting = broken
        calls = [call("echo", f"c{number}", text="a") for number in range(2)]
        with pytest.RaisesGroup(LedgerBrokenError, LedgerBrokenError):
            await run_all(*calls, tools=[echo], observer=observer)
        assert len(observer.outcomes) == 2

    async def test_who_cannot_record_the_outcome_keeps_no_place(self, autojump_clock: Any) -> None:
        class Lost(Recorder):
            def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
                raise LedgerBrokenError

        workbench = Workbench(max_concurrency=1)
        with pytest.raises(LedgerBrokenError):
            await run_one(echo, Lost(), workbench=workbench, text="a")
        with trio.fail_after(1):
            assert "ok" == (await run_one(echo, workbench=workbench, text="a")).kind


class Exact(Recorder):
    """Sees to it that there is no checkpoint between the end of a tool's code and the report."""

    def __init__(self) -> None:
        super().__init__()
        self.ended_at: dict[str, int] = {}

    def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
        assert self.ended_at[call.call_id] == schedule.steps, "the scheduler ran in between"
        super().finished(call, outcome)


class Steps(trio.abc.Instrument):
    steps = 0

    def before_task_step(self, task: Any) -> None:
        self.steps += 1


schedule = Steps()


async def test_no_checkpoint_between_the_end_and_the_report() -> None:
    observer = Exact()

    @tool
    async def ends(context: ToolContext) -> str:
        await trio.lowlevel.checkpoint()
        observer.ended_at[context.call_id] = schedule.steps
        return "x"

    trio.lowlevel.add_instrument(schedule)
    try:
        await run_all(call("ends", "c1"), call("ends", "c2"), tools=[ends], observer=observer)
    finally:
        trio.lowlevel.remove_instrument(schedule)


def test_idempotency_keys() -> None:
    key = idempotency_key("run", "call")

    assert key == idempotency_key("run", "call")
    assert key == hashlib.blake2b(b"3:run:call", digest_size=16).hexdigest(), "stable across versions"
    assert (
        len({key, idempotency_key("run:c", "all"), idempotency_key("ru", "n:call"), idempotency_key("", "")})
        == 4
    )
    assert idempotency_key("\ud800", "x" * 1_000_000).isalnum()


@pytest.mark.parametrize("hostile", ["x" * 1_000_000, "\ud800", "a\0b", "../../etc", "<script>"])
async def test_hostile_names_and_ids(hostile: str) -> None:
    observer = Recorder()
    calls = [ToolCall(hostile, "echo", '{"text": "a"}'), ToolCall("c2", hostile, hostile)]

    fine, unknown = await run_all(*calls, tools=[echo], observer=observer)

    assert fine.output == "a"
    assert unknown.reason == "unknown_tool"
    assert len(unknown.output) < 500


@st.composite
def workloads(draw: st.DrawFn) -> list[tuple[str, float, float]]:
    step = st.sampled_from(["return", "raise", "swallow", "stop", "nested"])
    return draw(st.lists(st.tuples(step, st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=5))


@steady
@given(workloads(), st.none() | st.integers(0, 6))
def test_whatever_happens_each_call_is_reported_once(
    workload: list[tuple[str, float, float]], cancel_after: float | None
) -> None:
    """One report for every call; the outcomes agree with the reports; nothing comes out but what should."""

    def made(number: int, kind: str, seconds: float, timeout: float) -> Tool:
        @tool(name=f"t{number}", timeout=timeout)
        async def work() -> str:
            match kind:
                case "return":
                    await trio.sleep(seconds)
                case "raise":
                    await trio.sleep(seconds)
                    raise ValueError
                case "swallow":
                    with trio.CancelScope() as scope:
                        scope.shield = True
                        await trio.sleep(seconds)
                case "stop":
                    await trio.sleep(seconds)
                    raise SystemExit
                case _:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(trio.sleep, seconds)
                        nursery.start_soon(trio.sleep, seconds / 2)
            return kind

        return work

    tools = [made(number, *one) for number, one in enumerate(workload)]
    calls = [call(one.name, one.name) for one in tools]
    observer = Recorder()

    async def main() -> tuple[ToolOutcome, ...] | None:
        with trio.move_on_after(math.inf if cancel_after is None else cancel_after):
            return await run_calls(
                calls, by_name(tools), Setting(run_id="run", engine=NoEngine(), observer=observer)
            )
        return None

    outcomes = None
    stopped = False
    try:
        outcomes = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    except* SystemExit:
        stopped = True

    assert sorted(observer.outcomes) == sorted(one.name for one in tools)
    if outcomes is not None:
        assert outcomes == tuple(observer.outcomes[one.name] for one in tools)
        assert "cancelled" not in {outcome.kind for outcome in outcomes}
    assert stopped == any("SystemExit" in outcome.output for outcome in observer.outcomes.values())
    for (kind, seconds, timeout), one in zip(workload, tools, strict=True):
        if observer.outcomes[one.name].kind == "ok":
            assert seconds <= timeout
            assert kind in ("return", "swallow", "nested")
