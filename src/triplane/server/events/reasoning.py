"""The events of what the model thinks, forgets and runs by itself, and of items that stand as they are."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

from triplane.server.steps import AnyItem, Compaction, Program, ProgramOutput, Reasoning, Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .writer import Event, EventWriter

__all__ = ["any_item", "compaction", "program", "program_output", "reasoning"]


def reasoning(step: Reasoning, writer: EventWriter) -> Iterator[Event | Wait]:
    """One reasoning item: the parts of its summary, then its text, where it has them."""
    item: dict[str, Any] = {
        "id": writer.new_id("rs"),
        "type": "reasoning",
        "status": "in_progress",
        "summary": [],
    }
    yield writer.added(item)
    summary: list[dict[str, Any]] = []
    for text in step.summary:
        if writer.cut:
            break
        where: dict[str, Any] = {
            "item_id": item["id"],
            "output_index": writer.index,
            "summary_index": len(summary),
        }
        kind = "response.reasoning_summary"
        yield writer.event(f"{kind}_part.added", **where, part={"type": "summary_text", "text": ""})
        sent = yield from writer.deltas(f"{kind}_text.delta", text, reasoning=True, **where)
        part = {"type": "summary_text", "text": sent}
        yield writer.event(f"{kind}_text.done", **where, text=sent)
        cut: dict[str, Any] = {"status": "incomplete"} if writer.cut else {}
        yield writer.event(f"{kind}_part.done", **where, part=part, **cut)
        summary.append(part)
    content: dict[str, Any] = {}
    if step.text and not writer.cut:
        kind = "response.reasoning_text"
        where = {"item_id": item["id"], "output_index": writer.index, "content_index": 0}
        part = {"type": "reasoning_text", "text": ""}
        yield writer.event("response.content_part.added", **where, part=part)
        sent = yield from writer.deltas(f"{kind}.delta", step.text, reasoning=True, **where)
        part = {"type": "reasoning_text", "text": sent}
        yield writer.event(f"{kind}.done", **where, text=sent)
        yield writer.event("response.content_part.done", **where, part=part)
        content["content"] = [part]
    encrypted = step.encrypted_content
    if encrypted is None:
        # Not a secret, and the same for the same thoughts, so that a client's replay can be compared.
        encrypted = urlsafe_b64encode("\n".join(["local", *step.summary, step.text]).encode()).decode()
    status = "incomplete" if writer.cut else "completed"
    yield writer.done(
        {**item, "status": status, "summary": summary, **content, "encrypted_content": encrypted}
    )


def compaction(step: Compaction, writer: EventWriter) -> Iterator[Event | Wait]:
    """The conversation so far as one item."""
    item = {"id": writer.new_id("cmp"), "type": "compaction", "encrypted_content": ""}
    yield writer.added(item)
    yield writer.of_item("response.compaction.compacting", item)
    yield writer.done({**item, "encrypted_content": step.encrypted_content})


def program(step: Program, writer: EventWriter) -> Iterator[Event | Wait]:
    """A program and, if it has one, its result."""
    writer.count(step.code)
    item = {
        "id": writer.new_id("prog"),
        "type": "program",
        "call_id": step.call_id or writer.new_id("call"),
        "code": step.code,
        "fingerprint": step.fingerprint,
    }
    yield writer.added(item)
    yield writer.done(item)
    if step.result is not None:
        yield from program_output(ProgramOutput(item["call_id"], step.result), writer)


def program_output(step: ProgramOutput, writer: EventWriter) -> Iterator[Event | Wait]:
    """What a program returned."""
    item = {
        "id": writer.new_id("progo"),
        "type": "program_output",
        "status": "completed",
        "call_id": step.call_id,
        "result": step.result,
    }
    yield writer.added({**item, "status": "incomplete", "result": ""})
    yield writer.done(item)


def any_item(step: AnyItem, writer: EventWriter) -> Iterator[Event | Wait]:
    """An item as it stands."""
    item = dict(step.item)
    if not item.get("id"):
        item["id"] = writer.new_id("item")
    yield writer.added({**item, "status": "in_progress"} if "status" in item else item)
    yield writer.done(item)
