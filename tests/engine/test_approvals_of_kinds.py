"""A person is asked about tools of every kind, and nothing runs unasked because of how it is called."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

import triplane
from triplane.tools import CommandOutput


def step(name: str, /, **fields: Any) -> str:
    return f"STEP {name} {json.dumps(fields)}"


def outcomes(state: triplane.RunState) -> dict[str, str]:
    return {each.call.full_name: each.outcome.kind for each in state.tool_calls}


def answers(b: Any) -> list[dict[str, Any]]:
    entries = [each for each in b.server.journal.entries if each.kind == "message" and each.direction == "in"]
    return [
        item
        for each in entries[1:]
        for item in each.json["input"]
        if item.get("type", "").endswith("_output")
    ]


async def test_tools_of_a_namespace(bench: Any, autojump_clock: Any) -> None:
    """The name alone would be of another tool, which nobody is asked about."""
    done: list[str] = []

    @triplane.tool(needs_approval=True)
    async def pay() -> str:
        """Pay."""
        await trio.lowlevel.checkpoint()
        done.append("bank")
        return "paid"

    @triplane.tool(name="pay")
    async def pay_nothing() -> str:
        """Pay nothing."""
        await trio.lowlevel.checkpoint()
        done.append("play")
        return "not paid"

    tools = [*triplane.namespace("bank", "Money.", [pay]), pay_nothing]
    said = f"{step('function_call', name='pay', namespace='bank')}\nCALL pay {{}}"
    async with bench() as b, b.engine.open_run(triplane.Agent("m", tools=tools), said) as run:
        async for event in run:
            if isinstance(event, triplane.RunParked):
                (asked,) = run.approvals
                assert ("bank.pay", ["play"]) == (asked.name, done)
                run.deny(asked.call_id)

    assert {"bank.pay": "denied", "pay": "ok"} == outcomes(run.result)
    assert ["play"] == done


async def test_commands_by_what_they_are(bench: Any, autojump_clock: Any) -> None:
    ran: list[Any] = []

    async def somewhere(action: Any, context: Any) -> list[CommandOutput]:
        await trio.lowlevel.checkpoint()
        ran.append(action.commands)
        return [CommandOutput("done")]

    tool = triplane.shell_tool(
        handler=somewhere,
        needs_approval=lambda arguments: any(line.startswith("rm") for line in arguments["action"].commands),
    )
    said = f"{step('shell_call', commands=['ls'])}\n{step('shell_call', commands=['rm -rf x', 'ls'])}"
    async with bench() as b, b.engine.open_run(triplane.Agent("m", tools=[tool]), said) as run:
        async for event in run:
            if isinstance(event, triplane.RunParked):
                (asked,) = run.approvals
                assert ("shell", {"commands": ["rm -rf x", "ls"]}) == (asked.name, _set(asked.arguments))
                run.deny(asked.call_id, "Not here.")

    assert [("ls",)] == ran
    first, denied = answers(b)
    assert "done" == first["output"][0]["stdout"]
    assert [126, 126] == [each["outcome"]["exit_code"] for each in denied["output"]]
    assert "not approved. The reason: Not here." in denied["output"][0]["stderr"]


def _set(arguments: str) -> dict[str, Any]:
    return {key: value for key, value in json.loads(arguments).items() if value is not None}


async def test_safety_checks_can_be_what_is_asked_about(bench: Any, autojump_clock: Any) -> None:
    async def use(actions: Any, context: Any) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"PNG"

    tool = triplane.computer_tool(
        use,
        acknowledge=lambda check: True,
        needs_approval=lambda arguments: bool(arguments["action"].pending_safety_checks),
    )
    checks = [{"id": "check_1", "code": "c", "message": "Look."}]
    said = step("computer_call", actions=[{"type": "wait"}], pending_safety_checks=checks)
    async with bench() as b, b.engine.open_run(triplane.Agent("m", tools=[tool]), said) as run:
        async for event in run:
            if isinstance(event, triplane.RunParked):
                (asked,) = run.approvals
                assert "Look." in asked.arguments
                run.approve(asked.call_id)

    (answer,) = answers(b)
    assert ["check_1"] == [each["id"] for each in answer["acknowledged_safety_checks"]]


async def test_a_call_that_the_server_calls_async_is_not_run_unasked(bench: Any, autojump_clock: Any) -> None:
    @triplane.tool(needs_approval=True)
    async def pay() -> str:
        """Pay."""
        raise AssertionError

    @triplane.tool(async_=True)
    async def order() -> str:
        """Order."""
        await trio.sleep(1)
        return "ordered"

    for tools in ([pay], [pay, order]):
        async with bench() as b:
            result = await b.engine.run(triplane.Agent("m", tools=tools), "ASYNC pay {}")
        assert {"pay": "denied"} == outcomes(result)
        (answer,) = answers(b)
        assert "nobody is asked about a call that is async" in answer["output"]


async def test_a_run_is_parked_while_another_call_is_out(bench: Any, autojump_clock: Any) -> None:
    """Whoever cannot decide waits for that one, and whoever resumes has both outputs delivered once."""
    done: list[str] = []

    @triplane.tool(needs_approval=True)
    async def pay() -> str:
        """Pay."""
        await trio.lowlevel.checkpoint()
        done.append("paid")
        return "paid"

    @triplane.tool(async_=True)
    async def order() -> str:
        """Order."""
        await trio.sleep(30)
        done.append("ordered")
        return "ordered"

    agent = triplane.Agent("m", tools=[pay, order])
    async with bench() as b:
        with pytest.raises(triplane.ApprovalRequired) as caught:
            await b.engine.run(agent, "ASYNC order {}\nCALL pay {}")
        assert ["ordered"] == done
        assert [("order", "ok")] == [(each.tool, each.outcome) for each in caught.value.receipt.effects]
        (asked,) = caught.value.approvals
        result = await b.engine.resume(caught.value.run_id, agent, approve=[asked.call_id])

    assert ["ordered", "paid"] == done
    assert {"order": "ok", "pay": "ok"} == outcomes(result)
    assert ["paid", "ordered"] == [each["output"] for each in answers(b)]


async def test_others_are_delivered_while_somebody_thinks_about_it(bench: Any, autojump_clock: Any) -> None:
    @triplane.tool(needs_approval=True)
    async def pay() -> str:
        """Pay."""
        await trio.lowlevel.checkpoint()
        return "paid"

    @triplane.tool(async_=True)
    async def order() -> str:
        """Order."""
        await trio.sleep(30)
        return "ordered"

    agent = triplane.Agent("m", tools=[pay, order])
    async with bench() as b, b.engine.open_run(agent, "ASYNC order {}\nCALL pay {}") as run:
        async for event in run:
            if isinstance(event, triplane.RunParked):
                await trio.sleep(100)
                run.approve(run.approvals[0].call_id)

    assert "completed" == run.result.status
    assert ["paid", "ordered"] == [each["output"] for each in answers(b)]


async def test_one_that_ends_the_run_does_so_while_somebody_thinks_about_it(
    bench: Any, autojump_clock: Any
) -> None:
    @triplane.tool(needs_approval=True)
    async def pay() -> str:
        """Pay."""
        raise AssertionError

    @triplane.tool(async_=True, on_error="raise")
    async def order() -> str:
        """Order."""
        await trio.sleep(30)
        raise ValueError("sold out")

    agent = triplane.Agent("m", tools=[pay, order])
    async with bench() as b:
        began = trio.current_time()
        with trio.fail_after(1_000):
            with pytest.raises(triplane.RunFailed, match="sold out"):
                async with b.engine.open_run(agent, "ASYNC order {}\nCALL pay {}") as run:
                    await run.wait()
        assert 30 <= trio.current_time() - began < 40

    assert ("failed", ["pay"]) == (run.state.status, [each.name for each in run.state.approvals])


def test_async_tools_cannot_ask() -> None:
    async def f() -> None: ...

    with pytest.raises(triplane.ConfigError, match="the run waits for the person who approves"):
        triplane.tool(async_=True, needs_approval=True)(f)


async def test_an_agent_that_the_server_calls_async_is_told_no(bench: Any, autojump_clock: Any) -> None:
    """What it asks would be asked while the run ends; so it is told that it may not, and the run does not wait for ever."""
    done: list[str] = []

    @triplane.tool(needs_approval=True)
    async def pay() -> str:
        """Pay."""
        done.append("pay")
        return "paid"

    @triplane.tool(async_=True)
    async def other() -> str:
        """Something that has calls in the background."""
        return "other"

    for more in ([], [other]):
        child = triplane.Agent("m", tools=[pay], name="clerk")
        agent = triplane.Agent("m", tools=[child.as_tool(), *more])
        async with bench() as b:
            with trio.fail_after(60):
                result = await b.engine.run(agent, 'ASYNC clerk {"question": "CALL pay {}"}\nSAY 1 done')

        assert "completed" == result.status
        assert {"clerk": "ok"} == outcomes(result)
        assert "nobody is asked about a call that is async" in result.tool_calls[0].outcome.output
    assert [] == done
