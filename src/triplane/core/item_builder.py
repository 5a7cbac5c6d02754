"""What one output item amounts to so far: what was announced of it, and everything that came since.

An item is a skeleton (``output_item.added``), then deltas, then the item itself (``output_item.done``). A server may
leave the skeleton out, and openai-python 3.52.0 is prepared for that; so everything here is built on demand, at the
index that the event names. Deltas are kept as lists and joined when somebody looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from triplane.protocol import to_wire

from .differences import text_of_part
from .items import CLIENT_CALLS, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from triplane.protocol import Annotation, Logprob
    from triplane.protocol import ShellOutput as ServerShellOutput

    from .records import Item

# The items that have a ``status`` which progress events move (openai-python 3.52.0). On others, such as
# ``mcp_list_tools``, a status would be an unknown key to the server they are sent back to.
_WITH_STATUS = frozenset(
    ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call")
)
# The items that a response may end in the middle of.
_CUT_OFF = frozenset({"message", "reasoning", *CLIENT_CALLS})
# The one text that a call item streams, by its type.
CALL_TEXT = {"function_call": "arguments", "mcp_call": "arguments", "custom_tool_call": "input"}


@attrs.frozen
class PartialImage:
    """A preview of an image that is being generated.

    Attributes:
        output_index: The place of its item in the output.
        item_id: The item's id.
        index: Which preview, from 0.
        data: The image in base64.
        format: ``"png"`` and such, None if the server did not say.
    """

    output_index: int
    item_id: str
    index: int
    data: str
    format: str | None


class Text:
    """A text that grows by deltas until the whole of it arrives."""

    __slots__ = ("pieces", "whole")

    def __init__(self, begun: object = None) -> None:
        self.pieces: list[str] = [begun] if isinstance(begun, str) and begun else []
        self.whole = False

    def replace(self, text: str) -> None:
        """Take the whole text."""
        self.pieces = [text]
        self.whole = True

    def __str__(self) -> str:
        return "".join(self.pieces)


class Part:
    """A content part or a summary part."""

    __slots__ = ("_annotations", "_announced", "_logprobs", "done", "kind", "text")

    def __init__(self, kind: str, announced: Item | None = None) -> None:
        self.kind = kind
        self.done: Item | None = None
        self._announced = announced
        self._annotations: dict[int, Annotation | None] = {}
        self._logprobs: list[Logprob] | None = None
        self.text = Text(text_of_part(announced))

    def announce(self, announced: Item) -> None:
        """Take the skeleton of a part that has begun without one."""
        self._announced = announced

    def finish(self, done: Item) -> None:
        """Take the part as it is in the end."""
        self.done = done
        self.text.replace(text_of_part(done) or "")

    def annotate(self, index: int, annotation: Annotation | None) -> None:
        """Take a citation."""
        self._annotations[index] = annotation

    def add_logprobs(self, logprobs: tuple[Logprob, ...]) -> None:
        """Take the log probabilities of a delta."""
        if self._logprobs is None:
            self._logprobs = []
        self._logprobs.extend(logprobs)

    def replace_logprobs(self, logprobs: tuple[Logprob, ...]) -> None:
        """Take the log probabilities of the whole text."""
        self._logprobs = list(logprobs)

    def wire(self) -> Item:
        """The part as wire data."""
        if self.done is not None:
            return self.done
        part: Item = {"type": self.kind, **(self._announced or {})}
        part["refusal" if self.kind == "refusal" else "text"] = str(self.text)
        if self.kind == "output_text":
            known = part.get("annotations")
            cited = dict(enumerate(known)) if isinstance(known, list) else {}
            cited |= {
                index: None if annotation is None else to_wire(annotation)
                for index, annotation in self._annotations.items()
            }
            part["annotations"] = [cited[index] for index in sorted(cited)]
        if self._logprobs is not None:
            part["logprobs"] = [to_wire(logprob) for logprob in self._logprobs]
        return part


class ShellOutput:
    """What one command of a shell call on the server wrote."""

    __slots__ = ("done", "stderr", "stdout")

    def __init__(self) -> None:
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self.done: list[Item] | None = None

    def finish(self, output: Iterable[ServerShellOutput]) -> None:
        """Take the whole of it."""
        self.done = [to_wire(entry) for entry in output]

    def wire(self) -> list[Item]:
        """The entries of the item's ``output``. No outcome is made up for a command that has not reported one."""
        if self.done is not None:
            return self.done
        return [{"stdout": "".join(self.stdout), "stderr": "".join(self.stderr)}]


class ItemBuilder:
    """One output item. Its fields are filled by the accumulator's folds; `done` ends it."""

    __slots__ = (
        "announced",
        "commands",
        "content",
        "done",
        "images",
        "output_index",
        "progress",
        "shell",
        "strings",
        "summary",
    )

    def __init__(self, output_index: int, announced: Item) -> None:
        self.output_index = output_index
        self.announced = announced
        self.done: Item | None = None
        self.progress: str | None = None
        self.content: dict[int, Part] = {}
        self.summary: dict[int, Part] = {}
        self.strings: dict[str, Text] = {}
        self.commands: dict[int, Text] = {}
        self.shell: dict[int, ShellOutput] = {}
        self.images: dict[int, PartialImage] = {}
        self._sow(announced)

    @property
    def item_id(self) -> str | None:
        """The item's id, None if it is not known."""
        identity = (self.done or self.announced).get("id")
        return identity if isinstance(identity, str) and identity else None

    @property
    def kind(self) -> str:
        """The item's type, empty if it is not known."""
        known = self.done or self.announced
        return kind_of(known) if known else ""

    @property
    def is_blank(self) -> bool:
        """Whether nothing but the skeleton is known."""
        return self.done is None and not (self.texts() or self.shell or self.images or self.progress)

    @property
    def is_whole_call(self) -> bool:
        """Whether it is a call whose arguments have come to their end."""
        text = self.strings.get(CALL_TEXT.get(self.kind, ""))
        return text is not None and text.whole

    def announce(self, announced: Item) -> None:
        """Take the skeleton of an item that has begun without one, or get it once more."""
        self.announced = {**self.announced, **announced}
        self._sow(announced)

    def _sow(self, announced: Item) -> None:
        """Take what the skeleton already says; texts that have begun since know better."""
        for key in ("arguments", "input", "code"):
            if isinstance(begun := announced.get(key), str) and begun:
                self.strings.setdefault(key, Text(begun))
        for parts, key in ((self.content, "content"), (self.summary, "summary")):
            for index, part in enumerate(_elements(announced.get(key))):
                if isinstance(part, dict):
                    parts.setdefault(index, Part(str(part.get("type")), part))
        for index, command in enumerate(_commands(announced)):
            self.commands.setdefault(index, Text(command))

    def item(self, ended: Literal["completed", "incomplete"] | None = None) -> Item:
        """The item as wire data, as far as it is known. Costs its length.

        Args:
            ended: How the response ended, if it ended before the item was done.
        """
        if self.done is not None:
            return self.done
        item = dict(self.announced)
        if self.progress is not None and self.kind in _WITH_STATUS:
            item["status"] = self.progress
        if self.is_whole_call:
            ended = "completed"
        # What the skeleton says of the item's status was true at its beginning.
        if ended == "completed" and item.get("status") == "in_progress":
            item["status"] = "completed"
        elif ended == "incomplete" and self.kind in _CUT_OFF:
            item["status"] = "incomplete"
        for key, text in self.strings.items():
            item[key] = str(text)
        if self.content:
            item["content"] = [self.content[index].wire() for index in sorted(self.content)]
        if self.summary:
            item["summary"] = [self.summary[index].wire() for index in sorted(self.summary)]
        if self.commands:
            action = item.get("action")
            commands = [str(self.commands[index]) for index in sorted(self.commands)]
            item["action"] = {**(action if isinstance(action, dict) else {}), "commands": commands}
        if self.shell:
            item["output"] = [entry for index in sorted(self.shell) for entry in self.shell[index].wire()]
        return item

    def texts(self) -> dict[str, str]:
        """The texts of an item that is not done, by their path in it."""
        texts = {key: str(text) for key, text in self.strings.items()}
        for key, parts in (("content", self.content), ("summary", self.summary)):
            texts |= {f"{key}[{index}]": str(part.text) for index, part in parts.items()}
        return texts | {f"action.commands[{index}]": str(text) for index, text in self.commands.items()}

    def state(self) -> Mapping[str, Any]:
        """Everything that later events depend on, for comparing two folds."""
        return {
            "output_index": self.output_index,
            "item": self.item(),
            "done": self.done is not None,
            "progress": self.progress,
            "whole": sorted(key for key, text in self.strings.items() if text.whole)
            + [f"content[{index}]" for index, part in sorted(self.content.items()) if part.text.whole]
            + [f"summary[{index}]" for index, part in sorted(self.summary.items()) if part.text.whole]
            + [f"command[{index}]" for index, text in sorted(self.commands.items()) if text.whole],
            "images": [self.images[index] for index in sorted(self.images)],
        }


def _elements(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _commands(item: Item) -> list[object]:
    action = item.get("action")
    return _elements(action.get("commands")) if isinstance(action, dict) else []
