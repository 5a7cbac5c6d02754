"""A log in the formats of others: lines of JSON, input items of the Responses API, an agent trajectory."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from triplane.core.errors import ConfigError
from triplane.core.items import kind_of
from triplane.core.records import RunStarted, UnknownRecord
from triplane.core.reducer import RunReducer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from triplane.core.records import Item, Record

# Harbor's RFC 0001; the fields that are used here have been the same since 1.4.
_ATIF = "ATIF-v1.6"
_FIRST = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LAST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def as_line(run_id: str, record: Record) -> bytes:
    """A record as one line of JSON, with its line end."""
    body = record.body
    fields = attrs.asdict(body)
    if isinstance(body, UnknownRecord):
        fields["data"] = body.data.decode("utf-8", "backslashreplace")
    line = {"run_id": run_id, "sequence": record.sequence, "at": record.at, "type": body.type, **fields}
    return as_json(line) + b"\n"


def as_json(value: object, *, indented: bool = False) -> bytes:
    """Anything that records hold as JSON, without a line end: also what orjson cannot, as the ledger itself does it."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else 0)
    except TypeError:
        # Whole numbers beyond 64 bits, and text that is not Unicode, such as a name of the system's.
        separators = None if indented else (",", ":")
        return json.dumps(value, indent=2 if indented else None, separators=separators).encode()


def fold(records: Iterable[Record]) -> RunReducer:
    """The run that these records make.

    Raises:
        ConfigError: There is one among them that this version does not know and that the state depends on.
    """
    reducer = RunReducer()
    for record in records:
        _check_known(record)
        reducer.apply(record)
    return reducer


def _check_known(record: Record) -> None:
    """Refuse to fold what this version does not understand.

    Raises:
        ConfigError: The record is essential and unknown.
    """
    if isinstance(record.body, UnknownRecord) and record.body.essential:
        raise ConfigError(
            f"record {record.sequence} is a {record.body.kind!r} of version {record.body.version}, which a newer"
            " Triplane has written; without it the run's state is not known. Use that version"
        )


def as_input(records: Iterable[Record]) -> list[Item]:
    """The conversation as input items: what a request would carry that continues it without a server's memory.

    Of a run that waits for outputs or approvals it ends with the items that nobody has answered yet.
    """
    return fold(records).history


def as_atif(records: Iterable[Record]) -> dict[str, Any]:
    """The run as a trajectory in the Agent Trajectory Interchange Format."""
    reducer = RunReducer()
    steps: list[dict[str, Any]] = []
    by_call: dict[str, dict[str, Any]] = {}
    agent: dict[str, Any] = {"name": "", "version": version("triplane")}
    for record in records:
        _check_known(record)
        before, usage = len(reducer.history), reducer.usage
        reducer.apply(record)
        if isinstance(record.body, RunStarted):
            agent |= {"name": record.body.agent, "model_name": record.body.model}
        turn: dict[str, Any] | None = None
        for item in reducer.history[before:]:
            turn = _add(steps, by_call, item, record.at, turn)
        if turn is not None and reducer.usage != usage:
            turn["metrics"] = {
                "prompt_tokens": reducer.usage.input_tokens - usage.input_tokens,
                "completion_tokens": reducer.usage.output_tokens - usage.output_tokens,
                "cached_tokens": reducer.usage.cached_tokens - usage.cached_tokens,
            }
    waiting = reducer.approvals.open
    for number, step in enumerate(steps, 1):
        step["step_id"] = number
    return {
        "schema_version": _ATIF,
        "session_id": reducer.run_id,
        "agent": agent,
        "steps": [{"step_id": step.pop("step_id"), **step} for step in steps],
        "final_metrics": {
            "total_prompt_tokens": reducer.usage.input_tokens,
            "total_completion_tokens": reducer.usage.output_tokens,
            "total_cached_tokens": reducer.usage.cached_tokens,
            "total_steps": len(steps),
        },
        "extra": {
            "status": reducer.status,
            "reason": reducer.reason,
            **({"approvals": [attrs.asdict(asked) for asked in waiting]} if waiting else {}),
        },
    }


def _add(
    steps: list[dict[str, Any]],
    by_call: dict[str, dict[str, Any]],
    item: Mapping[str, Any],
    at: float,
    turn: dict[str, Any] | None,
) -> dict[str, Any] | None:
    """Add an item to the steps. Returns the step of the model's turn that it is part of, if it is."""
    kind = kind_of(dict(item))
    role = item.get("role")
    if kind == "message" and role != "assistant":
        source = "user" if role == "user" else "system"
        steps.append({"timestamp": _time(at), "source": source, "message": _text(item.get("content"))})
        return None
    if kind == "mcp_approval_response":
        said = "Approved." if item.get("approve") is True else f"Denied. {_text(item.get('reason'))}".rstrip()
        step = {"timestamp": _time(at), "source": "user", "message": said, "extra": {"items": [dict(item)]}}
        steps.append(step)
        return None
    call_id = item.get("call_id")
    if isinstance(call_id, str) and call_id in by_call and "output" in item:
        results = by_call[call_id].setdefault("observation", {"results": []})["results"]
        results.append({"source_call_id": call_id, "content": _text(item["output"])})
        return None
    if turn is None:
        turn = {"timestamp": _time(at), "source": "agent", "message": ""}
        steps.append(turn)
    if kind == "message":
        turn["message"] += _text(item.get("content"))
    elif kind == "reasoning":
        words = _text(item.get("summary")) or _text(item.get("content"))
        if words:
            turn["reasoning_content"] = turn.get("reasoning_content", "") + words
    elif isinstance(call_id, str):
        by_call[call_id] = turn
        name = item.get("name") if isinstance(item.get("name"), str) else kind
        turn.setdefault("tool_calls", []).append(
            {"tool_call_id": call_id, "function_name": name, "arguments": _arguments(item)}
        )
    else:
        turn.setdefault("extra", {}).setdefault("items", []).append(dict(item))
    return turn


def _arguments(item: Mapping[str, Any]) -> dict[str, Any]:
    given = item.get("arguments", item.get("input", item.get("action")))
    if isinstance(given, str):
        try:
            given = orjson.loads(given)
        except orjson.JSONDecodeError:
            return {"input": given}
    return given if isinstance(given, dict) else {"input": given}


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        words = (part.get("text", part.get("refusal")) for part in content if isinstance(part, dict))
        return "".join(each for each in words if isinstance(each, str))
    return "" if content is None else orjson.dumps(content).decode()


def _time(at: float) -> str:
    # As the clock of the ledger gave it, which may be beyond every calendar.
    return datetime.fromtimestamp(min(max(at, _FIRST), _LAST), UTC).isoformat().replace("+00:00", "Z")
