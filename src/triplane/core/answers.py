"""Which items answer calls: by the kind of each call, and by what became of it.

Every call gets an answer of its own type, also one that failed, was late, or called a tool that there is not: a request
that leaves one out is refused. Where an answer of that type has no room for words, what went wrong is said in a message
behind the answers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from .items import CLIENT_CALLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .outcome import CallKind, ToolCall, ToolOutcome
    from .records import Item

# What a shell says of a command that was there and could not be run.
NOT_RUN: Final = 126
_NOT_REACHED = "The command was not run: the call had ended before."
# A picture of one transparent point. An answer to a computer call must have a picture, and there is none.
_NO_PICTURE: Final = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR42mNg"
    "AAIAAAUAAen63NgAAAAASUVORK5CYII="
)
SCREENSHOT: Final = "computer_screenshot"


def answers_of(finished: Iterable[tuple[ToolCall, ToolOutcome]]) -> list[Item]:
    """The items that answer calls, as wire data, in the order of the calls.

    Who made a call and in which namespace goes back with the answer (openai-python 3.52.0).
    """
    answers: list[Item] = []
    remarks: list[Item] = []
    for call, outcome in finished:
        body = _BODIES[call.kind](call, outcome)
        answer: Item = {"type": CLIENT_CALLS[call.kind], **body}
        if call.namespace is not None and call.kind == "function_call":
            answer["namespace"] = call.namespace
        if call.caller is not None:
            answer["caller"] = call.caller
        answers.append(answer)
        if call.kind in _WORDLESS and not outcome.succeeded:
            remarks.append(_remark(call, outcome))
    return answers + remarks


def shell_entry(stdout: str, stderr: str, exit_code: int | None) -> dict[str, Any]:
    """What one command did, as an answer to a shell call has it; without an exit code it was late."""
    outcome = {"type": "timeout"} if exit_code is None else {"type": "exit", "exit_code": exit_code}
    return {"stdout": stdout, "stderr": stderr, "outcome": outcome}


def _said(call: ToolCall, outcome: ToolOutcome) -> Item:
    said = outcome.answer
    return {"call_id": call.call_id, "output": said if isinstance(said, str) else list(said)}


def _shell(call: ToolCall, outcome: ToolOutcome) -> Item:
    """One entry for each command. Behind those that there are the commands were not run."""
    action = _action(call)
    commands = action.get("commands")
    count = max(1, len(commands)) if isinstance(commands, list) else 1
    answer: Item = {"call_id": call.call_id, "output": _entries(outcome, count)}
    if isinstance(limit := action.get("max_output_length"), int):
        answer["max_output_length"] = limit
    return answer


def _local_shell(call: ToolCall, outcome: ToolOutcome) -> Item:
    """Its ``id`` is the call id, and its output is JSON (openai-python 3.52.0; nothing says of which shape)."""
    (entry,) = _entries(outcome, 1)
    return {"id": call.call_id, "output": json.dumps(entry, ensure_ascii=False)}


def _entries(outcome: ToolOutcome, count: int) -> list[Mapping[str, Any]]:
    entries = list(outcome.content or ())[:count]
    # Where nothing is known of any command, none is said to have been run, or not to have been.
    words = _NOT_REACHED if entries else outcome.output or _NOT_REACHED
    exit_code = None if outcome.kind == "timed_out" else NOT_RUN
    return entries + [shell_entry("", words, exit_code)] * (count - len(entries))


def _patch(call: ToolCall, outcome: ToolOutcome) -> Item:
    status = "completed" if outcome.succeeded else "failed"
    return {"call_id": call.call_id, "status": status, "output": outcome.output}


def _computer(call: ToolCall, outcome: ToolOutcome) -> Item:
    """The picture among the parts; the others are the safety checks that were acknowledged."""
    parts = outcome.content or ()
    picture = next((part for part in parts if part.get("type") == SCREENSHOT), None)
    answer: Item = {
        "call_id": call.call_id,
        "output": picture or {"type": SCREENSHOT, "image_url": _NO_PICTURE},
    }
    if acknowledged := [part for part in parts if part.get("type") != SCREENSHOT]:
        answer["acknowledged_safety_checks"] = acknowledged
    return answer if picture is not None else {**answer, "status": "incomplete"}


def _search(call: ToolCall, outcome: ToolOutcome) -> Item:
    return {
        "call_id": call.call_id,
        "execution": "client",
        "status": "completed" if outcome.succeeded else "incomplete",
        "tools": list(outcome.content or ()),
    }


def _action(call: ToolCall) -> dict[str, Any]:
    try:
        action = json.loads(call.arguments)
    except ValueError:
        return {}
    return action if isinstance(action, dict) else {}


def _remark(call: ToolCall, outcome: ToolOutcome) -> Item:
    text = f"The call {call.call_id} of the tool {call.name} came to nothing. {outcome.output}"
    return {"type": "message", "role": "developer", "content": text}


_WORDLESS: Final = frozenset({"computer_call", "tool_search_call"})
_BODIES: Final[dict[CallKind, Callable[[ToolCall, ToolOutcome], Item]]] = {
    "function_call": _said,
    "custom_tool_call": _said,
    "shell_call": _shell,
    "local_shell_call": _local_shell,
    "apply_patch_call": _patch,
    "computer_call": _computer,
    "tool_search_call": _search,
}
