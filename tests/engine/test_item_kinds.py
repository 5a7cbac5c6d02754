"""Every kind of call that the client runs, over real sockets, in a run: what goes up is what the API's own types say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from openai.types.responses import Tool as ToolModel
from openai.types.responses.response_input_item import ResponseInputItem
from pydantic import TypeAdapter

import triplane
from triplane.tools import (
    CommandOutput,
    apply_patch_tool,
    computer_tool,
    custom_tool,
    local_shell_tool,
    namespace,
    shell_tool,
    tool_search,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ITEM = TypeAdapter[Any](ResponseInputItem)
DEFINITION = TypeAdapter[Any](ToolModel)


def answers(request: dict[str, Any]) -> list[dict[str, Any]]:
    found = [item for item in request["input"] if str(item.get("type")).endswith("_output")]
    for item in found:
        ITEM.validate_python(item)
    for definition in request.get("tools", ()):
        DEFINITION.validate_python(definition)
    return found


async def run(
    server: Any, tools: Sequence[Any], said: str, **more: Any
) -> tuple[triplane.RunState, list[dict[str, Any]]]:
    """A run, and the answers of its second request."""
    before = len(server.requests)
    async with triplane.open_engine(triplane.Endpoint(server.url)) as engine:
        result = await engine.run(triplane.Agent("m", tools=list(tools), **more), said)
    requests = [request.json for request in server.requests[before:]]
    return result, [answer for request in requests[1:] for answer in answers(request)]


def step(name: str, /, **fields: Any) -> str:
    return f"STEP {name} {json.dumps(fields)}"


async def test_shells_and_patches(local_server: Any, tmp_path: Path) -> None:
    tools = [shell_tool(tmp_path), local_shell_tool(tmp_path), apply_patch_tool(tmp_path)]
    said = "\n".join(
        [
            step("apply_patch_call", operation="create_file", path="f", diff="+one\n"),
            "SAY 1 Next.",
            step("shell_call", commands=["cat f", "exit 3"], max_output_length=1000),
            step("local_shell_call", command=["cat", "f"]),
            step("apply_patch_call", operation="update_file", path="g", diff="-a\n+b\n"),
        ]
    )
    result, found = await run(local_server, tools, said)

    assert "completed" == result.status
    first, shell, local, patch = found
    assert ("apply_patch_call_output", "completed") == (first["type"], first["status"])
    assert [("one\n", 0), ("", 3)] == [
        (each["stdout"], each["outcome"]["exit_code"]) for each in shell["output"]
    ]
    assert 1000 == shell["max_output_length"]
    assert "one\n" == json.loads(local["output"])["stdout"]
    assert "failed" == patch["status"]
    assert ["apply_patch", "apply_patch", "local_shell", "shell"] == sorted(
        each.call.name for each in result.tool_calls
    )


async def test_custom_tools_and_namespaces(local_server: Any) -> None:
    @custom_tool(regex="[a-z ]+;")
    async def sql(statement: str) -> str:
        """Ask the database."""
        await trio.lowlevel.checkpoint()
        return statement.upper()

    @triplane.tool(effect="read")
    async def find(name: str) -> str:
        """Find a customer."""
        await trio.lowlevel.checkpoint()
        return f"customer {name}"

    @triplane.tool(name="find", effect="read")
    async def find_mail(name: str) -> str:
        """Find a letter."""
        await trio.lowlevel.checkpoint()
        return f"letter to {name}"

    tools = [sql, *namespace("crm", "Customers.", [find]), *namespace("mail", "Letters.", [find_mail])]
    said = "\n".join(
        [
            "CUSTOM sql select one;",
            step("function_call", name="find", arguments={"name": "Ada"}, namespace="mail"),
            step("function_call", name="find", arguments={"name": "Ada"}, namespace="crm"),
        ]
    )
    result, found = await run(local_server, tools, said)

    assert ["SELECT ONE;", "letter to Ada", "customer Ada"] == [each["output"] for each in found]
    assert [None, "mail", "crm"] == [each.get("namespace") for each in found]
    assert {"sql", "mail.find", "crm.find"} == {each.call.full_name for each in result.tool_calls}


async def test_a_search_by_the_client(local_server: Any) -> None:
    @triplane.tool(effect="read")
    async def find(name: str) -> str:
        """Find a customer."""
        await trio.lowlevel.checkpoint()
        return f"customer {name}"

    said = "\n".join(
        [
            step("tool_search_call", arguments={"query": "customers"}),
            "SAY 1 Found.",
            step("function_call", name="find", arguments={"name": "Ada"}, namespace="find"),
        ]
    )
    _, found = await run(local_server, tool_search([find], execution="client"), said)

    assert ("completed", "client", ["find"]) == (
        found[0]["status"],
        found[0]["execution"],
        [each["name"] for each in found[0]["tools"]],
    )
    assert ("customer Ada", "find") == (found[1]["output"], found[1]["namespace"])


async def test_a_search_by_the_server(local_server: Any) -> None:
    @triplane.tool(effect="read")
    async def find(name: str) -> str:
        """Find a customer."""
        await trio.lowlevel.checkpoint()
        return f"customer {name}"

    tools = tool_search(namespace("crm", "Customers.", [find]))
    searched = step("tool_search_call", arguments={"paths": ["crm"]}, tools=[find.definition()])
    said = f"{searched}\n{step('function_call', name='find', arguments={'name': 'Ada'}, namespace='crm')}"
    result, found = await run(local_server, tools, said)

    assert ["customer Ada"] == [each["output"] for each in found], "what the server found is not answered"
    assert "completed" == result.status


@pytest.mark.parametrize("of", ["engine", "agent"])
async def test_an_endpoint_without_namespaces(local_server: Any, of: str) -> None:
    @triplane.tool(effect="read")
    async def find(name: str) -> str:
        """Find a customer."""
        raise AssertionError

    endpoint = triplane.Endpoint(local_server.url, namespaces="none")
    before = len(local_server.requests)
    own = {"endpoint": endpoint} if of == "agent" else {}
    async with triplane.open_engine(
        triplane.Endpoint(local_server.url) if of == "agent" else endpoint
    ) as engine:
        for tools in (namespace("crm", "Customers.", [find]), tool_search([find])):
            agent = triplane.Agent("m", tools=list(tools), **own)
            with pytest.raises(triplane.ConfigError, match=r"has neither: give it the tools by themselves"):
                await engine.run(agent, "hello")
        assert "completed" == (await engine.run(triplane.Agent("m", tools=[find], **own), "hello")).status

    assert 1 == len(local_server.requests) - before


async def test_a_computer(local_server: Any) -> None:
    done: list[str] = []

    async def use(actions: Any, context: triplane.ToolContext) -> bytes:
        await trio.lowlevel.checkpoint()
        done.extend(action.type for action in actions)
        return b"PNG"

    click = {"type": "click", "button": "left", "x": 1, "y": 2}
    checks = [{"id": "check_1", "code": "c", "message": "Look."}]
    said = step("computer_call", actions=[click, {"type": "screenshot"}], pending_safety_checks=checks)
    _, (answer,) = await run(local_server, [computer_tool(use, acknowledge=lambda check: True)], said)

    assert ["click", "screenshot"] == done
    assert "data:image/png;base64,UE5H" == answer["output"]["image_url"]
    assert ["check_1"] == [check["id"] for check in answer["acknowledged_safety_checks"]]

    with pytest.raises(triplane.RunFailed, match=r"nobody has acknowledged \(c: Look\.\)") as caught:
        await run(local_server, [computer_tool(use)], said)
    assert "tool_failed" == caught.value.code


async def test_an_async_tool(local_server: Any) -> None:
    gate = trio.Event()

    @triplane.tool(async_=True)
    async def order(what: str) -> str:
        """Order something."""
        await gate.wait()
        return f"here is {what}"

    @triplane.tool
    async def open_gate() -> str:
        """Let the order come."""
        await trio.lowlevel.checkpoint()
        gate.set()
        return "open"

    said = 'ASYNC order {"what": "tea"}\nCALL open_gate {}'
    result, found = await run(local_server, [order, open_gate], said)

    assert "completed" == result.status
    assert {"open", "here is tea"} == {each["output"] for each in found}
    assert 2 == len(found), "each once"


EVERY_CALL = [
    step("shell_call", commands=["ls", "pwd"]),
    step("local_shell_call", command=["ls"]),
    step("apply_patch_call", operation="delete_file", path="f"),
    step("computer_call", actions=[{"type": "screenshot"}]),
    step("tool_search_call", arguments={"query": "x"}),
    "CUSTOM nothing text",
    step("function_call", name="nothing", namespace="nowhere"),
]


async def test_calls_of_tools_that_there_are_not(local_server: Any) -> None:
    """Each is answered, so that the model can go on: no call is left, and none hangs."""
    with trio.fail_after(20):
        result, found = await run(local_server, [], "\n".join(EVERY_CALL))

    assert ("completed", 2) == (result.status, result.turns)
    assert 7 == len(found)
    assert {"unknown_tool"} == {each.outcome.reason for each in result.tool_calls}
    assert {"failed"} == {each["status"] for each in found if each["type"] == "apply_patch_call_output"}


async def test_every_kind_is_cut_off_and_resumed(bench: Any, autojump_clock: Any) -> None:
    """A process dies while calls of all kinds run: what may have had an effect is told to be interrupted."""
    ran: list[str] = []

    def made(kind: str) -> Any:
        async def act(action: Any, context: triplane.ToolContext) -> Any:
            ran.append(kind)
            await trio.sleep(30)
            return {"patch": "done", "computer": b"PNG", "local": CommandOutput("done")}.get(
                kind, [CommandOutput("done")]
            )

        return act

    tools = [
        shell_tool(handler=made("shell")),
        local_shell_tool(handler=made("local"), effect="idempotent"),
        apply_patch_tool(handler=made("patch")),
        computer_tool(made("computer"), on_error="report"),
    ]
    agent = triplane.Agent("m", tools=tools)
    ledger = triplane.MemoryLedger(clock=lambda: 0.0)
    async with bench(ledger=ledger) as b:
        async with b.engine.open_run(agent, "\n".join(EVERY_CALL[:4])) as running:
            await trio.sleep(10)
            records = tuple(ledger.logs[running.run_id].records)
            running.cancel()
    again = triplane.MemoryLedger(clock=lambda: 0.0)
    log = again.create(running.run_id)
    for record in records:
        log.append(record.body)
    log.release()
    ran.clear()
    async with bench(ledger=again) as b:
        result = await b.engine.resume(running.run_id, agent)

    assert ["local"] == ran
    assert {
        "shell": "interrupted",
        "local_shell": "ok",
        "apply_patch": "interrupted",
        "computer": "interrupted",
    } == {each.call.name: each.outcome.kind for each in result.tool_calls}
    assert "completed" == result.status
