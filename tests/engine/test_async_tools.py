"""Tools that the model does not wait for: their outputs come later, each once, whatever happens meanwhile."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from played_server import Played, call, message, open_stage, run_on_stage
from resuming import add_cut_off

import triplane
from triplane.core.reducer import RunReducer


@attrs.define
class Slow:
    """A tool that takes its time, and one that does not."""

    seconds: float = 10.0
    log: list[tuple[str, str]] = attrs.field(factory=list)
    fails: bool = False

    @triplane.tool(async_=True)
    async def order(self, what: str) -> str:
        """Order something."""
        self.log.append(("began", what))
        try:
            await trio.sleep(self.seconds)
        except trio.Cancelled:
            self.log.append(("cancelled", what))
            raise
        if self.fails:
            raise ValueError("sold out")
        self.log.append(("ended", what))
        return f"here is {what}"

    @triplane.tool
    async def look(self) -> str:
        """Look."""
        await trio.sleep(1)
        return "seen"

    def agent(self, **more: Any) -> triplane.Agent:
        return triplane.Agent("m", tools=triplane.tools_of(self), **more)


def order(what: str = "tea", call_id: str = "call_1") -> dict[str, Any]:
    return {**call("order", f'{{"what": "{what}"}}', call_id, f"fc_{call_id}"), "async": True}


def outputs(request: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (item["call_id"], item["output"]) for item in request["input"] if item["type"].endswith("_output")
    ]


def test_what_the_api_is_told() -> None:
    (definition, _) = (each.definition() for each in triplane.tools_of(Slow()))

    assert definition["async"] is True


async def test_the_model_goes_on_and_the_run_waits(autojump_clock: Any) -> None:
    slow = Slow()

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", order(), call("look", "{}", "call_2", "fc_2"))
        await peer.request()
        await peer.answer("r2", message("I have looked, and wait for the tea."))
        await peer.request()
        await peer.answer("r3", message("Here it is."))

    begun = trio.current_time()
    result, events, requests = await run_on_stage(slow.agent(), play)

    assert "Here it is." == result.text
    assert ("completed", 3) == (result.status, result.turns)
    assert [[("call_2", "seen")], [("call_1", "here is tea")]] == [outputs(each) for each in requests[1:]]
    assert ["r1", "r2"] == [each["previous_response_id"] for each in requests[1:]]
    assert 10 == trio.current_time() - begun
    assert 2 == len([each for each in events if isinstance(each, triplane.ToolStarted)])
    assert ["look", "order"] == [each.call.name for each in result.tool_calls]


async def test_what_is_ready_goes_with_the_next_request(autojump_clock: Any) -> None:
    slow = Slow(0.5)

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", order(), call("look", "{}", "call_2", "fc_2"))
        await peer.request()
        await peer.answer("r2", message("Done."))

    result, _, requests = await run_on_stage(slow.agent(), play)

    assert 2 == result.turns
    assert [("call_2", "seen"), ("call_1", "here is tea")] == outputs(requests[1])


async def test_one_that_ends_while_the_model_speaks_is_delivered_afterwards(autojump_clock: Any) -> None:
    slow = Slow(5)

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", order("tea"), order("milk", "call_2"), call("look", "{}", "call_3", "fc_3"))
        await peer.request()
        await peer.created("r2")
        await trio.sleep(10)
        await peer.done(message("Hm."))
        await peer.completed("r2", message("Hm."))
        await peer.request()
        await peer.answer("r3", message("Done."))

    result, _, requests = await run_on_stage(slow.agent(), play)

    assert [("call_1", "here is tea"), ("call_2", "here is milk")] == sorted(outputs(requests[2]))
    assert 3 == result.turns


async def test_input_meanwhile_does_not_wait(autojump_clock: Any) -> None:
    slow = Slow(50)

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", order(), message("Ordered."))
        await peer.request()
        await peer.answer("r2", message("Still waiting."))
        await peer.request()
        await peer.answer("r3", message("Done."))

    async with open_stage(play) as stage:
        async with stage.engine.open_run(slow.agent(), "Go.") as running:
            await trio.sleep(20)
            assert ("tools", ("order",)) == (running.state.status, running.state.running_tools)
            await running.send("How long?")
            await trio.sleep(10)
            assert "Still waiting." == running.state.text
            assert "tools" == running.state.status
            result = await running.wait()

    assert "Done." == result.text
    assert ["How long?"] == [item["content"] for item in stage.requests[1]["input"]]
    assert [("call_1", "here is tea")] == outputs(stage.requests[2])


async def test_a_lost_connection_does_not_concern_it(autojump_clock: Any) -> None:
    """The second request is repeated in full, with a call that has no output yet; the third one brings that."""
    slow = Slow(30)

    async def play(peer: Played) -> None:
        if peer.number == 1:
            await peer.request()
            await peer.answer("r1", order(), call("look", "{}", "call_2", "fc_2"))
            await peer.request()
            await peer.created("r2")
            await peer.close(1011)
            return
        await peer.request()
        await peer.answer("r3", message("I wait."))
        await peer.request()
        await peer.answer("r4", message("Done."))

    result, events, requests = await run_on_stage(slow.agent(), play)

    assert "Done." == result.text
    assert [("call_2", "seen")] == outputs(requests[2])
    assert [True] == [item.get("async") for item in requests[2]["input"] if item.get("call_id") == "call_1"]
    assert [("call_1", "here is tea")] == outputs(requests[3])
    assert [("began", "tea"), ("ended", "tea")] == slow.log
    assert 1 == len([each for each in events if isinstance(each, triplane.ResponseRetracted)])


async def test_a_call_of_a_response_that_is_retracted_is_not_begun(autojump_clock: Any) -> None:
    slow = Slow(1)

    async def play(peer: Played) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.created("r1")
            await peer.done(order())
            await peer.close(1011)
            return
        await peer.answer("r2", message("Never mind."))

    result, _, _ = await run_on_stage(slow.agent(), play)

    assert ([], "Never mind.") == (slow.log, result.text)


async def test_a_failure_is_told(autojump_clock: Any) -> None:
    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", order())
        await peer.request()
        await peer.answer("r2", message("A pity."))

    result, _, requests = await run_on_stage(Slow(fails=True).agent(), play)

    assert [("call_1", "The tool failed. ValueError: sold out")] == outputs(requests[1])
    assert "A pity." == result.text


async def test_a_failure_that_ends_the_run(autojump_clock: Any) -> None:
    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", order(), message("Ordered."))
        await peer.request()

    with pytest.raises(triplane.RunFailed, match="sold out") as caught:
        await run_on_stage(Slow(fails=True).agent(on_error="raise"), play)

    assert "tool_failed" == caught.value.code
    assert isinstance(caught.value.__cause__, ValueError)


async def test_repeated_failures_end_the_run(autojump_clock: Any) -> None:
    async def play(peer: Played) -> None:
        for number in range(3):
            await peer.request()
            await peer.answer(f"r{number}", order("tea", f"call_{number}"))

    agent = Slow(fails=True).agent(limits=triplane.RunLimits(repeated_failure=2))
    with pytest.raises(triplane.LimitReached) as caught:
        await run_on_stage(agent, play)

    assert "repeated_failure" == caught.value.which


async def test_they_count_as_calls(autojump_clock: Any) -> None:
    slow = Slow()

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", order("tea"), order("milk", "call_2"))

    with pytest.raises(triplane.LimitReached) as caught:
        await run_on_stage(slow.agent(limits=triplane.RunLimits(max_tool_calls=1)), play)

    assert ("max_tool_calls", []) == (caught.value.which, slow.log)


async def test_cancelling_the_run_cancels_them(autojump_clock: Any) -> None:
    slow = Slow()

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", order())

    async with open_stage(play) as stage:
        async with stage.engine.open_run(slow.agent(), "Go.") as running:
            await trio.sleep(5)
            running.cancel()

    assert [("began", "tea"), ("cancelled", "tea")] == slow.log
    assert "cancelled" == running.state.status
    assert ["cancelled"] == [each.outcome.kind for each in running.state.tool_calls]


async def test_after_the_turn_they_may_finish(autojump_clock: Any) -> None:
    slow = Slow()

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", order())

    async with open_stage(play) as stage:
        async with stage.engine.open_run(slow.agent(), "Go.") as running:
            await trio.sleep(5)
            running.cancel("after_turn")
            with pytest.raises(triplane.RunFailed):
                await running.wait()

    assert [("began", "tea"), ("ended", "tea")] == slow.log
    assert 1 == len(stage.requests)


async def test_a_tool_that_is_not_async_is_run_all_the_same(autojump_clock: Any) -> None:
    """If the server calls it so, the output may come later, and comes with the next request."""
    slow = Slow()
    agent = triplane.Agent("m", tools=[slow.look])

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", {**call("look"), "async": True})
        await peer.request()
        await peer.answer("r2", message("Done."))

    result, _, requests = await run_on_stage(agent, play)

    assert ([("call_1", "seen")], "Done.") == (outputs(requests[1]), result.text)


async def test_a_call_that_the_model_waits_for_is_not_async(autojump_clock: Any) -> None:
    slow = Slow()

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", {**order(), "async": False})
        await peer.request()
        await peer.answer("r2", message("Done."))

    result, _, requests = await run_on_stage(slow.agent(), play)

    assert ([("call_1", "here is tea")], 2) == (outputs(requests[1]), result.turns)


@pytest.mark.parametrize("is_early", [False, True])
async def test_a_later_call_of_its_id_waits_for_it_and_is_not_run(
    autojump_clock: Any, *, is_early: bool
) -> None:
    slow = Slow()
    bought: list[str] = []

    @triplane.tool(effect="read", early=is_early)
    async def buy() -> str:
        """Buy something."""
        bought.append("tea")
        return "bought"

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", order(), call("look", "{}", "call_2", "fc_2"))
        await peer.request()
        await peer.created("r2")
        await peer.done(call("buy", "{}", "call_1", "fc_3"))
        await peer.completed("r2", call("buy", "{}", "call_1", "fc_3"))
        await peer.request()
        await peer.answer("r3", message("Done."))

    agent = triplane.Agent("m", tools=[*triplane.tools_of(slow), buy])
    result, _, requests = await run_on_stage(agent, play)

    assert ([], [("began", "tea"), ("ended", "tea")]) == (bought, slow.log)
    # The server knows two calls, and each has its output.
    assert [("call_1", "here is tea")] * 2 == outputs(requests[2])
    assert ("Done.", 3) == (result.text, result.turns)


async def test_an_unknown_tool_that_is_async(autojump_clock: Any) -> None:
    slow = Slow()

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", {**call("nothing"), "async": True})
        await peer.request()
        await peer.answer("r2", message("Done."))

    _, _, requests = await run_on_stage(slow.agent(), play)

    ((_, text),) = outputs(requests[1])
    assert "There is no tool named 'nothing'" in text


async def test_an_incomplete_response_is_not_the_last_while_some_are_out(autojump_clock: Any) -> None:
    slow = Slow()

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.answer("r1", order(), call("look", "{}", "call_2", "fc_2"))
        await peer.request()
        await peer.created("r2")
        await peer.say(
            "response.incomplete",
            response={
                "id": "r2",
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "output": [],
            },
        )
        await peer.request()
        await peer.answer("r3", message("Done."))

    result, _, requests = await run_on_stage(slow.agent(), play)

    assert ("completed", [("call_1", "here is tea")]) == (result.status, outputs(requests[2]))


async def test_a_fork_leaves_the_call_to_the_run_that_made_it(autojump_clock: Any) -> None:
    slow = Slow(30)

    async def play(peer: Played) -> None:
        while True:
            request = await peer.request()
            has_output = any(item["type"].endswith("_output") for item in request["input"])
            if "call_1" not in str(request["input"]) and not request.get("previous_response_id"):
                await peer.answer("r1", order(), message("Ordered."))
            else:
                await peer.answer(
                    f"r2_{peer.number}", message("It came." if has_output else "I cannot know.")
                )

    async with open_stage(play) as stage:
        async with stage.engine.open_run(slow.agent(), "Go.") as running:
            await trio.sleep(10)
            async with running.fork("Has it come?") as fork:
                forked = await fork.wait()
            result = await running.wait()

    assert ("I cannot know.", "It came.") == (forked.text, result.text)
    assert [("began", "tea"), ("ended", "tea")] == slow.log


@pytest.mark.parametrize("effect", ["write", "read"])
async def test_resuming_from_every_record(effect: Any, autojump_clock: Any) -> None:
    """Whoever dies with a call that is out: the output is delivered once, by whoever goes on."""
    log: list[str] = []

    @triplane.tool(async_=True, effect=effect)
    async def order(what: str) -> str:
        log.append(what)
        await trio.sleep(10)
        return f"here is {what}"

    agent = triplane.Agent("m", tools=[order])
    said: dict[str, Any] = {**call("order", '{"what": "tea"}'), "async": True}

    async def play(peer: Played) -> None:
        while True:
            request = await peer.request()
            text = str(request["input"])
            if "_output" in text:
                await peer.answer(f"r3_{peer.number}", message("Done."))
            elif "call_1" in text or request.get("previous_response_id"):
                await peer.answer(f"r2_{peer.number}", message("I wait."))
            else:
                await peer.answer("r1", said, message("Ordered."))

    ledger = triplane.MemoryLedger(clock=lambda: 0.0)
    async with open_stage(play, ledger=ledger) as stage:
        whole = await stage.engine.run(agent, "Go.")
    records = ledger.logs[whole.run_id].records
    assert "Done." == whole.text

    for length in range(1, len(records)):
        log.clear()
        again = triplane.MemoryLedger(clock=lambda: 0.0)
        add_cut_off(again, whole.run_id, records, length)
        async with open_stage(play, ledger=again) as stage:
            result = await stage.engine.resume(whole.run_id, agent)

        assert ("completed", "Done.") == (result.status, result.text), length
        history = RunReducer()
        for record in again.logs[whole.run_id].records:
            history.apply(record)
        answers = [item for item in history.history if item["type"] == "function_call_output"]
        assert 1 == len(answers), length
        was_started = any(isinstance(each.body, triplane.ToolStarted) for each in records[:length])
        was_finished = any(isinstance(each.body, triplane.ToolFinished) for each in records[:length])
        if was_started and not was_finished and effect == "write":
            assert ([], True) == (log, answers[0]["output"].startswith("The call was cut off")), length
        else:
            assert ([] if was_finished else ["tea"]) == log, length


async def test_what_had_not_started_runs_as_soon_as_the_run_is_resumed(autojump_clock: Any) -> None:
    """Though it is the model's turn, which takes its time."""
    log: list[str] = []

    @triplane.tool(name="order", async_=True, effect="read")
    async def order_slowly(what: str) -> str:
        await trio.sleep(10)
        log.append(what)
        return f"here is {what}"

    @triplane.tool(needs_approval=True)
    async def pay() -> str:
        raise AssertionError

    @triplane.tool
    async def look() -> str:
        return "seen"

    agent = triplane.Agent("m", tools=[order_slowly, look, pay])
    paid = {**call("pay", "{}", "call_3", "fc_3"), "async": True}

    async def play(peer: Played) -> None:
        request = await peer.request()
        if not resumed:
            await peer.answer("r1", order(), call("look", "{}", "call_2", "fc_2"), paid)
            await peer.request()
            return
        assert "here is tea" not in str(request["input"])
        await trio.sleep(20)
        assert ["tea"] == log
        await peer.answer("r2", message("I wait."))
        assert {"call_1"} == {call_id for call_id, _ in outputs(await peer.request())}
        await peer.answer("r3", message("Done."))

    resumed = False
    ledger = triplane.MemoryLedger(clock=lambda: 0.0)
    async with open_stage(play, ledger=ledger) as stage, stage.engine.open_run(agent, "Go.") as running:
        async for event in running:
            if isinstance(event, triplane.ToolFinished) and event.name == "look":
                break
        records = running.log.records
    resumed = True
    # Who died had not started the other two.
    kept = [each for each in records if getattr(each.body, "call_id", "call_2") == "call_2"]
    end = next(n for n, each in enumerate(kept, 1) if isinstance(each.body, triplane.ToolFinished))
    again = triplane.MemoryLedger(clock=lambda: 0.0)
    add_cut_off(again, running.run_id, kept, end)
    log.clear()

    async with open_stage(play, ledger=again) as stage:
        result = await stage.engine.resume(running.run_id, agent)

    assert ("Done.", ["tea"]) == (result.text, log)
    assert {"order": "ok", "look": "ok", "pay": "denied"} == {
        each.call.name: each.outcome.kind for each in result.tool_calls
    }


def test_what_makes_no_sense() -> None:
    async def f() -> None: ...

    with pytest.raises(triplane.ConfigError, match="nobody waits for an async one anyway"):
        triplane.tool(async_=True, early=True, effect="read")(f)
