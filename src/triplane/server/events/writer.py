"""What steps are translated with: events that are numbered, items that are counted, texts that are cut to size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import orjson

from triplane.server.steps import Wait
from triplane.server.usage import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from triplane.server.ids import Ids
    from triplane.server.physics import Pace

__all__ = ["Event", "EventWriter", "OutOfTokens"]

Event: TypeAlias = bytes
"""One event as JSON, ready for a frame or for a `data:` line."""

_DELTA_CHARACTERS: Final = 24


class OutOfTokens(Exception):  # noqa: N818 - the end of a response, and not an error
    """What cannot be cut does not fit into the rest of `max_output_tokens`."""


@final
class EventWriter:
    """Writes the events of one response.

    Args:
        ids: where the ids of items and calls come from.
        stream_id: the lane whose name every event carries; None for the default lane, which is not named.
        pace: how long the model takes; None for no time at all.
        max_output_tokens: how much it may write.
        agent: the name of the agent that speaks, as all events of the multi-agent beta say but those that carry the
            response.

    Attributes:
        tags: the fields that every event has but those that carry the response, besides those of its type.
        output: the items finished so far.
        written: bytes the model wrote.
        reasoned: how many of them while thinking.
        cut: whether a text did not fit into `max_output_tokens` and was cut.
    """

    def __init__(
        self,
        ids: Ids,
        *,
        stream_id: str | None = None,
        pace: Pace | None = None,
        max_output_tokens: int | None = None,
        agent: str | None = None,
    ) -> None:
        self.output: list[dict[str, Any]] = []
        self.written = 0
        self.reasoned = 0
        self.cut = False
        self.pace = pace
        self._lane: Mapping[str, Any] = {} if stream_id is None else {"stream_id": stream_id}
        self._agent: Mapping[str, Any] = {} if agent is None else {"agent": {"agent_name": agent}}
        self.tags = {**self._lane, **self._agent}
        self._ids = ids
        self._limit = None if max_output_tokens is None else max_output_tokens * BYTES_PER_TOKEN
        self._sequence_number = 0

    def next_number(self) -> int:
        """Return the `sequence_number` of the next event."""
        number = self._sequence_number
        self._sequence_number = number + 1
        return number

    def event(self, kind: str, **fields: Any) -> Event:
        """Return an event of this type."""
        return orjson.dumps({"type": kind, "sequence_number": self.next_number(), **fields, **self.tags})

    def lifecycle(self, kind: str, response: Mapping[str, Any]) -> Event:
        """Return an event that carries the response."""
        return orjson.dumps(
            {"type": kind, "sequence_number": self.next_number(), "response": response, **self._lane},
        )

    def new_id(self, prefix: str) -> str:
        """Return an id for an item or a call."""
        return self._ids.new(prefix)

    @property
    def full(self) -> bool:
        """Whether not one token more may be written."""
        return self._limit is not None and self.written >= self._limit

    def take(self, text: str, *, reasoning: bool = False) -> str:
        """Return as much of `text` as may still be written, and count it."""
        size = len(text) if text.isascii() else len(text.encode())
        if self._limit is not None and self.written + size > self._limit:
            text = text.encode()[: self._limit - self.written].decode(errors="ignore")
            size = len(text.encode())
            self.cut = True
        self.written += size
        if reasoning:
            self.reasoned += size
        return text

    def count(self, *texts: str) -> None:
        """Count texts that cannot be cut.

        Raises:
            OutOfTokens: they do not fit.
        """
        size = sum(len(text.encode()) for text in texts)
        if self._limit is not None and self.written + size > self._limit:
            raise OutOfTokens
        self.written += size

    # One item at a time is open; these are about that one.

    @property
    def index(self) -> int:
        """The `output_index` of the item."""
        return len(self.output)

    def added(self, item: Mapping[str, Any]) -> Event:
        """Return the event that announces the item."""
        return self.event("response.output_item.added", output_index=self.index, item={**item, **self._agent})

    def of_item(self, kind: str, item: Mapping[str, Any], **fields: Any) -> Event:
        """Return an event about the item."""
        return self.event(kind, item_id=item["id"], output_index=self.index, **fields)

    def done(self, item: dict[str, Any]) -> Event:
        """Return the event that finishes the item."""
        item = {**item, **self._agent}
        event = self.event("response.output_item.done", output_index=self.index, item=item)
        self.output.append(item)
        return event

    def pause(self, text: str) -> Iterator[Wait]:
        """Yield the wait that it takes to write `text`, if it takes any time."""
        if self.pace is not None and (seconds := self.pace.before(text)):
            yield Wait(seconds)

    def deltas(
        self, kind: str, text: str, *, reasoning: bool = False, **fields: Any
    ) -> Generator[Event | Wait, None, str]:
        """Yield `text` in pieces, as far as it fits, each as the `delta` of an event. Returns what fitted."""
        text = self.take(text, reasoning=reasoning)
        for start in range(0, len(text), _DELTA_CHARACTERS):
            piece = text[start : start + _DELTA_CHARACTERS]
            yield from self.pause(piece)
            yield self.event(kind, **fields, delta=piece)
        return text
