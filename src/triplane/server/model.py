"""What a model is to this server: a pure function from a conversation to a few steps.

A model sees the request as the Responses API resolves it (the whole conversation, whatever part of it came by
`previous_response_id`) and answers with steps. It knows nothing of sockets, events, ids or clocks, so the same
model serves every transport, and a test can call it directly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import attrs
import orjson

from .conversation import Conversation, Item, is_output, item_text
from .pairs import ANSWERS, CALLS
from .steps import FunctionCall, NewMessage, Step, Text, Wait

__all__ = [
    "FunctionCall",
    "Model",
    "ModelRequest",
    "NewMessage",
    "Step",
    "Text",
    "ToolOutput",
    "Wait",
]


@attrs.frozen
class ToolOutput:
    """What the client answered to a call.

    Attributes:
        name: of the tool that was called; the type of the call, where calls of that type name none.
        call_id: of the call; the id of an approval request.
        text: of the output; "" if it has none.
        item: the answer as it stands.
    """

    name: str
    call_id: str
    text: str
    item: Item


@attrs.frozen
class ModelRequest:
    """What the client asks, resolved.

    Attributes:
        model: the name the client sent, which need not be the name of the model that answers.
        instructions: of this request; they are not inherited through `previous_response_id`.
        tools: the tool definitions of this request.
        conversation: all items, oldest first, `new_items` included; not to be changed.
        new_items: the items of this request alone.
        parallel_tool_calls: whether one response may hold several calls.
        previous_response_id: the response that this one continues.
        settings: what else the request says; see `setting`.
    """

    model: str
    instructions: str | None
    tools: Sequence[Item]
    conversation: Conversation
    new_items: Sequence[Item]
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    settings: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    @property
    def text(self) -> str:
        """The text of the last user message; "" if there is none."""
        return self.conversation.user_text

    @property
    def first_text(self) -> str:
        """The text of the first user message, which tells conversations apart; "" if there is none."""
        return next((item_text(item) for item in self.conversation if item.get("role") == "user"), "")

    @property
    def tool_names(self) -> list[str]:
        """What the tools of this request are called; the type, where tools of that type have no name."""
        return [str(tool.get("name") or tool.get("server_label") or tool.get("type")) for tool in self.tools]

    @property
    def outputs(self) -> list[ToolOutput]:
        """What this request answers to calls, in its order."""
        answers = [item for item in self.new_items if is_output(item)]
        calls: dict[str, Item] = {}
        if answers:
            for item in self.conversation:
                if (pair := CALLS.get(str(item.get("type")))) is not None:
                    calls.update(dict.fromkeys(pair.keys_of(item), item))
        outputs: list[ToolOutput] = []
        for item in answers:
            key = ANSWERS[item["type"]].key_of(item) or ""
            call = calls.get(key, {})
            name = call.get("name") or call.get("type") or ""
            outputs.append(ToolOutput(str(name), key, item_text(item), item))
        return outputs

    def setting(self, name: str) -> Any:
        """Return a setting of the request as the response shows it, such as "tool_choice"; None if there is none.

        Those are the fields of the response object that the client can set, with their defaults filled in.
        """
        value = self.settings.get(name)
        return None if value is None else orjson.loads(orjson.dumps(value))


@runtime_checkable
class Model(Protocol):
    """Anything with a name that turns a request into steps."""

    @property
    def name(self) -> str:
        """The name by which requests select this model."""
        ...

    def respond(self, request: ModelRequest) -> Iterable[Step]:
        """Decide the whole response to `request`.

        The steps are drawn one at a time as they are sent, so an endless generator is fine; the first one is drawn
        before `response.created`. It should decide from `request` alone: the server may be asked the same question
        through `previous_response_id` or with the whole history, and both should get the same answer.

        Raises:
            Refused: before the first step: the request is turned down, and there is no response.

        Any other exception, and this one later on, ends the response as `response.failed`.
        """
        ...
