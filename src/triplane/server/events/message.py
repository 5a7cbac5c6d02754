"""The message that is open: its parts, and the one event that there is a thousand of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never, final

import attrs
import orjson

from triplane.server.steps import (
    Annotation,
    ContainerFileCitation,
    FileCitation,
    FilePath,
    Logprob,
    NewMessage,
    Refusal,
    Text,
    UrlCitation,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .writer import Event, EventWriter

__all__ = ["MessageWriter"]

_DELTA: Final = b'{"type":"response.output_text.delta","sequence_number":'


@final
class MessageWriter:
    """Writes messages, one at a time. A message has parts, texts and refusals, of which the last one is open.

    Attributes:
        takes_text: whether `delta` can be called.
    """

    def __init__(self, writer: EventWriter) -> None:
        self.takes_text = False
        self._writer = writer
        self._item: dict[str, Any] | None = None
        self._parts: list[dict[str, Any]] = []
        self._refusing = False
        self._pieces: list[str] = []
        self._logprobs: list[Logprob] = []
        self._annotations: list[dict[str, Any]] = []
        self._where: dict[str, Any] = {}
        self._before_delta = b""
        self._after_delta = b""

    def new(self, step: NewMessage) -> Iterator[Event | Wait]:
        """Open a message after closing the one that is open."""
        yield from self.close()
        self._item = {
            "id": self._writer.new_id("msg"),
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "phase": step.phase,
            "content": [],
        }
        self._parts = []
        yield self._writer.added(self._item)

    def text(self, step: Text) -> Iterator[Event | Wait]:
        """Add to the text; what is needed for that is opened."""
        if not self.takes_text:
            yield from self._open_part(refusing=False)
        yield from self._writer.pause(step.text)
        yield self.delta(step)

    def delta(self, step: Text) -> Event:
        """Return the event that adds to the text which is open."""
        writer = self._writer
        text = writer.take(step.text)
        self._pieces.append(text)
        if step.logprobs:
            self._logprobs += step.logprobs
            return writer.event(
                "response.output_text.delta",
                **self._where,
                delta=text,
                logprobs=[_logprob(each) for each in step.logprobs],
            )
        # All of this is `writer.event`, for a third of its price.
        return b"%b%d%b%b%b" % (
            _DELTA,
            writer.next_number(),
            self._before_delta,
            orjson.dumps(text),
            self._after_delta,
        )

    def refusal(self, step: Refusal) -> Iterator[Event | Wait]:
        """Add to the refusal; what is needed for that is opened."""
        if not self._where or not self._refusing:
            yield from self._open_part(refusing=True)
        yield from self._writer.pause(step.text)
        text = self._writer.take(step.text)
        self._pieces.append(text)
        yield self._writer.event("response.refusal.delta", **self._where, delta=text)

    def annotate(self, step: Annotation) -> Iterator[Event | Wait]:
        """Annotate the text."""
        if not self.takes_text:
            yield from self._open_part(refusing=False)
        annotation = {"type": _annotation_type(step), **attrs.asdict(step)}
        yield self._writer.event(
            "response.output_text.annotation.added",
            **self._where,
            annotation_index=len(self._annotations),
            annotation=annotation,
        )
        self._annotations.append(annotation)

    def close(self, status: str = "completed") -> Iterator[Event | Wait]:
        """Close the message that is open, if there is one."""
        if self._item is None:
            return
        if not self._where and not self._parts:
            # A message without a part would be none.
            yield from self._open_part(refusing=False)
        yield from self._close_part()
        item, self._item = self._item, None
        yield self._writer.done({**item, "status": status, "content": self._parts})

    def _open_part(self, *, refusing: bool) -> Iterator[Event | Wait]:
        if self._item is None:
            yield from self.new(NewMessage())
        assert self._item is not None
        yield from self._close_part()
        self._refusing = refusing
        self._pieces, self._logprobs, self._annotations = [], [], []
        self._where = {
            "item_id": self._item["id"],
            "output_index": self._writer.index,
            "content_index": len(self._parts),
        }
        self.takes_text = not refusing
        if self.takes_text:
            self._before_delta = b"," + orjson.dumps(self._where)[1:-1] + b',"delta":'
            self._after_delta = b"," + orjson.dumps({"logprobs": [], **self._writer.tags})[1:]
        yield self._writer.event("response.content_part.added", **self._where, part=self._part(""))

    def _close_part(self) -> Iterator[Event]:
        if not self._where:
            return
        text = "".join(self._pieces)
        part = self._part(text)
        if self._refusing:
            yield self._writer.event("response.refusal.done", **self._where, refusal=text)
        else:
            logprobs = [_logprob(each) for each in self._logprobs]
            yield self._writer.event("response.output_text.done", **self._where, text=text, logprobs=logprobs)
        yield self._writer.event("response.content_part.done", **self._where, part=part)
        self._parts.append(part)
        self._where, self.takes_text = {}, False

    def _part(self, text: str) -> dict[str, Any]:
        if self._refusing:
            return {"type": "refusal", "refusal": text}
        return {
            "type": "output_text",
            "text": text,
            "annotations": self._annotations,
            "logprobs": [_logprob(each) for each in self._logprobs],
        }


def _annotation_type(step: Annotation) -> str:
    match step:
        case UrlCitation():
            return "url_citation"
        case FileCitation():
            return "file_citation"
        case ContainerFileCitation():
            return "container_file_citation"
        case FilePath():
            return "file_path"
    assert_never(step)


def _logprob(logprob: Logprob) -> dict[str, Any]:
    return {
        "token": logprob.token,
        "bytes": list(logprob.token.encode()),
        "logprob": logprob.logprob,
        "top_logprobs": [
            {"token": top.token, "bytes": list(top.token.encode()), "logprob": top.logprob}
            for top in logprob.top
        ],
    }
