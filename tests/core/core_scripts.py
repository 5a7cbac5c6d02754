"""Random responses: what a model might answer, and the frames in which a server might tell it."""

from __future__ import annotations

import json
import random
from typing import Any

from core_wire import Item, numbered
from hypothesis import strategies as st

Frame = dict[str, Any]

texts = st.text("abc é😀", max_size=12)
SKELETONS = (
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_summary_part.added",
)


@st.composite
def messages(draw: st.DrawFn, identity: str) -> tuple[Item, list[Frame]]:
    """A message with some parts."""
    frames: list[Frame] = []
    content = []
    for index in range(draw(st.integers(0, 2))):
        at = {"item_id": identity, "content_index": index}
        text = draw(texts)
        if draw(st.booleans()):
            part, empty, stem, key = (
                {"type": "refusal", "refusal": text},
                {"type": "refusal", "refusal": ""},
                "refusal",
                "refusal",
            )
        else:
            part = {"type": "output_text", "text": text, "annotations": []}
            empty, stem, key = {**part, "text": ""}, "output_text", "text"
        frames.append({"type": "response.content_part.added", **at, "part": empty})
        frames += deltas(draw, f"response.{stem}.delta", text, at)
        frames.append({"type": f"response.{stem}.done", **at, key: text})
        frames.append({"type": "response.content_part.done", **at, "part": part})
        content.append(part)
    item = {"type": "message", "id": identity, "role": "assistant", "status": "completed", "content": content}
    return item, bracketed(item, {"content": [], "status": "in_progress"}, frames)


@st.composite
def reasonings(draw: st.DrawFn, identity: str) -> tuple[Item, list[Frame]]:
    """A reasoning item with a summary and perhaps its text."""
    frames: list[Frame] = []
    summary = []
    for index in range(draw(st.integers(0, 2))):
        at = {"item_id": identity, "summary_index": index}
        part = {"type": "summary_text", "text": draw(texts)}
        frames.append({"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}})
        frames += deltas(draw, "response.reasoning_summary_text.delta", part["text"], at)
        frames.append({"type": "response.reasoning_summary_text.done", **at, "text": part["text"]})
        frames.append({"type": "response.reasoning_summary_part.done", **at, "part": part})
        summary.append(part)
    item = {"type": "reasoning", "id": identity, "summary": summary, "encrypted_content": "gAAAA"}
    if draw(st.booleans()):
        text = draw(texts)
        at = {"item_id": identity, "content_index": 0}
        frames += deltas(draw, "response.reasoning_text.delta", text, at)
        frames.append({"type": "response.reasoning_text.done", **at, "text": text})
        item["content"] = [{"type": "reasoning_text", "text": text}]
    return item, bracketed(item, {"summary": [], "encrypted_content": None}, frames)


@st.composite
def calls(draw: st.DrawFn, identity: str) -> tuple[Item, list[Frame]]:
    """A call with one text that streams."""
    kind, stem, key = draw(
        st.sampled_from(
            [
                ("function_call", "function_call_arguments", "arguments"),
                ("custom_tool_call", "custom_tool_call_input", "input"),
                ("mcp_call", "mcp_call_arguments", "arguments"),
                ("code_interpreter_call", "code_interpreter_call_code", "code"),
            ]
        )
    )
    text = draw(texts)
    frames = deltas(draw, f"response.{stem}.delta", text, {"item_id": identity})
    frames.append({"type": f"response.{stem}.done", "item_id": identity, key: text})
    item = {
        "type": kind,
        "id": identity,
        "call_id": f"call_{identity}",
        "name": "look",
        key: text,
        "status": "completed",
    }
    return item, bracketed(item, {key: "", "status": "in_progress"}, frames)


@st.composite
def searches(draw: st.DrawFn, identity: str) -> tuple[Item, list[Frame]]:
    """Something that the server runs."""
    kind = draw(st.sampled_from(["web_search_call", "file_search_call"]))
    frames = [
        {"type": f"response.{kind}.{status}", "item_id": identity}
        for status in ("in_progress", "searching", "completed")
    ]
    item = {
        "type": kind,
        "id": identity,
        "status": "completed",
        "action": {"type": "search", "query": draw(texts)},
    }
    return item, bracketed(item, {"status": "in_progress"}, frames)


@st.composite
def shells(draw: st.DrawFn, identity: str) -> tuple[Item, list[Frame]]:
    """Commands for a shell, whose events do not name the item."""
    commands = draw(st.lists(texts, max_size=3))
    frames: list[Frame] = []
    for index, command in enumerate(commands):
        at = {"command_index": index}
        frames.append({"type": "response.shell_call_command.added", **at, "command": ""})
        frames += deltas(draw, "response.shell_call_command.delta", command, at)
        frames.append({"type": "response.shell_call_command.done", **at, "command": command})
    item = {
        "type": "shell_call", "id": identity, "call_id": f"call_{identity}",
        "status": "completed", "action": {"commands": commands},
    }  # fmt: skip
    return item, bracketed(item, {"action": {"commands": []}, "status": "in_progress"}, frames)


def deltas(draw: st.DrawFn, kind: str, text: str, at: Frame) -> list[Frame]:
    """A text cut anywhere, pieces of no length included."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [
        {"type": kind, **at, "delta": text[begin:end]}
        for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)
    ]


def bracketed(item: Item, skeleton: Item, frames: list[Frame]) -> list[Frame]:
    begun = {key: value for key, value in item.items() if key != "content"} | skeleton
    return [
        {"type": "response.output_item.added", "item": begun},
        *frames,
        {"type": "response.output_item.done", "item": item},
    ]


@st.composite
def responses(draw: st.DrawFn, *, interleaved: bool = False) -> tuple[list[Item], list[Frame]]:
    """A response: its output, and its frames up to the terminal one, numbered.

    Args:
        draw: Hypothesis.
        interleaved: Whether an item may begin before the one before it is done.
    """
    makers = [messages, reasonings, calls, searches, shells]
    output, streams = [], []
    for index in range(draw(st.integers(0, 4))):
        item, frames = draw(draw(st.sampled_from(makers))(f"item_{index}"))
        output.append(item)
        streams.append([{**frame, "output_index": index} for frame in frames])
    if interleaved:
        order = draw(st.permutations([index for index, stream in enumerate(streams) for _ in stream]))
        middle = [streams[index].pop(0) for index in order]
    else:
        middle = [frame for stream in streams for frame in stream]
    response = {"id": "resp_1", "status": "in_progress", "output": []}
    return output, numbered(
        [
            {"type": "response.created", "response": response},
            {"type": "response.in_progress", "response": response},
            *middle,
        ]
    )


def terminal(output: Any, number: int | None = None) -> Frame:
    """The frame that ends a response."""
    numbering = {} if number is None else {"sequence_number": number}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    response = {"id": "resp_1", "status": "completed", "output": output, "usage": usage}
    return {"type": "response.completed", **numbering, "response": response}


@st.composite
def disturbed(draw: st.DrawFn, frames: list[Frame]) -> list[Frame]:
    """Frames of which some setup frames are left out, and any may come again at any time later."""
    kept = [frame for frame in frames if frame["type"] not in SKELETONS or draw(st.booleans())]
    for _ in range(draw(st.integers(0, 4))):
        if kept:
            first = draw(st.integers(0, len(kept) - 1))
            kept.insert(draw(st.integers(first + 1, len(kept))), kept[first])
    return kept


# Anything at all. This is drawn with a seeded generator: Hypothesis would spend its time on the structure of nonsense.

ITEM_KEYS = [
    "type", "id", "call_id", "name", "arguments", "input", "content", "summary", "status", "role", "text", "refusal",
    "annotations", "action", "commands", "output", "environment", "execution", "code", "logprobs",
]  # fmt: skip
KINDS = [
    "message", "reasoning", "function_call", "custom_tool_call", "shell_call", "shell_call_output", "compaction",
    "web_search_call", "output_text", "refusal", "reasoning_text", "summary_text", "newer",
]  # fmt: skip
STRINGS = ["text", "refusal", "arguments", "input", "code", "command", "name", "reason", "partial_image_b64"]
INDICES = [
    "output_index",
    "content_index",
    "summary_index",
    "command_index",
    "annotation_index",
    "partial_image_index",
]
SCALARS = [None, True, False, -1, 0, 1, 1.5, "", "a", "msg_1", "call_1", "message", "incomplete", "completed"]


class Nonsense:
    """Events of all types, with values that fit their fields or do not."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def frames(self, kinds: list[str], most: int) -> tuple[str, ...]:
        return tuple(self.frame(self._rng.choice(kinds)) for _ in range(self._rng.randint(0, most)))

    def frame(self, kind: str) -> str:
        """The text of an event; most are as they should be, so that they get through the codec."""
        fields: Frame = {name: self._text() for name in STRINGS}
        fields |= {name: self._rng.randint(-1, 2) for name in INDICES}
        fields |= {"item": self._object(), "part": self._object(), "annotation": self._object()}
        fields["item_id"] = self._rng.choice(["", "msg_1", "fc_1"])
        fields["delta"] = (
            {"stdout": self._text(), "stderr": None} if "output_content" in kind else self._text()
        )
        fields["output"] = [{"stdout": "a", "stderr": "", "outcome": {"type": "timeout"}}]
        fields["response"] = {
            **{
                key: self._value(2)
                for key in ("usage", "incomplete_details", "error", "status")
                if self._often()
            },
            "id": self._rng.choice(["resp_1", "resp_2"]),
            "output": None if self._often() else [self._object() for _ in range(self._rng.randint(0, 3))],
        }
        fields["steer"] = {"previous_response_id": "resp_1", "id": self._rng.choice(["s1", "s2", None])}
        fields["required_input"] = [{"type": "function_call_output", "call_id": "call_1"}]
        fields["error"] = {"code": "x", "message": self._value(1)}
        if self._often():
            fields["logprobs"] = [{"token": "a", "logprob": -1.5}]
        if self._often():
            fields["sequence_number"] = self._rng.randint(-1, 30)
        if not self._often():
            fields[self._rng.choice(sorted(fields))] = self._value(2)
        return json.dumps({"type": kind, **fields})

    def _often(self) -> bool:
        return self._rng.random() < 0.7

    def _text(self) -> str:
        return "".join(self._rng.choices("ab é", k=self._rng.randint(0, 3)))

    def _object(self) -> Frame:
        made = {key: self._value(3) for key in self._rng.sample(ITEM_KEYS, self._rng.randint(0, 6))}
        if self._often():
            made["type"] = self._rng.choice(KINDS)
        if made.get("type") in ("function_call", "custom_tool_call") and self._often():
            made |= {key: self._rng.choice(["a", "b"]) for key in ("call_id", "name", "arguments", "input")}
        return made

    def _value(self, depth: int) -> Any:
        kind = self._rng.randint(0, 3) if depth else 0
        if kind == 1:
            return [self._value(depth - 1) for _ in range(self._rng.randint(0, 3))]
        if kind == 2:
            keys = self._rng.sample(ITEM_KEYS, self._rng.randint(0, 3))
            return {key: self._value(depth - 1) for key in keys}
        return self._rng.choice(SCALARS)
