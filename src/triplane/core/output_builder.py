"""What a response's output amounts to so far: its items, and how later words replace earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from .differences import (
    Difference,
    StreamedItem,
    differences_in_items,
    differences_in_texts,
    match_items,
    text_of_part,
    texts_of,
)
from .item_builder import ItemBuilder, Part, PartialImage
from .items import CLIENT_CALLS, is_cut_off, kind_of, text_of
from .numbering import Numbering

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .records import Item

    Place = tuple[str, int, int]
    Sink = Callable[[str], None]

# Items whose inside has events of its own. An item of another type, a newer one or a vendor's, may have any.
_WITH_EVENTS = frozenset(
    (
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "mcp_call",
        "mcp_list_tools",
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "shell_call",
        "shell_call_output",
        "compaction",
    )
)


class Stream:
    """A text that deltas are for.

    Attributes:
        place: Its kind, its item's output index, and its index in the item: what marks of deltas refer to.
        kind: The first of these.
        output_index: The second.
        index: The third.
        sink: Takes the next piece.
    """

    __slots__ = ("index", "kind", "output_index", "place", "sink")

    def __init__(self, place: Place, sink: Sink) -> None:
        self.place = place
        self.kind, self.output_index, self.index = place
        self.sink = sink


def nowhere(_piece: str) -> None:
    """Where the deltas of a text go that is whole."""


# No delta is for it.
NO_STREAM: Final = Stream(("", 0, 0), nowhere)


class OutputBuilder:
    """The output items of one response. Everything is linear in what comes.

    Attributes:
        audio: The pieces of spoken audio.
        transcript: The pieces of what it says.
        differences: What did not agree.
        overwritten: Characters of visible text that were streamed and then replaced by fewer.
        numbering: The numbers of the response's events, those included that say nothing about its output.
        streams: The texts that deltas were for, by their place. Whoever changes what an index stands for calls
            `forget_streams`.
        latest: The stream that the last delta was for.
    """

    def __init__(self) -> None:
        self.audio: list[str] = []
        self.transcript: list[str] = []
        self.differences: list[Difference] = []
        self.overwritten = 0
        self.numbering = Numbering()
        self.streams: dict[Place, Stream] = {}
        self.latest = NO_STREAM
        # By output index, the oldest first: a server that uses an index again has several items there. Nobody promises
        # that one item is done before the next begins.
        self._slots: dict[int, list[ItemBuilder]] = {}
        self._final: list[Item] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the output has come, not even the beginning of an item."""
        return not (self._slots or self.audio or self.transcript)

    def find(self, output_index: int) -> ItemBuilder | None:
        """The latest item at an index."""
        slot = self._slots.get(output_index)
        return None if slot is None else slot[-1]

    def grow(self, output_index: int, item_id: str | None, kind: str) -> ItemBuilder | None:
        """The item that an event about its inside belongs to, begun if need be; None if the event comes too late.

        Args:
            output_index: Where. The index alone tells an item: not all servers keep to one id for it, and some events
                have none.
            item_id: Tells a new item from one that is done, at an index that is used again.
            kind: The type of item that has such events.
        """
        builder = self.find(output_index)
        if builder is not None and builder.done is None:
            if builder.kind == kind or builder.kind not in _WITH_EVENTS:
                return builder
        elif builder is not None and (not item_id or item_id == builder.item_id):
            return None
        announced: Item = {"type": kind}
        if item_id:
            announced["id"] = item_id
        if kind == "message":
            announced["role"] = "assistant"
        elif kind == "reasoning":
            announced["summary"] = []
        return self._begin(output_index, announced)

    def forget_streams(self) -> None:
        """Have the next delta look for its text anew."""
        self.streams.clear()
        self.latest = NO_STREAM

    def announce(self, output_index: int, item: Item) -> None:
        """Take an item's skeleton."""
        builder = self.find(output_index)
        if builder is None or not _same(builder.item_id, _id_of(item)) or builder.kind != kind_of(item):
            self._begin(output_index, item)
        elif builder.done is None:
            builder.announce(item)

    def finish(self, output_index: int, item: Item) -> None:
        """Take an item as it is in the end."""
        builder = self.find(output_index)
        if builder is None or builder.kind not in ("", kind_of(item)):
            builder = self._begin(output_index, {})
        elif builder.done is not None:
            if _same(builder.item_id, _id_of(item)):
                self._finish_again(builder, builder.done, item)
                return
            builder = self._begin(output_index, {})
        else:
            # Ids are not compared: some servers make up a new one for each event.
            self._compare_texts("item", output_index, builder.item_id, builder.texts(), texts_of(item))
        self._finish(builder, item)

    def _finish(self, builder: ItemBuilder, item: Item) -> None:
        self.overwritten += max(0, len(text_of([builder.item()])) - len(text_of([item])))
        builder.done = item

    def _finish_again(self, builder: ItemBuilder, before: Item, after: Item) -> None:
        # A call that was done may have been run: what it was stands.
        keep = _is_finished_call(before)
        self._compare_items("item", builder.output_index, before, after, kept="before" if keep else "after")
        if not keep:
            self._finish(builder, after)

    def finish_part(
        self, builder: ItemBuilder, parts: Literal["content", "summary"], index: int, part: Item
    ) -> None:
        """Take a content part or a summary part as it is in the end."""
        known: dict[int, Part] = getattr(builder, parts)
        existing = known.get(index)
        if existing is None:
            existing = known[index] = Part(str(part.get("type")))
        elif existing.text.pieces:
            self.replaced(builder, f"{parts}[{index}]", str(existing.text), text_of_part(part) or "")
        existing.finish(part)

    def replaced(self, builder: ItemBuilder, path: str, before: str, after: str) -> None:
        """Note that a whole text replaces the deltas before it."""
        if before == after:
            return
        self._compare_texts("part", builder.output_index, builder.item_id, {path: before}, {path: after})
        if path.startswith("content") and builder.announced.get("type") == "message":
            self.overwritten += max(0, len(before) - len(after))

    def settle(self, terminal: object, *, whole: bool) -> None:
        """Take the terminal event's ``output``, after which nothing changes any more.

        Args:
            terminal: The list, or whatever the event has in its place.
            whole: Whether the response was completed. Items that were not done are then whole, else cut off.
        """
        if isinstance(terminal, list):
            self._final = self._merge([item for item in terminal if isinstance(item, dict)])
        else:
            self._final = [
                builder.item("completed" if whole else "incomplete") for builder in self.in_order()
            ]

    def _merge(self, output: list[Item]) -> list[Item]:
        streamed = [
            StreamedItem(builder.output_index, builder.item(), builder.done is not None)
            for builder in self.in_order()
        ]
        shown = text_of([each.item for each in streamed])
        merged = list(output)
        missing = dict(enumerate(streamed))
        for place, match in enumerate(match_items(streamed, output)):
            if match is None:
                item = output[place]
                self.differences.append(Difference("response", place, _id_of(item), "", None, item))
                continue
            before = missing.pop(match)
            if before.done and _is_finished_call(before.item):
                self._compare_items("response", place, before.item, output[place], kept="before")
                merged[place] = before.item
            elif before.done:
                self._compare_items("response", place, before.item, output[place], kept="after")
            else:
                texts = texts_of(before.item), texts_of(output[place])
                self._compare_texts("response", place, _id_of(before.item), *texts)
        rows = list(enumerate(merged))
        # A kept item stands before what the list has at its index.
        rows = sorted(self._keep(missing, all_done=not output) + rows, key=lambda row: row[0])
        self.overwritten += max(0, len(shown) - len(text_of(item for _, item in rows)))
        return [item for _, item in rows]

    def _keep(self, missing: dict[int, StreamedItem], *, all_done: bool) -> list[tuple[int, Item]]:
        """Of the items that a terminal list lacks, the finished calls, each with the reasoning that led to it.

        A call without its reasoning is rejected when it is sent back. A list without any item is one that the server did
        not fill, as some do for all that they have streamed, and no list of what counts: then all that was done stays.
        """
        kept: list[tuple[int, Item]] = []
        reasoning: list[int] = []
        counts: set[int] = set()
        for index, each in missing.items():
            if each.done and each.item.get("type") == "reasoning":
                reasoning.append(index)
            else:
                if each.done and _is_finished_call(each.item):
                    counts |= {*reasoning, index}
                reasoning = []
        for index, each in missing.items():
            keep = index in counts or (all_done and each.done)
            if keep:
                kept.append((each.output_index, each.item))
            self.differences.append(
                Difference(
                    "response",
                    each.output_index,
                    _id_of(each.item),
                    "",
                    each.item,
                    None,
                    "before" if keep else "after",
                )
            )
        return kept

    def in_order(self) -> list[ItemBuilder]:
        """The items in output order, those at one index in the order in which they began."""
        return [builder for index in sorted(self._slots) for builder in self._slots[index]]

    def output(self) -> list[Item]:
        """The items as wire data, in output order."""
        return (
            list(self._final) if self._final is not None else [builder.item() for builder in self.in_order()]
        )

    def finished(self) -> list[Item]:
        """The items that can be relied on: those that were done, calls whose arguments were, and all after the end."""
        if self._final is not None:
            return list(self._final)
        return [
            builder.item() for builder in self.in_order() if builder.done is not None or builder.is_whole_call
        ]

    def partial_images(self) -> tuple[PartialImage, ...]:
        """The previews of images, in output order."""
        return tuple(builder.images[index] for builder in self.in_order() for index in sorted(builder.images))

    def state(self) -> Mapping[str, object]:
        """Everything that later events depend on, for comparing two folds."""
        return {
            "items": [builder.state() for builder in self.in_order()],
            "overwritten": self.overwritten,
            "settled": self._final is not None,
        }

    def _begin(self, output_index: int, announced: Item) -> ItemBuilder:
        slot = self._slots.setdefault(output_index, [])
        if slot and slot[-1].is_blank:
            # Nothing was said of it but that it begins, and something else has begun in its place.
            slot.pop()
        slot.append(ItemBuilder(output_index, announced))
        self.forget_streams()
        return slot[-1]

    def _compare_texts(
        self,
        by: Literal["part", "item", "response"],
        place: int,
        item_id: str | None,
        before: dict[str, str],
        after: dict[str, str],
    ) -> None:
        self.differences += [
            Difference(by, place, item_id, path, earlier, later)
            for path, earlier, later in differences_in_texts(before, after)
        ]

    def _compare_items(
        self,
        by: Literal["item", "response"],
        place: int,
        before: Item,
        after: Item,
        *,
        kept: Literal["before", "after"],
    ) -> None:
        self.differences += [
            Difference(by, place, _id_of(before), key, earlier, later, kept)
            for key, earlier, later in differences_in_items(before, after)
        ]


def _is_finished_call(item: Item) -> bool:
    return kind_of(item) in CLIENT_CALLS and isinstance(item.get("call_id"), str) and not is_cut_off(item)


def _id_of(item: Item) -> str | None:
    identity = item.get("id")
    return identity if isinstance(identity, str) and identity else None


def _same(known: str | None, given: str | None) -> bool:
    return known is None or given is None or known == given
