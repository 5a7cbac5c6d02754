"""Tools that start before their response has ended: they overlap it, and no call runs twice whatever becomes of it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from played_server import Played, call, message, open_stage, run_on_stage

import triplane


@attrs.define
class Reader:
    """A read tool, and when it ran."""

    seconds: float = 1.0
    log: list[tuple[str, str, float]] = attrs.field(factory=list)

    @triplane.tool(effect="read", early=True)
    async def look(self, at: str) -> str:
        """Look."""
        self.log.append(("began", at, trio.current_time()))
        try:
            await trio.sleep(self.seconds)
        except trio.Cancelled:
            self.log.append(("cancelled", at, trio.current_time()))
            raise
        self.log.append(("ended", at, trio.current_time()))
        return f"saw {at}"

    def agent(self, **more: Any) -> triplane.Agent:
        return triplane.Agent("m", tools=triplane.tools_of(self), **more)


def look(at: str, call_id: str = "call_1") -> dict[str, Any]:
    return call("look", f'{{"at": "{at}"}}', call_id, f"fc_{call_id}")


def outputs(request: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (item["call_id"], item["output"])
        for item in request["input"]
        if item.get("type") == "function_call_output"
    ]


@pytest.mark.parametrize("seconds", [1, 5])
async def test_it_overlaps_the_rest_of_the_response(seconds: float, autojump_clock: Any) -> None:
    reader = Reader(seconds)

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.created("r1")
        await peer.done(look("a"))
        await trio.sleep(3)
        await peer.completed("r1", look("a"))
        await peer.request()
        await peer.answer("r2", message("Done."))

    begun = trio.current_time()
    result, events, requests = await run_on_stage(reader.agent(), play)

    assert result.text == "Done."
    assert [(what, at) for what, at, _ in reader.log] == [("began", "a"), ("ended", "a")]
    assert reader.log[0][2] == begun
    assert outputs(requests[1]) == [("call_1", "saw a")]
    names = [type(each).__name__ for each in events if type(each).__name__.startswith("Tool")]
    assert names == ["ToolQueued", "ToolStarted", "ToolFinished"]
    (queued,) = [each for each in events if isinstance(each, triplane.ToolQueued)]
    assert queued.early
    assert trio.current_time() - begun == max(seconds, 3)


async def test_others_wait_for_the_end_and_outputs_are_in_call_order(autojump_clock: Any) -> None:
    reader = Reader(5)
    at: list[float] = []

    @triplane.tool(effect="read")
    async def later() -> str:
        """Not early."""
        at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        return "later"

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.created("r1")
        await peer.done(call("later", "{}", "call_0", "fc_0"), 0)
        await peer.done(look("a"), 1)
        await trio.sleep(3)
        await peer.completed("r1", call("later", "{}", "call_0", "fc_0"), look("a"))
        await peer.request()
        await peer.answer("r2", message("Done."))

    begun = trio.current_time()
    agent = triplane.Agent("m", tools=[later, *triplane.tools_of(reader)])
    _, _, requests = await run_on_stage(agent, play)

    assert at == [begun + 3]
    assert outputs(requests[1]) == [("call_0", "later"), ("call_1", "saw a")]


@pytest.mark.parametrize("seconds", [1, 30])
@pytest.mark.parametrize("again", ["call_1", "call_2"])
async def test_a_replayed_response_takes_over_what_ran_for_the_first(
    seconds: float, again: str, autojump_clock: Any
) -> None:
    reader = Reader(seconds)

    async def play(peer: Played) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.created("r1")
            await peer.done(look("a"))
            await trio.sleep(3)
            await peer.close(1011)
            return
        await peer.answer("r2", look("a", again))
        await peer.request()
        await peer.answer("r3", message("Done."))

    result, events, requests = await run_on_stage(reader.agent(), play)

    assert result.text == "Done."
    assert [(what, at) for what, at, _ in reader.log] == [("began", "a"), ("ended", "a")], "it ran once"
    assert outputs(requests[-1]) == [(again, "saw a")]
    finished = [each for each in events if isinstance(each, triplane.ToolFinished)]
    assert [(each.call_id, each.reused_from) for each in finished] == [("call_1", None), (again, "call_1")]
    assert [each.outcome.kind for each in finished] == ["ok", "ok"]
    assert [each.call.call_id for each in result.tool_calls] == [again]
    assert result.running_tools == ()


@pytest.mark.parametrize("seconds", [1, 30])
async def test_what_nobody_asks_for_again_is_dropped(seconds: float, autojump_clock: Any) -> None:
    reader = Reader(seconds)

    async def play(peer: Played) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.created("r1")
            await peer.done(look("a"))
            await trio.sleep(3)
            await peer.close(1011)
            return
        await peer.answer("r2", look("b", "call_2"))
        await peer.request()
        await peer.answer("r3", message("Done."))

    result, _, requests = await run_on_stage(reader.agent(), play)

    ends = [(what, at) for what, at, _ in reader.log if what != "began"]
    assert ends == (
        [("ended", "a"), ("ended", "b")] if seconds == 1 else [("cancelled", "a"), ("ended", "b")]
    )
    assert outputs(requests[-1]) == [("call_2", "saw b")]
    assert [each.call.call_id for each in result.tool_calls] == ["call_2"]


async def test_an_id_is_not_run_twice(autojump_clock: Any) -> None:
    """The replay uses the id again, for something else: neither the old result nor a second run would be right."""
    reader = Reader()

    async def play(peer: Played) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.created("r1")
            await peer.done(look("a"))
            await trio.sleep(3)
            await peer.close(1011)
            return
        await peer.answer("r2", look("b"))
        await peer.request()
        await peer.answer("r3", message("Done."))

    _, _, requests = await run_on_stage(reader.agent(), play)

    assert [at for what, at, _ in reader.log if what == "began"] == ["a"]
    ((call_id, output),) = outputs(requests[-1])
    assert call_id == "call_1"
    assert output.startswith("The tool was not run: this call has the id of another one")


async def test_a_run_that_fails_leaves_none_running(autojump_clock: Any) -> None:
    reader = Reader(30)

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.created("r1")
        await peer.done(look("a"))
        await trio.sleep(3)
        error = {"code": "invalid_prompt", "message": "no"}
        await peer.say(
            "response.failed", response={"id": "r1", "status": "failed", "error": error, "output": []}
        )

    with pytest.raises(triplane.TriplaneError):
        await run_on_stage(reader.agent(), play)

    assert [what for what, _, _ in reader.log] == ["began", "cancelled"]


async def test_a_cancelled_run_leaves_none_running(autojump_clock: Any) -> None:
    reader = Reader(30)

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.created("r1")
        await peer.done(look("a"))
        await trio.sleep_forever()

    async with open_stage(play) as stage:
        with trio.move_on_after(3):
            await stage.engine.run(reader.agent(), "Go.")
        (run_id,) = await stage.engine.ledger.run_ids()
        log = await stage.engine.ledger.open(run_id)
        records = [record.body for record in await log.read(-1)]

    assert [what for what, _, _ in reader.log] == ["began", "cancelled"]
    finished = [each for each in records if isinstance(each, triplane.ToolFinished)]
    assert [each.outcome.kind for each in finished] == ["cancelled"]
    assert isinstance(records[-1], triplane.RunEnded)


async def test_a_failure_can_end_the_run_even_if_it_came_early(autojump_clock: Any) -> None:
    @triplane.tool(effect="read", early=True, on_error="raise")
    async def fail() -> None:
        """Fail."""
        await trio.lowlevel.checkpoint()
        raise LookupError("gone")

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.created("r1")
        await peer.done(call("fail"))
        await trio.sleep(3)
        await peer.completed("r1", call("fail"))

    with pytest.raises(triplane.RunFailed) as caught:
        await run_on_stage(triplane.Agent("m", tools=[fail]), play)

    assert caught.value.code == "tool_failed"
    assert isinstance(caught.value.__cause__, LookupError)


async def test_what_stops_programs_gets_through(autojump_clock: Any) -> None:
    @triplane.tool(effect="read", early=True)
    async def leave() -> None:
        """Leave."""
        await trio.lowlevel.checkpoint()
        raise SystemExit(3)

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.created("r1")
        await peer.done(call("leave"))
        await trio.sleep_forever()

    with pytest.RaisesGroup(SystemExit, flatten_subgroups=True):
        await run_on_stage(triplane.Agent("m", tools=[leave]), play)


async def test_the_limit_of_calls_holds(autojump_clock: Any) -> None:
    reader = Reader()

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.created("r1")
        for number in range(3):
            await peer.done(look(str(number), f"call_{number}"), number)
        await trio.sleep(3)
        await peer.completed("r1", *(look(str(number), f"call_{number}") for number in range(3)))

    with pytest.raises(triplane.LimitReached) as caught:
        await run_on_stage(reader.agent(limits=triplane.RunLimits(max_tool_calls=2)), play)

    assert caught.value.which == "max_tool_calls"
    assert len([what for what, _, _ in reader.log if what == "began"]) == 2


async def fail(peer: Played, how: str) -> None:
    """Give up the response in hand: by the connection, by its own end, by an event."""
    error = {"code": "server_error", "message": "no"}
    if how == "closed":
        await peer.close(1011)
    elif how == "failed":
        body = {"id": "r1", "status": "failed", "error": error, "output": []}
        await peer.say("response.failed", response=body)
    else:
        await peer.say("error", error=error, status=500)


@pytest.mark.parametrize("seconds", [1, 30])
@pytest.mark.parametrize("how", ["closed", "failed", "error"])
@pytest.mark.parametrize(("at", "again"), [("a", "call_1"), ("a", "call_2"), ("b", "call_1")])
async def test_however_a_response_is_given_up(
    how: str, at: str, again: str, seconds: float, autojump_clock: Any
) -> None:
    reader = Reader(seconds)
    answers = 0

    async def play(peer: Played) -> None:
        nonlocal answers
        while True:
            await peer.request()
            answers += 1
            if answers == 1:
                await peer.created("r1")
                await peer.done(look("a"))
                await trio.sleep(3)
                await fail(peer, how)
                if how == "closed":
                    return
            elif answers == 2:
                await peer.answer("r2", look(at, again))
            else:
                await peer.answer("r3", message("Done."))

    _, events, requests = await run_on_stage(reader.agent(), play)

    assert ["a"] == [where for what, where, _ in reader.log if what == "began"]
    ((call_id, output),) = outputs(requests[-1])
    assert again == call_id
    if at == "a":
        assert "saw a" == output
        finished = [(e.call_id, e.reused_from) for e in events if isinstance(e, triplane.ToolFinished)]
        assert [("call_1", None), (again, "call_1")] == finished
    else:
        assert output.startswith("The tool was not run: this call has the id of another one")


async def test_one_that_is_taken_over_ends_the_run_where_it_would_have(autojump_clock: Any) -> None:
    @triplane.tool(effect="read", early=True, on_error="raise")
    async def look(at: str) -> str:
        """Look."""
        await trio.sleep(1)
        raise ValueError(at)

    async def play(peer: Played) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.created("r1")
            await peer.done(call("look", '{"at": "a"}'))
            await trio.sleep(3)
            await peer.close(1011)
            return
        await peer.answer("r2", call("look", '{"at": "a"}', "call_2"))

    with pytest.raises(triplane.RunFailed, match="the tool look failed") as caught:
        await run_on_stage(triplane.Agent("m", tools=[look]), play)

    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("seconds", [1, 30])
@pytest.mark.parametrize(("name", "call_id"), [("look", "call_1"), ("look", "call_2"), ("order", "call_1")])
async def test_the_response_in_its_place_does_not_wait(
    name: str, call_id: str, seconds: float, autojump_clock: Any
) -> None:
    """What the server calls async gets the outcome as well, and is not run beside it."""
    reader = Reader(seconds)

    @triplane.tool(async_=True)
    async def order(at: str) -> str:
        """Order something."""
        reader.log.append(("ordered", at, trio.current_time()))
        await trio.lowlevel.checkpoint()
        return "ordered"

    async def play(peer: Played) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.created("r1")
            await peer.done(look("a"))
            await trio.sleep(3)
            await peer.close(1011)
            return
        await peer.answer("r2", {**call(name, '{"at": "a"}', call_id), "async": True})
        await peer.request()
        await peer.answer("r3", message("Done."))

    agent = triplane.Agent("m", tools=[*triplane.tools_of(reader), order])
    with trio.fail_after(100):
        result, _, requests = await run_on_stage(agent, play)

    assert "Done." == result.text
    assert [("began", "a")] == [(what, at) for what, at, _ in reader.log if what in ("began", "ordered")]
    ((answered, output),) = outputs(requests[-1])
    assert call_id == answered
    assert output.startswith("saw a" if name == "look" else "The tool was not run: this call has the id")


async def test_one_that_is_taken_over_cancels_those_that_wait_for_a_person(autojump_clock: Any) -> None:
    @triplane.tool(effect="read", early=True, siblings="cancel")
    async def look() -> str:
        """Look."""
        await trio.sleep(1)
        raise ValueError("dark")

    @triplane.tool(needs_approval=True)
    async def pay() -> str:
        """Pay."""
        raise AssertionError("nobody approved it")

    async def play(peer: Played) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.created("r1")
            await peer.done(call("look"))
            await trio.sleep(3)
            await peer.close(1011)
            return
        await peer.answer("r2", call("look", "{}", "call_2"), call("pay", "{}", "call_3", "fc_3"))
        await peer.request()
        await peer.answer("r3", message("Done."))

    with trio.fail_after(100):
        result, _, requests = await run_on_stage(triplane.Agent("m", tools=[look, pay]), play)

    assert "Done." == result.text
    (_, looked), (_, paid) = outputs(requests[-1])
    assert "dark" in looked
    assert "look failed" in paid


async def test_an_outcome_that_cannot_be_recorded_ends_the_run_as_it_does_elsewhere(
    autojump_clock: Any,
) -> None:
    """A receipt tells what had been sent, and what had begun."""
    claim: Any = None

    @triplane.tool(effect="read", early=True)
    async def look() -> str:
        """Look."""
        await trio.sleep(1)
        claim.release()
        return "seen"

    async def play(peer: Played) -> None:
        await peer.request()
        await peer.created("r1")
        await peer.done(call("look"))
        await trio.sleep(3)
        await peer.completed("r1", call("look"))

    async with open_stage(play) as stage:
        async with stage.engine.open_run(triplane.Agent("m", tools=[look]), "Go.") as run:
            claim = run.log
            with pytest.raises(triplane.LedgerFailed) as caught:
                await run.wait()

    assert "claim_lost" == caught.value.reason
    assert "nothing" != caught.value.receipt.sent
    assert ["look"] == [effect.tool for effect in caught.value.receipt.effects]
