"""What tests of steering share: a model that listens, and ways to read a log."""

from __future__ import annotations

from typing import Any

import trio
from scripted_peer import called

import triplane
from triplane.core.records import RequestSent
from triplane.core.reducer import RunReducer

PLAN = "SAY 3 a\nWAIT 60000\nSAY 3 b"
AGENT = triplane.Agent("m")


@triplane.tool(effect="write")
async def look(seconds: float = 0.5) -> str:
    """Look around."""
    await trio.sleep(seconds)
    return "seen"


TOOLED = triplane.Agent("m", "", [look])


class Listener:
    """A model that writes down what each request says, as the server understands it, and answers by a plan.

    Args:
        plan: For each response the steps; the last one again and again.
    """

    name = "listener"

    def __init__(self, *plan: list[Any]) -> None:
        self._plan = list(plan)
        self.heard: list[list[str]] = []

    def respond(self, request: Any) -> Any:
        self.heard.append(
            [
                item["content"] if isinstance(item["content"], str) else item["content"][0]["text"]
                for item in request.conversation
                if item.get("role") == "user"
            ]
        )
        steps = self._plan[min(len(self.heard), len(self._plan)) - 1]
        yield from steps


async def when(run: triplane.Run, kind: type | str, nth: int = 1) -> Any:
    """Return the n-th event of this class or type."""
    seen = 0
    async for event in run:
        if event.type == kind if isinstance(kind, str) else isinstance(event, kind):
            seen += 1
            if seen == nth:
                return event
    raise AssertionError(f"no {kind}")


def types_of(run: triplane.Run) -> list[str]:
    """The types of all events but those that say what a response brings."""
    kinds = []
    for record in run.log.records:
        bodies = record.body.events if isinstance(record.body, triplane.FramesReceived) else [record.body]
        kinds += [
            body.type.removeprefix("response.").removeprefix("triplane.")
            for body in bodies
            if not body.type.startswith(("response.output", "response.content", "response.function"))
        ]
    return [kind for kind in kinds if kind not in ("in_progress", "still_waiting")]


def requests_of(run: triplane.Run) -> list[RequestSent]:
    return [each.body for each in run.log.records if isinstance(each.body, RequestSent)]


def check_log(run: triplane.Run) -> None:
    """The log folds to the state that the run shows."""
    reducer = RunReducer()
    for record in run.log.records:
        reducer.apply(record)
    assert run.state == reducer.snapshot()


def events_of(run: triplane.Run) -> list[Any]:
    return [
        event
        for record in run.log.records
        if isinstance(record.body, triplane.FramesReceived)
        for event in record.body.events
    ]


def texts_of(create: dict[str, Any]) -> list[str]:
    """The input of a request, in short."""
    short = []
    for item in create["input"]:
        content = item.get("content")
        short.append(content if isinstance(content, str) else content[0]["text"] if content else item["type"])
    return short


def user(text: str) -> dict[str, str]:
    return {"type": "message", "role": "user", "content": text}


CALL = {"type": "response.output_item.done", "output_index": 0, "item": called("call_1")}
