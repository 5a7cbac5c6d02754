"""The frames a client may send, checked and made plain. Pure: no I/O, no clock.

The protocol facts here are those of the Responses WebSocket guide and of the types of the `openai` package. What
OpenAI answers to a frame that is not JSON, to an unknown `type`, to `background: true` or to `previous_response_id`
beside `conversation` is not documented; the codes for these are ours, in the style of its documented ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import attrs
import orjson

from .conversation import Item
from .errors import Refused, mutually_exclusive
from .pairs import ANSWERS

__all__ = ["Create", "parse_create", "parse_frame", "user_message"]


@attrs.frozen
class Create:
    """One `response.create`, checked.

    Attributes:
        items: the input as items; a plain string has become a user message.
        settings: the request's settings as the `response` object shows them, defaults filled in, each value already
            JSON. They are encoded once here and repeated in every event that carries the response.
        items_bytes: the size of `items` as JSON, from which tokens are reckoned.
        settings_bytes: the size of what the model reads beside the input (instructions and tools).
        max_output_tokens: how much the model may write.
        conversation_id: the conversation that the response continues and is added to.
        compacts: whether the server is asked to compact the context by itself.
        multi_agent: whether the multi-agent beta is asked for.
    """

    model: str
    items: Sequence[Item]
    items_bytes: int
    instructions: str | None
    tools: Sequence[Item]
    previous_response_id: str | None
    store: bool
    generate: bool
    parallel_tool_calls: bool
    settings: Mapping[str, orjson.Fragment]
    settings_bytes: int
    max_output_tokens: int | None = None
    conversation_id: str | None = None
    compacts: bool = False
    multi_agent: bool = False

    def continued(self, response_id: str, items: Sequence[Item]) -> Create:
        """Return a request with the same settings that continues `response_id` with `items`."""
        size = len(orjson.dumps(items))
        return attrs.evolve(
            self, items=items, items_bytes=size, previous_response_id=response_id, generate=True
        )

    def preceded_by(self, items: Sequence[Item]) -> Create:
        """Return the same request with `items` before its own."""
        size = len(orjson.dumps(items))
        return attrs.evolve(self, items=[*items, *self.items], items_bytes=self.items_bytes + size)


_NUMBER: Final = (int, float)
_DEFAULT_TEXT: Final = {"format": {"type": "text"}, "verbosity": "medium"}
_DEFAULT_REASONING: Final = {"effort": None, "summary": None}

# Fields that the response shows again: the types accepted and what stands there when the request leaves them out.
# A value of another type is refused, or our own events would not validate.
_SETTINGS: Final[Mapping[str, tuple[tuple[type, ...], Any]]] = {
    # Those that end in "penalty" are of the Open Responses schema alone.
    "frequency_penalty": (_NUMBER, 0.0),
    "instructions": ((str,), None),
    "max_output_tokens": ((int,), None),
    "max_tool_calls": ((int,), None),
    "metadata": ((dict,), {}),
    "parallel_tool_calls": ((bool,), True),
    "presence_penalty": (_NUMBER, 0.0),
    "prompt_cache_key": ((str,), None),
    "reasoning": ((dict,), _DEFAULT_REASONING),
    "safety_identifier": ((str,), None),
    "service_tier": ((str,), "auto"),
    "store": ((bool,), True),
    "temperature": (_NUMBER, 1.0),
    "text": ((dict,), _DEFAULT_TEXT),
    "tool_choice": ((str, dict), "auto"),
    "tools": ((list,), []),
    "top_logprobs": ((int,), 0),
    "top_p": (_NUMBER, 1.0),
    "truncation": ((str,), "disabled"),
    "user": ((str,), None),
}

# Most requests leave most of them out.
_DEFAULTS: Final = {name: orjson.Fragment(orjson.dumps(default)) for name, (_, default) in _SETTINGS.items()}

_JSON_NAMES: Final = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    dict: "an object",
    list: "an array",
    type(None): "null",
}
# Pairs joined by call_id. Other calls and outputs are known by their id, or are not the client's to answer.
_CALL_ITEMS: Final = ("function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output")
_ROLES: Final = ("user", "assistant", "system", "developer")

# What metadata and the ids of items are limited to.
_MAX_METADATA: Final = 16
_MAX_METADATA_KEY: Final = 64
_MAX_METADATA_VALUE: Final = 512
_MAX_ITEM_ID: Final = 64


def user_message(text: str) -> Item:
    """Return what a string as `input` stands for."""
    return {"type": "message", "role": "user", "content": text}


def parse_frame(data: str | bytes, kinds: Collection[str] = ("response.create",)) -> dict[str, Any]:
    """Decode one message of the client and check that it is one of `kinds`.

    Raises:
        Refused: the message is not JSON, not an object, or of another type.
    """
    try:
        frame = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise Refused(f"The message is not valid JSON: {exc}.", code="invalid_json") from None
    if not isinstance(frame, dict):
        raise Refused(f"A message must be a JSON object, not {_json_name(frame)}.", code="invalid_type")
    kind = frame.get("type")
    if kind is None:
        raise Refused("Missing required parameter: 'type'.", code="missing_required_parameter", param="type")
    if not isinstance(kind, str) or kind not in kinds:
        shown = kind[:100] if isinstance(kind, str) else _json_name(kind)
        raise Refused(
            f"Invalid value: '{shown}'. Supported values are: {', '.join(map(repr, kinds))}.",
            code="invalid_value",
            param="type",
        )
    return frame


def parse_create(
    frame: Mapping[str, Any], *, warm_up: bool = True, unsupported: Collection[str] = ("background",)
) -> Create:
    """Check the fields of a `response.create` and fill in their defaults.

    Fields that this server has no use for (`stream`, `include`, `client_metadata` and whatever it does not know) are
    ignored, as are nulls, which mean the same as leaving the field out.

    Args:
        frame: the decoded message.
        warm_up: whether `generate: false` is known here, or refused as older servers do.
        unsupported: fields that are refused unless they are false.

    Raises:
        Refused: a required field is missing, a field has a wrong type or asks for what a socket does not offer.
    """
    model = _field(frame, "model", (str,), None)
    if not model:
        raise Refused(
            "Missing required parameter: 'model'.", code="missing_required_parameter", param="model"
        )
    _field(frame, "background", (bool,), default=False)
    for name in unsupported:
        if frame.get(name) not in (None, False):
            raise _unsupported(name, f"'{name}' is not supported over WebSocket.")
    previous_response_id = _field(frame, "previous_response_id", (str,), None)
    conversation_id = _conversation_id(frame)
    if previous_response_id is not None and conversation_id is not None:
        raise mutually_exclusive("previous_response_id", "conversation")
    values = {
        name: _field(frame, name, types, None)
        for name, (types, _) in _SETTINGS.items()
        if frame.get(name) is not None
    }
    if "text" in values:
        values["text"] = {**_DEFAULT_TEXT, **values["text"]}
    if "reasoning" in values:
        values["reasoning"] = {**_DEFAULT_REASONING, **values["reasoning"]}
    if "tools" in values:
        values["tools"] = _tools(values["tools"])
    _check_metadata(values.get("metadata", {}))
    encoded = {name: _encode(value, name) for name, value in values.items()}
    settings = {**_DEFAULTS, **{name: orjson.Fragment(value) for name, value in encoded.items()}}
    if conversation_id is not None:
        settings["conversation"] = orjson.Fragment(orjson.dumps({"id": conversation_id}))
    items = _items(frame)
    return Create(
        model=model,
        items=items,
        items_bytes=len(_encode(items, "input")),
        instructions=values.get("instructions"),
        tools=values.get("tools", []),
        previous_response_id=previous_response_id,
        store=values.get("store") is not False,
        generate=_generates(frame, warm_up=warm_up),
        parallel_tool_calls=values.get("parallel_tool_calls") is not False,
        settings=settings,
        settings_bytes=sum(len(encoded[name]) for name in ("instructions", "tools") if values.get(name)),
        max_output_tokens=values.get("max_output_tokens"),
        conversation_id=conversation_id,
        compacts=bool(_field(frame, "context_management", (list,), [])),
        multi_agent=_field(frame, "multi_agent", (dict,), {}).get("enabled") is True,
    )


def _conversation_id(frame: Mapping[str, Any]) -> str | None:
    value = _field(frame, "conversation", (str, dict), None)
    if isinstance(value, dict):
        value = _field(value, "id", (str,), None, where="conversation.id")
        if value is None:
            raise _missing("conversation.id")
    conversation_id: str | None = value
    return conversation_id


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    if len(metadata) > _MAX_METADATA:
        raise Refused(
            f"Invalid 'metadata': at most {_MAX_METADATA} pairs are allowed, and there are {len(metadata)}.",
            code="object_above_max_properties",
            param="metadata",
        )
    for key, value in metadata.items():
        where = f"metadata.{key[:_MAX_METADATA_KEY]}"
        if len(key) > _MAX_METADATA_KEY:
            raise _too_long(where, key, _MAX_METADATA_KEY)
        if not isinstance(value, str):
            raise _invalid_type(where, "a string", value)
        if len(value) > _MAX_METADATA_VALUE:
            raise _too_long(where, value, _MAX_METADATA_VALUE)


def _generates(frame: Mapping[str, Any], *, warm_up: bool) -> bool:
    if not warm_up and "generate" in frame:
        raise _unsupported("generate", "Unsupported parameter: generate")
    generate: bool = _field(frame, "generate", (bool,), default=True)
    # `prewarm` forces `generate` to false: see `prompt_cache_options` in the types of the openai package.
    cache_options = _field(frame, "prompt_cache_options", (dict,), {})
    return generate and cache_options.get("prewarm") is not True


def _field(
    frame: Mapping[str, Any], name: str, types: tuple[type, ...], default: Any, *, where: str | None = None
) -> Any:
    value = frame.get(name)
    if value is None:
        return default
    # bool is an int in Python and not in JSON.
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise _invalid_type(where or name, " or ".join(_JSON_NAMES[kind] for kind in types), value)
    return value


def _tools(tools: list[Any]) -> list[Item]:
    shown: list[Item] = []
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise _invalid_type(f"tools[{index}]", "an object", tool)
        if tool.get("type") != "function":
            shown.append(tool)
            continue
        if not isinstance(tool.get("name"), str):
            raise _missing(f"tools[{index}].name")
        # The service shows a function tool with all its fields, and strict unless it was told otherwise.
        shown.append({"description": None, "parameters": None, "strict": True, **tool})
    return shown


def _items(frame: Mapping[str, Any]) -> list[Item]:
    value = _field(frame, "input", (str, list), [])
    if isinstance(value, str):
        return [user_message(value)]
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise _invalid_type(f"input[{index}]", "an object", item)
        _check_item(item, f"input[{index}]")
    items: list[Item] = value
    return items


def _check_item(item: Item, where: str) -> None:
    """Check what this server relies on; items of types it does not know pass."""
    item_id = item.get("id")
    if isinstance(item_id, str) and len(item_id) > _MAX_ITEM_ID:
        raise _too_long(f"{where}.id", item_id, _MAX_ITEM_ID)
    kind = item.get("type", "message" if "role" in item else None)
    if not isinstance(kind, str):
        raise _missing(f"{where}.type") if kind is None else _invalid_type(f"{where}.type", "a string", kind)
    if kind == "message":
        if item.get("role") not in _ROLES:
            known = ", ".join(f"'{role}'" for role in _ROLES)
            raise Refused(
                f"Invalid value. Supported values are: {known}.", code="invalid_value", param=f"{where}.role"
            )
        if not isinstance(item.get("content"), (str, list)):
            raise _invalid_type(f"{where}.content", "a string or an array", item.get("content"))
    elif kind in _CALL_ITEMS:
        if not isinstance(item.get("call_id"), str):
            raise _missing(f"{where}.call_id")
        if kind.endswith("_output") and not isinstance(item.get("output"), (str, list)):
            raise _missing(f"{where}.output")
    elif (pair := ANSWERS.get(kind)) is not None and pair.needs_key and pair.key_of(item) is None:
        raise _missing(f"{where}.{pair.answer_keys[0]}")


def _encode(value: Any, param: str) -> bytes:
    # orjson reads four times as many nested levels as it writes.
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise Refused(f"'{param}' is nested too deeply.", code="invalid_value", param=param) from None


def _json_name(value: Any) -> str:
    return _JSON_NAMES[type(value)]


def _missing(param: str) -> Refused:
    return Refused(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)


def _invalid_type(param: str, wanted: str, value: Any) -> Refused:
    message = f"Invalid type for '{param}': expected {wanted}, but got {_json_name(value)} instead."
    return Refused(message, code="invalid_type", param=param)


def _too_long(param: str, value: str, limit: int) -> Refused:
    return Refused(
        f"Invalid '{param}': string too long. Expected a string with maximum length {limit}, but got a string with "
        f"length {len(value)} instead.",
        code="string_above_max_length",
        param=param,
    )


def _unsupported(param: str, message: str) -> Refused:
    return Refused(message, code="unsupported_parameter", param=param)
