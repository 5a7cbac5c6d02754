"""What a run tells of its tool calls, and what it does about their outcomes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from played_server import Played, call, message, open_stage

import triplane
from triplane.core.reducer import RunReducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


async def run(
    agent: triplane.Agent, play: Callable[[Played], Any], **options: Any
) -> tuple[triplane.RunState, list[Any], list[dict[str, Any]], triplane.Engine]:
    failure: triplane.TriplaneError | None = None
    async with open_stage(play, **options) as stage:
        try:
            async with stage.engine.open_run(agent, "Go.") as running:
                events = [event async for event in running]
        except triplane.TriplaneError as error:
            failure = error
    if failure is not None:
        raise failure
    # The log folds to the same state as the run had.
    reducer = RunReducer()
    for record in await running.log.read(-1, 100_000):
        reducer.apply(record)
    assert reducer.snapshot() == running.result
    return running.result, events, stage.requests, stage.engine


def ask(*calls: dict[str, Any]) -> Callable[[Played], Any]:
    """A server that asks for each of the calls, one a turn, and then is content."""

    async def play(peer: Played) -> None:
        for number, one in enumerate(calls):
            await peer.request()
            await peer.answer(f"r{number}", one)
        await peer.request()
        await peer.answer("last", message("Done."))

    return play


async def test_the_life_of_a_call(autojump_clock: Any) -> None:
    @triplane.tool(effect="read", max_concurrency=1)
    async def work() -> AsyncIterator[str | triplane.Progress]:
        """Work."""
        yield "a" * 1000
        yield triplane.Progress("half", done=1, total=2)
        await trio.sleep(2)
        yield "b" * 1000

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", call("work", "{}", "c1", "f1"), call("work", "{}", "c2", "f2"))
        await peer.request()
        await peer.answer("r2", message("Done."))

    _, events, requests, _ = await run(triplane.Agent("m", tools=[work]), play)

    def of(call_id: str) -> list[Any]:
        return [
            each for each in events if getattr(each, "call_id", None) == call_id and hasattr(each, "name")
        ]

    for number, call_id in enumerate(("c1", "c2")):
        assert [type(each).__name__ for each in of(call_id)] == [
            "ToolQueued",
            "ToolStarted",
            "ToolProgress",
            "ToolProgress",
            "ToolFinished",
        ]
        _, _, told, grown, finished = of(call_id)
        assert (told.message, told.done, told.total, told.bytes_produced) == ("half", 1, 2, 1000)
        assert grown.bytes_produced == 2000
        outcome = finished.outcome
        assert (outcome.queue_seconds, outcome.seconds) == (2 * number, 2)
        assert (outcome.bytes_produced, outcome.bytes_kept) == (2000, 2000)
    answered = [item["call_id"] for item in requests[1]["input"] if item["type"] == "function_call_output"]
    assert answered == ["c1", "c2"]


async def test_what_was_cut_can_be_read_on(autojump_clock: Any) -> None:
    text = "".join(f"line {number}\n" for number in range(10_000))

    @triplane.tool(effect="read", max_output=500)
    async def much() -> str:
        """Say much."""
        await trio.lowlevel.checkpoint()
        return text

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", call("much"))
        request = await peer.request()
        (item,) = [each for each in request["input"] if each["type"] == "function_call_output"]
        name = item["output"].partition("in the artifact ")[2].partition(" …]")[0]
        arguments = json.dumps({"artifact": name, "offset": 100, "length": 50})
        await peer.answer("r2", call("read_artifact", arguments, "call_2", "fc_2"))
        await peer.request()
        await peer.answer("r3", message("Done."))

    result, _, requests, engine = await run(triplane.Agent("m", tools=[much]), play)

    names = [[each["name"] for each in request["tools"]] for request in requests]
    assert names == [["much"], ["much", "read_artifact"], ["much", "read_artifact"]]
    page = result.tool_calls[1].outcome
    assert page.kind == "ok"
    assert page.output.partition("\n")[2] == text[100:150]
    # People read it from the ledger.
    store = engine.ledger.artifacts  # type: ignore[attr-defined]
    (artifact,) = store.of_run(result.run_id)
    assert artifact.artifact_id == result.tool_calls[0].outcome.artifact
    assert text.encode() == await store.read(result.run_id, artifact.artifact_id, 0, artifact.size)


async def test_an_image_goes_up_as_an_image(autojump_clock: Any) -> None:
    @triplane.tool(effect="read")
    async def draw() -> triplane.Image:
        """Draw."""
        await trio.lowlevel.checkpoint()
        return triplane.Image(b"\x89PNG")

    _, _, requests, _ = await run(triplane.Agent("m", tools=[draw]), ask(call("draw")))

    (item,) = [each for each in requests[1]["input"] if each["type"] == "function_call_output"]
    assert item["output"] == [
        {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw=="}
    ]


def failing(**options: Any) -> Any:
    @triplane.tool(name="fail", effect="read", **options)
    async def fail(number: int) -> None:
        """Fail."""
        await trio.lowlevel.checkpoint()
        if number >= 0:
            raise LookupError("gone")

    return fail


def fail_with(number: int, count: int, first: int = 0) -> list[dict[str, Any]]:
    arguments = f'{{"number": {number}}}'
    return [call("fail", arguments, f"call_{first + n}", f"fc_{first + n}") for n in range(count)]


async def test_the_same_failure_again_and_again_ends_the_run(autojump_clock: Any) -> None:
    agent = triplane.Agent("m", tools=[failing()], limits=triplane.RunLimits(repeated_failure=3))

    with pytest.raises(
        triplane.LimitReached, match="the tool fail failed 3 times in a row for the same"
    ) as caught:
        await run(agent, ask(*fail_with(1, 9)))

    assert (caught.value.which, caught.value.limit) == ("repeated_failure", 3)
    assert [effect.outcome for effect in caught.value.receipt.effects] == ["failed"] * 3
    assert caught.value.receipt.next == "resume"


async def test_other_arguments_and_successes_begin_the_count_anew(autojump_clock: Any) -> None:
    agent = triplane.Agent("m", tools=[failing()], limits=triplane.RunLimits(repeated_failure=3))
    calls = [*fail_with(1, 2), *fail_with(2, 2, 10), *fail_with(-1, 5, 20)]

    result, _, _, _ = await run(agent, ask(*calls))

    assert (result.text, len(result.tool_calls)) == ("Done.", 9)


@pytest.mark.parametrize("says", ["agent", "tool"])
async def test_a_failure_can_end_the_run(says: str, autojump_clock: Any) -> None:
    options: Any = {"on_error": "raise"} if says == "tool" else {}
    agent = triplane.Agent("m", tools=[failing(**options)], on_error="raise" if says == "agent" else "report")

    with pytest.raises(
        triplane.RunFailed, match="the tool fail failed: The tool failed. LookupError: gone"
    ) as caught:
        await run(agent, ask(*fail_with(1, 1)))

    assert caught.value.code == "tool_failed"
    assert isinstance(caught.value.__cause__, LookupError)
    assert caught.value.receipt.effects == (triplane.Effect("call_0", "fail", "failed"),)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_error": "ignore"}, "on_error must be one of 'report', 'raise', not 'ignore'"),
        ({"siblings": None}, "siblings must be one of 'continue', 'cancel', not None"),
    ],
)
def test_policies_that_are_none(options: Any, words: str) -> None:
    with pytest.raises(triplane.ConfigError, match=words):
        triplane.Agent("m", **options)


async def test_an_agent_that_is_a_tool_takes_no_place(autojump_clock: Any) -> None:
    """It waits for calls of its own: with one place in all, they would wait for it."""

    @triplane.tool(effect="read")
    async def leaf() -> str:
        """Leaf."""
        await trio.sleep(1)
        return "leaf"

    child = triplane.Agent("child", tools=[leaf], name="child")
    parent = triplane.Agent("parent", tools=[child.as_tool()])

    async def play(peer: Played) -> None:
        while True:
            request = await peer.request()
            number = len(peer_requests)
            peer_requests.append(request)
            has_output = any(each["type"] == "function_call_output" for each in request["input"])
            if has_output:
                await peer.answer(f"r{number}", message("Done.", f"m{number}"))
            elif request["model"] == "parent":
                await peer.answer(
                    f"r{number}",
                    call("child", '{"question": "a"}', "p1", "f1"),
                    call("child", '{"question": "b"}', "p2", "f2"),
                )
            else:
                await peer.answer(f"r{number}", call("leaf", "{}", f"c{number}", f"f{number}"))

    peer_requests: list[Any] = []
    result, _, _, _ = await run(parent, play, max_tool_concurrency=1)

    assert result.text == "Done."
    assert [each.outcome.output for each in result.tool_calls] == ["Done.", "Done."]
