"""JSON text to events and back."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs
import orjson

from ._compile import Misfit, compile_reader
from ._wire import NO_EXTRA, Payload, Wire, wire_name
from .errors import DecodeError, EncodeError
from .events import ServerEvent, UnknownEvent
from .limits import DEFAULT_LIMITS, Limits, check_shape, check_size
from .redaction import excerpt

if TYPE_CHECKING:
    from .items import Item
    from .requests import ClientEvent
    from .response import Response

Raw = dict[str, Any]


def decode_event(data: str | bytes, limits: Limits = DEFAULT_LIMITS) -> ServerEvent:
    """Read one frame.

    The JSON is parsed once, and the event's own fields are checked and built. A nested item, part or response
    is structured when somebody looks at it. A type that is not known becomes an `UnknownEvent`, an error
    object without a type an `ErrorEvent`; unknown keys and values are kept.

    Raises:
        DecodeError: the frame is beyond a limit, is not a JSON object with a ``type``, or lacks what its type
            cannot do without: addresses, text, the id of a response, the call id, name and arguments of a
            finished call.
    """
    large = len(data) > limits.harmless
    if large:
        check_size(data, limits)
    try:
        raw = orjson.loads(data)
    except orjson.JSONDecodeError:
        _reject_text(data)
    if large:
        check_shape(data, raw, limits)
    try:
        read = _READERS[raw["type"]]
    except (KeyError, TypeError):
        read = _reader_of(data, raw)
    try:
        return read(raw)
    except KeyError as exc:
        raise DecodeError("missing_field", f"{raw['type']} has no {exc}", excerpt(data)) from None
    except Misfit as exc:
        raise DecodeError("wrong_type", f"{raw['type']}: {exc}", excerpt(data)) from None


def item_from_wire(raw: Mapping[str, Any]) -> "Item":
    """The typed form of an item's JSON object; an `UnknownItem` if it is none that is known.

    `to_wire` gives back an equal JSON object, whatever came.
    """
    from ._structure import structure  # noqa: PLC0415 - built on first use
    from .items import Item  # noqa: PLC0415 - built on first use

    return structure(raw, Item)


def response_from_wire(raw: Mapping[str, Any]) -> "Response":
    """The typed form of a response's JSON object.

    Raises:
        DecodeError: it has no ``id``.
    """
    from ._structure import structure  # noqa: PLC0415 - built on first use
    from .response import Response  # noqa: PLC0415 - built on first use

    return structure(raw, Response)


def request_from_wire(raw: Mapping[str, Any]) -> "ClientEvent":
    """The typed form of a client event's JSON object; an `UnknownRequest` if it is none that is known."""
    from ._structure import structure  # noqa: PLC0415 - built on first use
    from .requests import ClientEvent  # noqa: PLC0415 - built on first use

    return structure(raw, ClientEvent)


def to_wire(obj: Wire) -> Raw:
    """The JSON object of an event, request, item or any other wire object, as plain dicts and lists.

    Raises:
        EncodeError: something in it has no JSON form.
    """
    try:
        return {key: _plain(value) for key, value in _members(obj).items()}
    except (TypeError, RecursionError) as exc:
        raise EncodeError(str(exc)) from None


def encode(obj: Wire) -> bytes:
    """The JSON text of an event, request, item or any other wire object.

    Raises:
        EncodeError: something in it has no JSON form.
    """
    try:
        return orjson.dumps(obj, default=_default)
    except orjson.JSONEncodeError as exc:
        raise EncodeError(str(exc.__cause__ or exc)) from None


# --- decoding


def _checked_item(raw: Raw) -> None:
    """A finished call must be answerable: the engine reads these keys off the JSON object."""
    item = raw["item"]
    kind = item.get("type")
    for key in _CALL_KEYS.get(kind, ()) if type(kind) is str else ():
        if type(item[key]) is not str:
            raise Misfit("a string", item[key], key)


def _checked_response(raw: Raw) -> None:
    """A response must be one that can be continued from, and its output a list of items."""
    response = raw["response"]
    if type(response["id"]) is not str:
        raise Misfit("a string", response["id"], "id")
    output = response.get("output")
    if output is not None and type(output) is not list:
        raise Misfit("an array", output, "output")
    for item in output or ():
        if type(item) is not dict:
            raise Misfit("an object", item, "output")


_CALL_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "function_call": ("call_id", "name", "arguments"),
    "custom_tool_call": ("call_id", "name", "input"),
}

_CHECKS: Final[Mapping[str, Callable[[Raw], None]]] = {
    "response.output_item.done": _checked_item,
    "response.created": _checked_response,
    "response.queued": _checked_response,
    "response.in_progress": _checked_response,
    "response.completed": _checked_response,
    "response.incomplete": _checked_response,
    "response.failed": _checked_response,
}
"""What must be right inside payloads, before anybody structures them."""


_READERS: Final[dict[str, Callable[[Raw], ServerEvent]]] = {}
"""``{type: constructor}``, each made when its type first occurs."""


def _reader_of(data: str | bytes, raw: Any) -> Callable[[Raw], ServerEvent]:
    """For a frame whose type is new, is not known or is not there."""
    if not isinstance(raw, dict):
        raise DecodeError("not_an_object", "frame is not a JSON object", excerpt(data)) from None
    kind = raw.get("type")
    if type(kind) is str:
        cls: Any = ServerEvent.family.find(kind)
        if cls is None:
            # Not remembered: a peer could invent types for ever.
            return _unknown_event
        read = _READERS[kind] = _checking(_CHECKS.get(kind), _reader(cls))
        return read
    if kind is None and raw.get("error") is not None:
        # An error is an error, whether it names its type or not.
        from .events import UntypedErrorEvent  # noqa: PLC0415 - rare

        return _reader(UntypedErrorEvent)
    raise DecodeError("missing_type", "frame has no type", excerpt(data)) from None


@functools.cache
def _reader(cls: type[Any]) -> Callable[[Raw], Any]:
    from ._structure import reader  # noqa: PLC0415 - built on first use

    return compile_reader(cls, reader)


def _checking(check: Callable[[Raw], None] | None, read: Callable[[Raw], Any]) -> Callable[[Raw], Any]:
    if check is None:
        return read

    def read_checked(raw: Raw) -> Any:
        event = read(raw)
        check(raw)
        return event

    return read_checked


def _unknown_event(raw: Raw) -> ServerEvent:
    number, lane = raw.get("sequence_number"), raw.get("stream_id")
    number = number if type(number) is int else None
    lane = lane if type(lane) is str else None
    kind = raw["type"]
    # An empty type is written as any other extra key, since unknown members have it where there was none.
    taken = {not kind or "type", number is None or "sequence_number", lane is None or "stream_id"}
    extra = {key: value for key, value in raw.items() if key not in taken}
    return UnknownEvent(kind, sequence_number=number, stream_id=lane, extra=extra or NO_EXTRA)


def _reject_text(data: str | bytes) -> NoReturn:
    try:
        _ = data.encode() if isinstance(data, str) else data.decode()
    except UnicodeError:
        raise DecodeError("invalid_unicode", "frame is not valid Unicode", excerpt(data)) from None
    raise DecodeError("invalid_json", "frame is not valid JSON", excerpt(data)) from None


# --- encoding

_KEYS: Final[dict[type[Wire], tuple[tuple[str, str], ...]]] = {}
"""``{class: ((key, attribute), ...)}``, filled as classes are first written."""


def _members(obj: Wire) -> Raw:
    """One level of the JSON object: ``type``, ``extra``, and over it the fields that are set."""
    cls = obj.__class__
    keys = _KEYS.get(cls)
    if keys is None:
        elsewhere = {"extra", "type"} if cls.tagged else {"extra"}
        keys = _KEYS[cls] = tuple(
            (wire_name(a), a.name) for a in attrs.fields(cls) if a.name not in elsewhere
        )
    kind: str = obj.type if cls.tagged else ""  # type: ignore[attr-defined]  # whatever is tagged has one
    result: Raw = {"type": kind, **obj.extra} if kind else dict(obj.extra)
    for key, name in keys:
        value = getattr(obj, name)
        if value is not None:
            result[key] = value
    if kind:
        result["type"] = kind
    for key, value in result.items():
        if type(value) is float and not math.isfinite(value):
            raise TypeError(f"{key} is {value}, which has no JSON form")
    return result


def _default(value: Any) -> Any:
    """What `orjson` does not know by itself."""
    if isinstance(value, Wire):
        return _members(value)
    if isinstance(value, Payload):
        return value.raw
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value.__class__.__name__} has no JSON form")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    if isinstance(value, dict):
        return {key: _plain(element) for key, element in value.items()}
    return _plain(_default(value))
