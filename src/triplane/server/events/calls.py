"""The events of calls that the client answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triplane.server.steps import (
        ApplyPatchCall,
        ComputerCall,
        CustomToolCall,
        FunctionCall,
        LocalShellCall,
        ShellCall,
        ToolSearchCall,
        Wait,
    )

    from .writer import Event, EventWriter

__all__ = [
    "apply_patch_call",
    "computer_call",
    "custom_tool_call",
    "function_call",
    "local_shell_call",
    "shell_call",
    "tool_search_call",
]


def _status(writer: EventWriter) -> str:
    return "incomplete" if writer.cut else "completed"


def _extras(step: FunctionCall | CustomToolCall) -> dict[str, Any]:
    """The fields that are there only if they say something."""
    extras: dict[str, Any] = {}
    if step.namespace is not None:
        extras["namespace"] = step.namespace
    if step.asynchronous:
        extras["async"] = True
    if step.caller is not None:
        extras["caller"] = step.caller
    return extras


def function_call(step: FunctionCall, writer: EventWriter) -> Iterator[Event | Wait]:
    """One function call; its arguments are streamed."""
    writer.count(step.name)
    item = {
        "id": writer.new_id("fc"),
        "type": "function_call",
        "status": "in_progress",
        "call_id": step.call_id or writer.new_id("call"),
        "name": step.name,
        "arguments": "",
        **_extras(step),
    }
    yield writer.added(item)
    arguments = yield from writer.deltas(
        "response.function_call_arguments.delta",
        step.arguments,
        item_id=item["id"],
        output_index=writer.index,
    )
    yield writer.of_item("response.function_call_arguments.done", item, arguments=arguments)
    yield writer.done({**item, "status": _status(writer), "arguments": arguments})


def custom_tool_call(step: CustomToolCall, writer: EventWriter) -> Iterator[Event | Wait]:
    """One call of a custom tool; its input is streamed."""
    writer.count(step.name)
    item = {
        "id": writer.new_id("ctc"),
        "type": "custom_tool_call",
        "status": "in_progress",
        "call_id": step.call_id or writer.new_id("call"),
        "name": step.name,
        "input": "",
        **_extras(step),
    }
    yield writer.added(item)
    text = yield from writer.deltas(
        "response.custom_tool_call_input.delta", step.input, item_id=item["id"], output_index=writer.index
    )
    yield writer.of_item("response.custom_tool_call_input.done", item, input=text)
    yield writer.done({**item, "status": _status(writer), "input": text})


def tool_search_call(step: ToolSearchCall, writer: EventWriter) -> Iterator[Event | Wait]:
    """One search for tools, and what the service found, if it was the service that searched."""
    writer.count(orjson.dumps(step.arguments).decode())
    execution = "client" if step.tools is None else "server"
    call_id = (step.call_id or writer.new_id("call")) if step.tools is None else None
    item = {
        "id": writer.new_id("tsc"),
        "type": "tool_search_call",
        "status": "in_progress",
        "execution": execution,
        "call_id": call_id,
        "arguments": step.arguments,
    }
    yield writer.added(item)
    yield writer.done({**item, "status": "completed"})
    if step.tools is not None:
        found = {
            "id": writer.new_id("tso"),
            "type": "tool_search_output",
            "status": "completed",
            "execution": execution,
            "call_id": call_id,
            "tools": list(step.tools),
        }
        yield writer.added({**found, "status": "in_progress", "tools": []})
        yield writer.done(found)


def shell_call(step: ShellCall, writer: EventWriter) -> Iterator[Event | Wait]:
    """Commands for the client's shell."""
    item = {
        "id": writer.new_id("sh"),
        "type": "shell_call",
        "status": "in_progress",
        "call_id": step.call_id or writer.new_id("call"),
        "action": {
            "commands": [],
            "timeout_ms": step.timeout_ms,
            "max_output_length": step.max_output_length,
        },
        "environment": {"type": "local"},
    }
    if step.caller is not None:
        item["caller"] = step.caller
    yield from shell_commands(item, step.commands, writer)


def shell_commands(
    item: dict[str, Any], commands: tuple[str, ...], writer: EventWriter
) -> Iterator[Event | Wait]:
    """A shell call with these commands; they are streamed one after the other."""
    yield writer.added(item)
    sent: list[str] = []
    for command in commands:
        if writer.cut:
            break
        where: dict[str, Any] = {"output_index": writer.index, "command_index": len(sent)}
        yield writer.event("response.shell_call_command.added", **where, command="")
        command_sent = yield from writer.deltas("response.shell_call_command.delta", command, **where)
        yield writer.event("response.shell_call_command.done", **where, command=command_sent)
        sent.append(command_sent)
    action = {**item["action"], "commands": sent}
    yield writer.done({**item, "status": _status(writer), "action": action})


def local_shell_call(step: LocalShellCall, writer: EventWriter) -> Iterator[Event | Wait]:
    """One command for the client."""
    writer.count(*step.command)
    item = {
        "id": writer.new_id("lsh"),
        "type": "local_shell_call",
        "status": "in_progress",
        "call_id": step.call_id or writer.new_id("call"),
        "action": {
            "type": "exec",
            "command": list(step.command),
            "env": dict(step.env),
            "timeout_ms": step.timeout_ms,
            "user": step.user,
            "working_directory": step.working_directory,
        },
    }
    yield writer.added(item)
    yield writer.done({**item, "status": "completed"})


def apply_patch_call(step: ApplyPatchCall, writer: EventWriter) -> Iterator[Event | Wait]:
    """One change of a file."""
    writer.count(step.path, step.diff)
    operation = {"type": step.operation, "path": step.path}
    if step.operation != "delete_file":
        operation["diff"] = step.diff
    item = {
        "id": writer.new_id("apc"),
        "type": "apply_patch_call",
        "status": "in_progress",
        "call_id": step.call_id or writer.new_id("call"),
        "operation": operation,
    }
    if step.caller is not None:
        item["caller"] = step.caller
    yield writer.added(item)
    yield writer.done({**item, "status": "completed"})


def computer_call(step: ComputerCall, writer: EventWriter) -> Iterator[Event | Wait]:
    """Actions on the client's computer."""
    writer.count(*(orjson.dumps(action).decode() for action in step.actions))
    item = {
        "id": writer.new_id("cu"),
        "type": "computer_call",
        "status": "in_progress",
        "call_id": step.call_id or writer.new_id("call"),
        "actions": list(step.actions),
        "pending_safety_checks": list(step.pending_safety_checks),
    }
    yield writer.added(item)
    yield writer.done({**item, "status": "completed"})
