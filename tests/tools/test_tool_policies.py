"""What a failed call does to the others, how many run at once, and what is told while they do."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from tool_bench import NoEngine, Recorder, call, run_all, run_one, until

from triplane.core.errors import ConfigError
from triplane.core.outcome import ToolCall
from triplane.tools import (
    FailurePolicy,
    Progress,
    Setting,
    ToolContext,
    ToolFailedError,
    Workbench,
    by_name,
    run_calls,
    threads,
    tool,
    tools_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@tool(effect="read")
async def wait(seconds: float) -> str:
    await trio.sleep(seconds)
    return f"{seconds:g}"


def failing(**options: Any) -> Any:
    @tool(name="fail", **options)
    async def fail() -> None:
        await trio.sleep(2)
        raise LookupError("gone")

    return fail


class TestSiblings:
    @pytest.mark.parametrize("says", ["agent", "tool"])
    async def test_they_can_be_cancelled(self, says: str, autojump_clock: Any) -> None:
        observer = Recorder()
        options: Any = {"siblings": "cancel"} if says == "tool" else {}
        policy = FailurePolicy(siblings="cancel" if says == "agent" else "continue")

        outcomes = await run_all(
            call("wait", "c1", seconds=1),
            call("fail", "c2"),
            call("wait", "c3", seconds=9),
            tools=[wait, failing(**options)],
            observer=observer,
            policy=policy,
        )

        assert [outcome.kind for outcome in outcomes] == ["ok", "failed", "cancelled"]
        assert outcomes[2].output == "The call was cancelled because fail failed."
        assert outcomes[2].seconds == 2

    async def test_a_tool_can_spare_them(self, autojump_clock: Any) -> None:
        outcomes = await run_all(
            call("fail", "c1"),
            call("wait", "c2", seconds=9),
            tools=[wait, failing(siblings="continue")],
            policy=FailurePolicy(siblings="cancel"),
        )

        assert [outcome.kind for outcome in outcomes] == ["failed", "ok"]

    async def test_a_timeout_counts_and_a_mistake_of_the_model_does_not(self, autojump_clock: Any) -> None:
        @tool(timeout=1, siblings="cancel")
        async def slow(number: int) -> None:
            await trio.sleep_forever()

        late = await run_all(call("slow", "c1", number=1), call("wait", "c2", seconds=9), tools=[wait, slow])
        unfit = await run_all(
            call("slow", "c1", number="x"), call("wait", "c2", seconds=9), tools=[wait, slow]
        )

        assert [outcome.kind for outcome in late] == ["timed_out", "cancelled"]
        assert [outcome.kind for outcome in unfit] == ["failed", "ok"]

    async def test_one_that_waits_for_its_turn_never_starts(self, autojump_clock: Any) -> None:
        observer = Recorder()
        outcomes = await run_all(
            call("fail", "c1"),
            call("wait", "c2", seconds=1),
            tools=[wait, failing(siblings="cancel")],
            observer=observer,
            workbench=Workbench(max_concurrency=1),
        )

        assert [outcome.kind for outcome in outcomes] == ["failed", "cancelled"]
        assert ("starting", "c2") not in observer.log
        assert (outcomes[1].seconds, outcomes[1].queue_seconds) == (0, 2)

    async def test_what_ends_all_the_same_is_not_lost(self, autojump_clock: Any) -> None:
        @tool
        async def stubborn() -> str:
            with trio.CancelScope(shield=True, relative_deadline=5):
                await trio.sleep(4)
            return "done"

        outcomes = await run_all(
            call("fail", "c1"), call("stubborn", "c2"), tools=[stubborn, failing(siblings="cancel")]
        )

        assert outcomes[1].output == "done"


class TestRaising:
    @pytest.mark.parametrize("siblings", ["continue", "cancel"])
    async def test_it_comes_out_once_all_have_ended(self, siblings: Any, autojump_clock: Any) -> None:
        observer = Recorder()
        with pytest.raises(
            ToolFailedError, match="the tool fail failed: The tool failed. LookupError: gone"
        ) as caught:
            await run_all(
                call("fail", "c1"),
                call("wait", "c2", seconds=9),
                tools=[wait, failing(on_error="raise", siblings=siblings)],
                observer=observer,
            )

        assert isinstance(caught.value.__cause__, LookupError)
        assert caught.value.call.call_id == "c1"
        kinds = [observer.outcomes[one].kind for one in ("c1", "c2")]
        assert kinds == ["failed", "ok" if siblings == "continue" else "cancelled"]

    async def test_alone_and_late(self, autojump_clock: Any) -> None:
        @tool(timeout=1)
        async def slow() -> None:
            await trio.sleep_forever()

        with pytest.raises(ToolFailedError) as caught:
            await run_all(call("slow"), tools=[slow], policy=FailurePolicy(on_error="raise"))

        assert caught.value.outcome.kind == "timed_out"
        assert caught.value.__cause__ is None

    async def test_a_tool_can_report_all_the_same(self, autojump_clock: Any) -> None:
        (outcome,) = await run_all(
            call("fail"), tools=[failing(on_error="report")], policy=FailurePolicy(on_error="raise")
        )

        assert outcome.kind == "failed"


class TestWhatTheModelIsTold:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"error_text": "Try again tomorrow."}, "Try again tomorrow."),
            ({"error_text": "Try \ud800."}, "Try ?."),
            (
                {"error_text": lambda error: f"It said {error.args[0]} sk-abcdefghijkl."},
                "It said gone sk-[redacted].",
            ),
            ({"error_text": lambda error: 1 / 0}, "The tool failed."),
            ({"hide_errors": LookupError}, "The tool failed."),
            ({"hide_errors": (OSError, LookupError), "error_text": "Never seen."}, "The tool failed."),
            ({"hide_errors": OSError}, "The tool failed. LookupError: gone"),
        ],
    )
    async def test_of_an_exception(self, options: Any, text: str, autojump_clock: Any) -> None:
        outcome = await run_one(failing(**options))

        assert (outcome.kind, outcome.output) == ("failed", text)

    async def test_one_hidden_error_hides_a_group(self) -> None:
        @tool(hide_errors=PermissionError)
        async def both() -> None:
            await trio.lowlevel.checkpoint()
            raise ExceptionGroup("both", [ValueError("a"), ExceptionGroup("inner", [PermissionError("b")])])

        assert (await run_one(both)).output == "The tool failed."


class TestConcurrency:
    async def run(
        self, limits: dict[str, Any], workbench: Workbench, count: int = 20
    ) -> tuple[int, list[Any]]:
        running = most = 0

        @tool(effect="read", **limits)
        async def busy() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await trio.sleep(1)
            running -= 1

        observer = Recorder()
        calls = [call("busy", f"c{number}") for number in range(count)]
        outcomes = await run_all(*calls, tools=[busy], observer=observer, workbench=workbench)
        assert sorted(observer.queue) == sorted(one.call_id for one in calls)
        return most, [outcome.queue_seconds for outcome in outcomes]

    @pytest.mark.parametrize(
        ("limits", "workbench", "most"),
        [
            ({"max_concurrency": 4}, Workbench(), 4),
            ({}, Workbench(max_concurrency=5), 5),
            ({"max_concurrency": 4}, Workbench(max_concurrency=2), 2),
            ({}, Workbench(), 20),
        ],
    )
    async def test_so_many_at_once(
        self, limits: Any, workbench: Workbench, most: int, autojump_clock: Any
    ) -> None:
        at_once, queued = await self.run(limits, workbench)

        assert at_once == most
        assert queued == [number // most for number in range(20)], "in the order in which they came"

    async def test_one_after_the_other_in_the_order_of_the_calls(self, autojump_clock: Any) -> None:
        order: list[int] = []

        @tool(max_concurrency=1)
        async def write(number: int) -> None:
            order.append(number)
            await trio.sleep(1)

        await run_all(*(call("write", f"c{n}", number=n) for n in range(20)), tools=[write])

        assert order == list(range(20))

    async def test_500_calls_and_a_cancellation(self, autojump_clock: Any) -> None:
        workbench = Workbench(max_concurrency=8)
        with trio.move_on_after(3.5) as scope:
            await self.run({}, workbench, 500)

        assert scope.cancelled_caught
        assert repr(workbench) == "<Workbench: 0 places of 8>"

    async def test_waiting_does_not_count_against_the_timeout(self, autojump_clock: Any) -> None:
        @tool(effect="read", timeout=1.5, max_concurrency=1)
        async def slow() -> str:
            await trio.sleep(1)
            return "fine"

        outcomes = await run_all(*(call("slow", f"c{n}") for n in range(4)), tools=[slow])

        assert {outcome.kind for outcome in outcomes} == {"ok"}

    async def test_a_call_in_a_call_has_a_place_of_its_own(self, autojump_clock: Any) -> None:
        """Nested runs are in the same task, and a limiter of Trio's lends to tasks."""
        workbench = Workbench(max_concurrency=2)

        @tool(effect="read")
        async def outer() -> str:
            inner = ToolCall("c2", "wait", '{"seconds": 1}')
            (outcome,) = await run_calls(
                [inner],
                by_name([wait]),
                Setting(run_id="r2", engine=NoEngine(), observer=Recorder(), workbench=workbench),
            )
            return outcome.output

        assert (await run_one(outer, workbench=workbench)).output == "1"


class TestProgress:
    async def test_what_is_told(self, autojump_clock: Any) -> None:
        observer = Recorder()

        @tool
        async def steps(context: ToolContext) -> str:
            context.progress("begun", done=0, total=2)
            await trio.sleep(1)
            context.progress("x" * 10_000, done=1, total=2)
            kept.append(context)
            return "fine"

        kept: list[ToolContext] = []
        await run_one(steps, observer)
        kept[0].progress("after the end")

        assert observer.reports == [
            ("c1", Progress("begun", 0, 2), 0, 0),
            ("c1", Progress("x" * 500, 1, 2), 0, 0),
        ]

    async def test_it_is_bounded_in_rate_and_nothing_is_miscounted(self, autojump_clock: Any) -> None:
        observer = Recorder()

        @tool
        async def chatty(context: ToolContext) -> None:
            for number in range(10_000):
                context.progress(str(number))
            await trio.sleep(10)
            context.progress("last")

        await run_one(chatty, observer)

        assert [report[1].message for report in observer.reports] == ["0", "1", "2", "3", "4", "last"]
        assert observer.reports[-1][3] == 9_995

    async def test_from_a_thread_and_from_an_iterator(self) -> None:
        observer = Recorder()

        @tool(name="threaded")
        def threaded(context: ToolContext) -> str:
            context.progress("in a thread")
            return "a"

        @tool(name="streaming")
        async def streaming() -> AsyncIterator[str | Progress]:
            yield "abc"
            yield Progress("half", 1, 2)
            yield "def"

        await run_all(
            call("threaded", "c1"), call("streaming", "c2"), tools=[threaded, streaming], observer=observer
        )

        assert sorted(observer.reports) == [
            ("c1", Progress("in a thread"), 0, 0),
            ("c2", Progress("half", 1, 2), 3, 0),
        ]

    async def test_output_tells_of_itself(self, autojump_clock: Any) -> None:
        observer = Recorder()

        @tool
        async def slow() -> AsyncIterator[str]:
            for _ in range(1000):
                await trio.sleep(0.01)
                yield "0123456789"

        await run_one(slow, observer)

        sizes = [report[2] for report in observer.reports]
        assert 15 <= len(sizes) <= 20
        assert sizes == sorted(sizes)
        assert sizes[-1] <= 10_000


async def test_threads_that_were_left_behind_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    # Those that other tests have left behind end in the meantime.
    await until(lambda: threads.thread_statistics().abandoned == 0)
    monkeypatch.setattr(threads, "MAX_ABANDONED", 2)
    release = threading.Event()

    @tool(timeout=0.02)
    def hang() -> None:
        release.wait(20)

    try:
        kinds = [(await run_one(hang)).kind for _ in range(2)]
        refused = await run_one(hang)
    finally:
        release.set()
    await until(lambda: threads.thread_statistics().abandoned == 0)

    assert kinds == ["timed_out", "timed_out"]
    assert refused.kind == "failed"
    assert "threads of earlier calls, which did not end in time, are still running" in refused.output


class Shelf:
    """Tools with a state that they share."""

    def __init__(self) -> None:
        self.books: list[str] = []

    @tool(effect="idempotent")
    async def put(self, title: str) -> str:
        """Put a book on the shelf."""
        await trio.lowlevel.checkpoint()
        self.books.append(title)
        return f"{len(self.books)} books"

    @tool(effect="read", early=True)
    def books_there(self) -> list[str]:
        """List the books."""
        return self.books

    def no_tool(self) -> None: ...


class Library(Shelf):
    @tool(effect="read")
    async def stream(self) -> AsyncIterator[str]:
        """Read them out."""
        for book in self.books:
            yield book


class TestMethods:
    async def test_they_share_their_object(self) -> None:
        shelf, other = Library(), Library()
        tools = tools_of(shelf)

        assert [each.name for each in tools] == ["put", "books_there", "stream"]
        assert tools == tools_of(shelf)
        assert shelf.put is tools[0]
        assert other.put is not tools[0]
        assert (tools[1].effect, tools[1].early) == ("read", True)
        assert tools[0].definition()["parameters"]["properties"] == {"title": {"type": "string"}}
        put, listed, streamed = [
            (await run_all(one, tools=tools))[0].output
            for one in (call("put", title="Emma"), call("books_there"), call("stream"))
        ]
        assert (put, listed, streamed) == ("1 books", '["Emma"]', "Emma")
        assert other.books == []
        assert await shelf.put("Persuasion") == "2 books", "it is still a method"

    def test_without_a_dict(self) -> None:
        class Slotted:
            __slots__ = ()

            @tool
            def work(self) -> None: ...

        assert [each.name for each in tools_of(Slotted())] == ["work"]

    def test_of_an_object_with_slots(self) -> None:
        """Its limits would be counted for each by itself."""

        @attrs.define
        class Drawer:
            name: str

            @tool(max_concurrency=1)
            async def open(self) -> str:
                await trio.lowlevel.checkpoint()
                return self.name

        drawer, other = Drawer("a"), Drawer("b")
        first, second = drawer.open, other.open

        assert (first, second) == (drawer.open, other.open)
        assert (first,) == tools_of(drawer)
        assert first is not second
        gone = weakref.ref(drawer)
        del first, drawer
        gc.collect()
        assert None is gone()

    def test_what_has_none(self) -> None:
        with pytest.raises(ConfigError, match="int has no tools; declare methods of it with @triplane.tool"):
            tools_of(3)
        with pytest.raises(ConfigError, match=r"takes an object, not the class Shelf; make one: Shelf\(…\)"):
            tools_of(Shelf)
        with pytest.raises(ConfigError, match=r"<ToolMethod put> is a method of no object in particular"):
            by_name([Shelf.put])  # type: ignore[list-item]
        with pytest.raises(ConfigError, match="tools are given in a list, not as 3"):
            by_name(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retry_on": "OSError"}, "retry_on of tool 'f' is 'OSError'; give a class of exceptions"),
        ({"retry_on": (OSError, BaseException)}, "give a class of exceptions, or a tuple of them"),
        ({"hide_errors": 3}, "hide_errors of tool 'f' is 3"),
        ({"early": True}, "early=True with effect='write'; a response that is given up would leave its effect behind"),
        ({"early": True, "effect": "idempotent"}, "only a tool with effect='read' may start early"),
        ({"early": 1.5}, "early of tool 'f' is 1.5; use True or False"),
        ({"on_error": "ignore"}, "on_error of tool 'f' is 'ignore'; use 'report' or 'raise'"),
        ({"siblings": "kill"}, "siblings of tool 'f' is 'kill'; use 'continue' or 'cancel'"),
        ({"max_concurrency": 0}, "max_concurrency of tool 'f' is 0; give a number of calls, at least 1"),
        ({"max_concurrency": 1.5}, "max_concurrency of tool 'f' is 1.5"),
        ({"max_artifact": -1}, "max_artifact of tool 'f' is -1; give bytes, at least 0"),
        ({"timeout": 10**400}, "timeout of tool 'f' is 1000"),
        ({"description": 3}, "description of tool 'f' is 3; give a text"),
        ({"retry_delay": -1}, "retry_delay of tool 'f' is -1; give seconds, at least 0"),
        ({"error_text": 3}, "error_text of tool 'f' is 3; give a sentence, or a function"),
        ({"tiemout": 3}, "tool 'f' has no option 'tiemout'; the options are: async_, defer_loading, early, "),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(options: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tool(lambda: None, name="f", **options)
