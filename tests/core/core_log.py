"""Logs of runs as an engine writes them, for tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from triplane.core.outcome import ToolOutcome
from triplane.core.records import (
    FramesReceived,
    Record,
    RequestSent,
    RunStarted,
    ToolFinished,
    ToolStarted,
)
from triplane.core.reducer import RunReducer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triplane.core.records import Body, PlanKind

OUTCOME = ToolOutcome("ok", "done", seconds=0.5, bytes_produced=4, bytes_kept=4)


def records(bodies: Iterable[Body]) -> list[Record]:
    return [Record(sequence, 0.0, body) for sequence, body in enumerate(bodies)]


def reduce(*bodies: Body) -> RunReducer:
    reducer = RunReducer()
    for record in records(bodies):
        reducer.apply(record)
    return reducer


def started(*items: dict[str, Any]) -> RunStarted:
    return RunStarted("run_1", "agent", "gpt", "fingerprint", items)


def sent(
    turn: int = 1,
    attempt: int = 1,
    *,
    plan: PlanKind = "full",
    previous: str | None = None,
    connection: str = "c1",
    stored: bool = False,
) -> RequestSent:
    return RequestSent(turn, attempt, connection, plan, "first_turn", previous, 1, 100, stored)


def frame(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields})


def got(*frames: str, connection: str = "c1") -> FramesReceived:
    return FramesReceived(connection, frames)


def response(kind: str, output: Any = None, response_id: str = "resp_1", **fields: Any) -> str:
    """A frame with the whole response."""
    return frame(f"response.{kind}", response={"id": response_id, "status": kind, "output": output, **fields})


def whole(*output: dict[str, Any], response_id: str = "resp_1", **fields: Any) -> FramesReceived:
    """All frames of a response that is completed."""
    return got(
        response("created", [], response_id),
        *[
            frame("response.output_item.done", item=item, output_index=index)
            for index, item in enumerate(output)
        ],
        response("completed", list(output), response_id, **fields),
    )


def ran(call_id: str = "call_1", outcome: ToolOutcome = OUTCOME, name: str = "look") -> list[Body]:
    """A tool that started and finished."""
    return [ToolStarted(call_id, name, "{}", "write", "key"), ToolFinished(call_id, name, outcome)]
