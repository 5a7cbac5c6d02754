"""What each event does to the output: one table, from an event's type to the function that folds it.

The table goes by type and not by class, so that no class of an event is imported before such an event arrives.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal

from .item_builder import Part, PartialImage, ShellOutput, Text
from .output_builder import Stream, nowhere

if TYPE_CHECKING:
    from triplane.protocol import (
        ResponseAudioDelta,
        ResponseAudioTranscriptDelta,
        ResponseContentPartAdded,
        ResponseContentPartDone,
        ResponseFunctionCallArgumentsDone,
        ResponseImageGenerationCallPartialImage,
        ResponseOutputItemAdded,
        ResponseOutputItemDone,
        ResponseOutputTextAnnotationAdded,
        ResponseOutputTextDone,
        ResponseReasoningSummaryPartAdded,
        ResponseReasoningSummaryPartDone,
        ResponseShellCallCommandAdded,
        ResponseShellCallCommandDone,
        ResponseShellCallOutputContentDelta,
        ResponseShellCallOutputContentDone,
    )

    from .item_builder import ItemBuilder
    from .output_builder import OutputBuilder


Fold = Callable[["OutputBuilder", Any], object]


def _part(output: OutputBuilder, parts: dict[int, Part], index: int, kind: str) -> Part:
    """The part at an index; another kind of part that is not done gives way, since it cannot have such events."""
    part = parts.get(index)
    if part is None or (part.kind != kind and part.done is None):
        part = parts[index] = Part(kind)
        output.forget_streams()
    return part


# Deltas. Nearly all events are deltas, so `OutputBuilder.streams` remembers where the next piece of each text goes until
# an event comes that is no delta. The mark of a delta is its text, with its place: keeping the event would keep four
# times as much.


def _delta(
    item: str,
    kind: str,
    index_of: Callable[[Any], int],
    open_text: Callable[[OutputBuilder, ItemBuilder, int], Text],
) -> Callable[[OutputBuilder, Any], Stream | None]:
    """For the deltas of one kind of text. The fold returns the text's stream, None if the event came before.

    Args:
        item: The type of item that has such a text.
        kind: Tells it from the other texts of such an item.
        index_of: Where in the item an event's text is.
        open_text: Finds or begins the text.
    """

    def fold(output: OutputBuilder, event: Any) -> Stream | None:
        place = (kind, event.output_index, index_of(event))
        stream = output.streams.get(place)
        if stream is not None:
            # The place as it is kept there: many marks, one tuple.
            place = stream.place
        if output.numbering.repeats(event, event.delta, place):
            return None
        if stream is None:
            builder = output.grow(event.output_index, getattr(event, "item_id", None), item)
            text = None if builder is None else open_text(output, builder, place[2])
            sink = nowhere if text is None or text.whole else text.pieces.append
            stream = output.streams[place] = Stream(place, sink)
        output.latest = stream
        stream.sink(event.delta)
        return stream

    return fold


def _content_delta(item: str, kind: str) -> Fold:
    """For the deltas of content parts, the most frequent events. The usual one is folded without another call.

    The usual one has the number that is due, and is for the same text as the last one.
    """

    def open_part(output: OutputBuilder, builder: ItemBuilder, index: int) -> Text:
        return _part(output, builder.content, index, kind).text

    fold_any = _delta(item, kind, attrgetter("content_index"), open_part)
    has_logprobs = kind == "output_text"

    def fold(output: OutputBuilder, event: Any) -> None:
        numbering, latest = output.numbering, output.latest
        number = event.sequence_number
        if (
            number == numbering.due
            and latest.index == event.content_index
            and latest.output_index == event.output_index
            and latest.kind == kind
        ):
            numbering.marks.append(event.delta)
            numbering.places.append(latest.place)
            numbering.due = number + 1
            latest.sink(event.delta)
            stream: Stream | None = latest
        else:
            stream = fold_any(output, event)
        if has_logprobs and event.logprobs and stream is not None and stream.sink is not nowhere:
            builder = output.find(event.output_index)
            builder.content[event.content_index].add_logprobs(event.logprobs)  # type: ignore[union-attr]  # has a sink

    return fold


def _open_summary(output: OutputBuilder, builder: ItemBuilder, index: int) -> Text:
    return _part(output, builder.summary, index, "summary_text").text


def _open_command(_output: OutputBuilder, builder: ItemBuilder, index: int) -> Text:
    return builder.commands.setdefault(index, Text())


def _string_delta(item: str, key: str) -> Fold:
    def open_string(_output: OutputBuilder, builder: ItemBuilder, _index: int) -> Text:
        return builder.strings.setdefault(key, Text())

    return _delta(item, item, lambda _event: 0, open_string)


def _shell_output_delta(output: OutputBuilder, event: ResponseShellCallOutputContentDelta) -> None:
    stdout, stderr = event.delta.stdout or "", event.delta.stderr or ""
    if not output.numbering.repeats(event, (event.output_index, event.command_index, stdout, stderr)):
        builder = output.grow(event.output_index, event.item_id, "shell_call_output")
        if builder is not None:
            written = builder.shell.setdefault(event.command_index, ShellOutput())
            written.stdout.append(stdout)
            written.stderr.append(stderr)


def _audio_delta(output: OutputBuilder, event: ResponseAudioDelta) -> None:
    if not output.numbering.repeats(event, ("audio", event.delta)):
        output.audio.append(event.delta)


def _transcript_delta(output: OutputBuilder, event: ResponseAudioTranscriptDelta) -> None:
    if not output.numbering.repeats(event, ("transcript", event.delta)):
        output.transcript.append(event.delta)


def _rare(fold: Fold) -> Fold:
    """For events that are no deltas: each is its own mark, and may change what an index stands for."""

    def fold_once(output: OutputBuilder, event: Any) -> None:
        if not output.numbering.repeats(event, event):
            output.forget_streams()
            fold(output, event)

    return fold_once


# Beginnings and ends.


def _item_added(output: OutputBuilder, event: ResponseOutputItemAdded) -> None:
    output.announce(event.output_index, dict(event.raw_item))


def _item_done(output: OutputBuilder, event: ResponseOutputItemDone) -> None:
    output.finish(event.output_index, dict(event.raw_item))


def _part_added(output: OutputBuilder, event: ResponseContentPartAdded) -> None:
    raw = dict(event.raw_part)
    builder = output.grow(event.output_index, event.item_id, _holder_of(raw))
    if builder is not None:
        _announce(builder.content, event.content_index, raw)


def _part_done(output: OutputBuilder, event: ResponseContentPartDone) -> None:
    raw = dict(event.raw_part)
    builder = output.grow(event.output_index, event.item_id, _holder_of(raw))
    if builder is not None:
        output.finish_part(builder, "content", event.content_index, raw)


def _summary_part_added(output: OutputBuilder, event: ResponseReasoningSummaryPartAdded) -> None:
    builder = output.grow(event.output_index, event.item_id, "reasoning")
    if builder is not None:
        _announce(builder.summary, event.summary_index, dict(event.raw_part))


def _summary_part_done(output: OutputBuilder, event: ResponseReasoningSummaryPartDone) -> None:
    builder = output.grow(event.output_index, event.item_id, "reasoning")
    if builder is not None:
        output.finish_part(builder, "summary", event.summary_index, dict(event.raw_part))


def _holder_of(part: dict[str, Any]) -> str:
    return "reasoning" if part.get("type") == "reasoning_text" else "message"


def _announce(parts: dict[int, Part], index: int, raw: dict[str, Any]) -> None:
    kind = str(raw.get("type"))
    part = parts.get(index)
    if part is None or (part.kind != kind and part.done is None):
        parts[index] = Part(kind, raw)
    else:
        part.announce(raw)


def _text_done(item: str, parts: Literal["content", "summary"], kind: str, key: str) -> Fold:
    """For events with the whole text of a part, which the event has under `key`."""

    def fold(output: OutputBuilder, event: Any) -> None:
        builder = output.grow(event.output_index, event.item_id, item)
        if builder is not None:
            index = event.content_index if parts == "content" else event.summary_index
            part = _part(output, getattr(builder, parts), index, kind)
            if part.done is None:
                _replace(output, builder, f"{parts}[{index}]", part.text, getattr(event, key))

    return fold


def _output_text_done(output: OutputBuilder, event: ResponseOutputTextDone) -> None:
    _OUTPUT_TEXT_DONE(output, event)
    builder = output.find(event.output_index)
    part = None if builder is None or builder.done is not None else builder.content.get(event.content_index)
    if part is not None and event.logprobs is not None:
        part.replace_logprobs(event.logprobs)


_OUTPUT_TEXT_DONE: Final = _text_done("message", "content", "output_text", "text")


def _annotation_added(output: OutputBuilder, event: ResponseOutputTextAnnotationAdded) -> None:
    builder = output.grow(event.output_index, event.item_id, "message")
    if builder is not None:
        part = _part(output, builder.content, event.content_index, "output_text")
        part.annotate(event.annotation_index, event.annotation)


def _string_done(item: str, key: str) -> Fold:
    """For events with the whole of a call's only text."""

    def fold(output: OutputBuilder, event: Any) -> None:
        builder = output.grow(event.output_index, event.item_id, item)
        if builder is not None:
            _replace(output, builder, key, builder.strings.setdefault(key, Text()), getattr(event, key))

    return fold


def _arguments_done(output: OutputBuilder, event: ResponseFunctionCallArgumentsDone) -> None:
    _ARGUMENTS_DONE(output, event)
    builder = output.find(event.output_index)
    if builder is not None and event.name is not None:
        builder.announced.setdefault("name", event.name)


_ARGUMENTS_DONE: Final = _string_done("function_call", "arguments")


def _replace(output: OutputBuilder, builder: ItemBuilder, path: str, text: Text, whole: str) -> None:
    if text.pieces:
        output.replaced(builder, path, str(text), whole)
    text.replace(whole)


# What the server runs itself.


def _command_added(output: OutputBuilder, event: ResponseShellCallCommandAdded) -> None:
    builder = output.grow(event.output_index, None, "shell_call")
    if builder is not None:
        builder.commands.setdefault(event.command_index, Text(event.command))


def _command_done(output: OutputBuilder, event: ResponseShellCallCommandDone) -> None:
    builder = output.grow(event.output_index, None, "shell_call")
    if builder is not None:
        text = builder.commands.setdefault(event.command_index, Text())
        _replace(output, builder, f"action.commands[{event.command_index}]", text, event.command)


def _shell_output_done(output: OutputBuilder, event: ResponseShellCallOutputContentDone) -> None:
    builder = output.grow(event.output_index, event.item_id, "shell_call_output")
    if builder is not None:
        builder.shell.setdefault(event.command_index, ShellOutput()).finish(event.output)


def _partial_image(output: OutputBuilder, event: ResponseImageGenerationCallPartialImage) -> None:
    builder = output.grow(event.output_index, event.item_id, "image_generation_call")
    if builder is not None:
        index = event.partial_image_index
        builder.images[index] = PartialImage(
            event.output_index, event.item_id, index, event.partial_image_b64, event.output_format
        )


def _progress(item: str, status: str) -> Fold:
    def fold(output: OutputBuilder, event: Any) -> None:
        builder = output.grow(event.output_index, event.item_id, item)
        if builder is not None:
            builder.progress = status

    return fold


FOLDS: Final[dict[str, Fold]] = {
    "response.output_item.added": _rare(_item_added),
    "response.output_item.done": _rare(_item_done),
    "response.content_part.added": _rare(_part_added),
    "response.content_part.done": _rare(_part_done),
    "response.output_text.delta": _content_delta("message", "output_text"),
    "response.output_text.done": _rare(_output_text_done),
    "response.output_text.annotation.added": _rare(_annotation_added),
    "response.refusal.delta": _content_delta("message", "refusal"),
    "response.refusal.done": _rare(_text_done("message", "content", "refusal", "refusal")),
    "response.reasoning_text.delta": _content_delta("reasoning", "reasoning_text"),
    "response.reasoning_text.done": _rare(_text_done("reasoning", "content", "reasoning_text", "text")),
    "response.reasoning_summary_part.added": _rare(_summary_part_added),
    "response.reasoning_summary_part.done": _rare(_summary_part_done),
    "response.reasoning_summary_text.delta": _delta(
        "reasoning", "summary", attrgetter("summary_index"), _open_summary
    ),
    "response.reasoning_summary_text.done": _rare(_text_done("reasoning", "summary", "summary_text", "text")),
    "response.function_call_arguments.delta": _string_delta("function_call", "arguments"),
    "response.function_call_arguments.done": _rare(_arguments_done),
    "response.custom_tool_call_input.delta": _string_delta("custom_tool_call", "input"),
    "response.custom_tool_call_input.done": _rare(_string_done("custom_tool_call", "input")),
    "response.mcp_call_arguments.delta": _string_delta("mcp_call", "arguments"),
    "response.mcp_call_arguments.done": _rare(_string_done("mcp_call", "arguments")),
    "response.code_interpreter_call_code.delta": _string_delta("code_interpreter_call", "code"),
    "response.code_interpreter_call_code.done": _rare(_string_done("code_interpreter_call", "code")),
    "response.shell_call_command.added": _rare(_command_added),
    "response.shell_call_command.delta": _delta(
        "shell_call", "command", attrgetter("command_index"), _open_command
    ),
    "response.shell_call_command.done": _rare(_command_done),
    "response.shell_call_output_content.delta": _shell_output_delta,
    "response.shell_call_output_content.done": _rare(_shell_output_done),
    "response.image_generation_call.partial_image": _rare(_partial_image),
    "response.audio.delta": _audio_delta,
    "response.audio.transcript.delta": _transcript_delta,
    # The item comes with its own end; until then these say how far it is.
    **{
        f"response.{item}.{status}": _rare(_progress(item, status))
        for item, statuses in {
            "web_search_call": ("in_progress", "searching", "completed"),
            "file_search_call": ("in_progress", "searching", "completed"),
            "code_interpreter_call": ("in_progress", "interpreting", "completed"),
            "image_generation_call": ("in_progress", "generating", "completed"),
            "mcp_call": ("in_progress", "completed", "failed"),
            "mcp_list_tools": ("in_progress", "completed", "failed"),
            "compaction": ("compacting",),
        }.items()
        for status in statuses
    },
}
