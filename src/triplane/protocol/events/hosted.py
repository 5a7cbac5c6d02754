"""Progress of the tools that the server runs itself, and of compaction."""

from typing import ClassVar

import attrs

from ._shapes import ItemDelta, ItemEvent


class ResponseWebSearchCallInProgress(ItemEvent):
    """A web search begins."""

    __slots__ = ()
    type: ClassVar[str] = "response.web_search_call.in_progress"


class ResponseWebSearchCallSearching(ItemEvent):
    """The search runs."""

    __slots__ = ()
    type: ClassVar[str] = "response.web_search_call.searching"


class ResponseWebSearchCallCompleted(ItemEvent):
    """The search is done."""

    __slots__ = ()
    type: ClassVar[str] = "response.web_search_call.completed"


class ResponseFileSearchCallInProgress(ItemEvent):
    """A search in files begins."""

    __slots__ = ()
    type: ClassVar[str] = "response.file_search_call.in_progress"


class ResponseFileSearchCallSearching(ItemEvent):
    """The search in files runs."""

    __slots__ = ()
    type: ClassVar[str] = "response.file_search_call.searching"


class ResponseFileSearchCallCompleted(ItemEvent):
    """The search in files is done."""

    __slots__ = ()
    type: ClassVar[str] = "response.file_search_call.completed"


class ResponseCodeInterpreterCallInProgress(ItemEvent):
    """A call of the code interpreter begins."""

    __slots__ = ()
    type: ClassVar[str] = "response.code_interpreter_call.in_progress"


class ResponseCodeInterpreterCallCodeDelta(ItemDelta):
    """The next piece of the code."""

    __slots__ = ()
    type: ClassVar[str] = "response.code_interpreter_call_code.delta"


@attrs.frozen(eq=False, repr=False)
class ResponseCodeInterpreterCallCodeDone(ItemEvent):
    """The whole code."""

    type: ClassVar[str] = "response.code_interpreter_call_code.done"
    code: str


class ResponseCodeInterpreterCallInterpreting(ItemEvent):
    """The code runs."""

    __slots__ = ()
    type: ClassVar[str] = "response.code_interpreter_call.interpreting"


class ResponseCodeInterpreterCallCompleted(ItemEvent):
    """The code has run."""

    __slots__ = ()
    type: ClassVar[str] = "response.code_interpreter_call.completed"


class ResponseImageGenerationCallInProgress(ItemEvent):
    """An image was ordered."""

    __slots__ = ()
    type: ClassVar[str] = "response.image_generation_call.in_progress"


class ResponseImageGenerationCallGenerating(ItemEvent):
    """The image is being made."""

    __slots__ = ()
    type: ClassVar[str] = "response.image_generation_call.generating"


@attrs.frozen(eq=False, repr=False)
class ResponseImageGenerationCallPartialImage(ItemEvent):
    """A preview of the image, in base64. Previews are numbered from 0."""

    type: ClassVar[str] = "response.image_generation_call.partial_image"
    partial_image_index: int
    partial_image_b64: str
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None


class ResponseImageGenerationCallCompleted(ItemEvent):
    """The image is done; it is in the item."""

    __slots__ = ()
    type: ClassVar[str] = "response.image_generation_call.completed"


class ResponseCompactionCompacting(ItemEvent):
    """The server is summing up the conversation. The result comes as an item."""

    __slots__ = ()
    type: ClassVar[str] = "response.compaction.compacting"
