"""The events of what the service does itself: searches, code, images, its own shell, speech."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .calls import shell_commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triplane.server.steps import (
        Audio,
        CodeInterpreter,
        FileSearch,
        HostedShellCall,
        ImageGeneration,
        ShellResult,
        Wait,
        WebSearch,
    )

    from .writer import Event, EventWriter

__all__ = [
    "audio",
    "code_interpreter",
    "file_search",
    "hosted_shell_call",
    "image_generation",
    "web_search",
]

# A whole number of groups of base64.
_AUDIO_CHARACTERS: Final = 16 * 1024


def web_search(step: WebSearch, writer: EventWriter) -> Iterator[Event | Wait]:
    """One search of the web."""
    writer.count(step.query)
    action = step.action
    if action is None:
        sources = [{"type": "url", "url": url} for url in step.sources]
        action = {"type": "search", "query": step.query, "queries": [step.query], "sources": sources}
    item = {"id": writer.new_id("ws"), "type": "web_search_call", "status": "in_progress", "action": action}
    yield from _search(item, step.status, writer)


def file_search(step: FileSearch, writer: EventWriter) -> Iterator[Event | Wait]:
    """One search of the files."""
    writer.count(*step.queries)
    item = {
        "id": writer.new_id("fs"),
        "type": "file_search_call",
        "status": "in_progress",
        "queries": list(step.queries),
        "results": None,
    }
    results = None if step.results is None else list(step.results)
    yield from _search(item, step.status, writer, results=results)


def _search(item: dict[str, Any], status: str, writer: EventWriter, **found: Any) -> Iterator[Event | Wait]:
    kind = f"response.{item['type']}"
    yield writer.added(item)
    yield writer.of_item(f"{kind}.in_progress", item)
    yield writer.of_item(f"{kind}.searching", item)
    if status == "completed":
        yield writer.of_item(f"{kind}.completed", item)
    yield writer.done({**item, "status": status, **found})


def code_interpreter(step: CodeInterpreter, writer: EventWriter) -> Iterator[Event | Wait]:
    """Code, streamed as it is written, and what it put out."""
    kind = "response.code_interpreter_call"
    item = {
        "id": writer.new_id("ci"),
        "type": "code_interpreter_call",
        "status": "in_progress",
        "container_id": step.container_id,
        "code": "",
        "outputs": None,
    }
    yield writer.added(item)
    yield writer.of_item(f"{kind}.in_progress", item)
    code = yield from writer.deltas(
        f"{kind}_code.delta", step.code, item_id=item["id"], output_index=writer.index
    )
    yield writer.of_item(f"{kind}_code.done", item, code=code)
    if writer.cut:
        yield writer.done({**item, "status": "incomplete", "code": code})
        return
    yield writer.of_item(f"{kind}.interpreting", item)
    if step.status == "completed":
        yield writer.of_item(f"{kind}.completed", item)
    yield writer.done({**item, "status": step.status, "code": code, "outputs": list(step.outputs)})


def image_generation(step: ImageGeneration, writer: EventWriter) -> Iterator[Event | Wait]:
    """One image after its partial ones, or why there is none."""
    kind = "response.image_generation_call"
    looks = {
        "output_format": step.output_format,
        "size": step.size,
        "quality": step.quality,
        "background": step.background,
    }
    item = {
        "id": writer.new_id("ig"),
        "type": "image_generation_call",
        "status": "in_progress",
        "result": None,
    }
    yield writer.added(item)
    yield writer.of_item(f"{kind}.in_progress", item)
    yield writer.of_item(f"{kind}.generating", item)
    for index, partial in enumerate(step.partials):
        yield writer.of_item(
            f"{kind}.partial_image", item, partial_image_index=index, partial_image_b64=partial, **looks
        )
    if step.error is not None:
        yield writer.done({**item, "status": "failed", "error": step.error})
        return
    yield writer.of_item(f"{kind}.completed", item)
    done = {**item, "status": "completed", "result": step.result, "action": "generate", **looks}
    yield writer.done({**done, "revised_prompt": step.revised_prompt})


def hosted_shell_call(step: HostedShellCall, writer: EventWriter) -> Iterator[Event | Wait]:
    """Commands and, as a second item, what they wrote."""
    environment = {"type": "container_reference", "container_id": step.container_id}
    limit = step.max_output_length
    call = {
        "id": writer.new_id("sh"),
        "type": "shell_call",
        "status": "in_progress",
        "call_id": writer.new_id("call"),
        "action": {"commands": [], "timeout_ms": None, "max_output_length": limit},
        "environment": environment,
    }
    yield from shell_commands(call, step.commands, writer)
    if writer.cut:
        return
    output = {
        "id": writer.new_id("sho"),
        "type": "shell_call_output",
        "status": "in_progress",
        "call_id": call["call_id"],
        "max_output_length": limit,
        "output": [],
    }
    yield writer.added(output)
    shown = [_shell_output(result) for result in step.results]
    kind = "response.shell_call_output_content"
    for index, result in enumerate(shown):
        for channel in ("stdout", "stderr"):
            if result[channel]:
                delta = {channel: result[channel]}
                yield writer.of_item(f"{kind}.delta", output, command_index=index, delta=delta)
        yield writer.of_item(f"{kind}.done", output, command_index=index, output=[result])
    yield writer.done({**output, "status": "completed", "output": shown})


def _shell_output(result: ShellResult) -> dict[str, Any]:
    outcome = (
        {"type": "timeout"} if result.exit_code is None else {"type": "exit", "exit_code": result.exit_code}
    )
    return {"stdout": result.stdout, "stderr": result.stderr, "outcome": outcome}


def audio(step: Audio, writer: EventWriter) -> Iterator[Event | Wait]:
    """Speech and its transcript."""
    # The sound is not written, and so takes neither time nor tokens.
    for start in range(0, len(step.data), _AUDIO_CHARACTERS):
        yield writer.event("response.audio.delta", delta=step.data[start : start + _AUDIO_CHARACTERS])
    yield from writer.deltas("response.audio.transcript.delta", step.transcript)
    yield writer.event("response.audio.done")
    yield writer.event("response.audio.transcript.done")
