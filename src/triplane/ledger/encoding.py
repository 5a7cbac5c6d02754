"""How a record is bytes: one canonical form for each kind, versioned.

Equal bodies have equal bytes. Frames stand in it raw, as they were received; everything else is JSON with sorted keys.
A kind is a class of `core.records.Body`, by its ``type`` without the prefix. To add one, add the class there. To change
the fields of one, give it a new version in `_CHANGED`, with what makes data of the version before into data of this
one; what older versions wrote can be read for ever. What a newer version wrote becomes an `UnknownRecord`, which is
written again as the same bytes.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import attrs
import orjson

from triplane.core.records import NOTES, Body, FramesReceived, UnknownRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import cattrs

    Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

_PREFIX = "triplane."
_LARGE = re.compile(rb"[0-9]{19}")

# For each kind that has changed: what makes the fields of version n, counted from 1, into those of version n + 1.
_CHANGED: Mapping[str, tuple[Upgrade, ...]] = {}


class EncodingError(ValueError):
    """These bytes are not what this kind and version has."""


@attrs.frozen
class Kind:
    """How one class of bodies is written.

    Attributes:
        name: Its name in the ledger.
        cls: The class.
        version: The version that is written.
        essential: See `UnknownRecord`.
        upgrades: From each earlier version to the next.
    """

    name: str
    cls: type
    essential: bool
    upgrades: tuple[Upgrade, ...]

    @property
    def version(self) -> int:
        """The version that is written."""
        return len(self.upgrades) + 1


@cache
def kinds() -> Mapping[str, Kind]:
    """Every kind that this version writes, by name."""
    found = {}
    for cls in get_args(Body):
        if cls is not UnknownRecord:
            name = cls.type.removeprefix(_PREFIX)
            found[name] = Kind(name, cls, cls not in NOTES, _CHANGED.get(name, ()))
    return found


class _KindOf(dict[type, Kind]):
    """The kind of each class."""

    def __missing__(self, cls: type) -> Kind:
        (self[cls],) = (kind for kind in kinds().values() if kind.cls is cls)
        return self[cls]


_KIND_OF = _KindOf()


class Encoded(NamedTuple):
    """A body as it is stored."""

    kind: str
    version: int
    essential: bool
    data: bytes


def encode(body: Body) -> Encoded:
    """A body's one form."""
    if isinstance(body, UnknownRecord):
        return Encoded(body.kind, body.version, body.essential, body.data)
    kind = _KIND_OF[type(body)]
    data = _frames(body) if isinstance(body, FramesReceived) else _json(_fields(body))
    return Encoded(kind.name, kind.version, kind.essential, data)


def decode(encoded: Encoded) -> Body:
    """The body that these bytes are, whichever version wrote them.

    Raises:
        EncodingError: The kind and the version are known, and the bytes are none of theirs.
    """
    kind = kinds().get(encoded.kind)
    if kind is None or encoded.version > kind.version:
        return UnknownRecord(encoded.kind, encoded.version, encoded.essential, encoded.data)
    try:
        if kind.cls is FramesReceived and encoded.version == kind.version:
            return _frames_from(encoded.data)
        data = _parsed(encoded.data)
        for upgrade in kind.upgrades[encoded.version - 1 :]:
            data = upgrade(data)
        body: Body = _converter().structure(data, kind.cls)
    except Exception as error:  # whatever these bytes made of the parsers
        raise EncodingError(f"not a {kind.name} of version {encoded.version}: {error}") from error
    return body


def _frames(body: FramesReceived) -> bytes:
    # Raw, after a line that says how long each is: quoting costs more than all the rest, and a frame that is stored
    # as it came can be looked for in the file.
    frames = body.frames
    whole = "".join(frames)
    data = whole.encode("utf-8", "surrogatepass")
    if len(data) == len(whole):
        lengths = list(map(len, frames))
    else:
        lengths = [len(frame.encode("utf-8", "surrogatepass")) for frame in frames]
    return _json({"connection": body.connection, "frames": lengths}) + b"\n" + data


def _frames_from(data: bytes) -> FramesReceived:
    head, newline, rest = data.partition(b"\n")
    facts = _loaded(head)
    connection, lengths = facts["connection"], facts["frames"]
    if not newline or len(facts) != 2 or type(connection) is not str:
        raise EncodingError("the line before the frames is not one")
    # If every character is a byte, all are decoded at once.
    text = rest.decode() if rest.isascii() else None
    frames = []
    at = 0
    for length in lengths:
        if type(length) is not int or length < 0:
            raise EncodingError("a frame's length is none")
        end = at + length
        frames.append(rest[at:end].decode("utf-8", "surrogatepass") if text is None else text[at:end])
        at = end
    if at != len(rest):
        raise EncodingError("the frames are longer or shorter than their lengths say")
    return FramesReceived(connection, tuple(frames))


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value, _fields, orjson.OPT_SORT_KEYS)
    except TypeError:
        # Whole numbers beyond 64 bits, and text that is not Unicode: rare, and json can.
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_fields).encode()


def _parsed(data: bytes) -> dict[str, Any]:
    # orjson makes whole numbers beyond 64 bits into floats.
    value = json.loads(data) if _LARGE.search(data) else _loaded(data)
    if not isinstance(value, dict):
        raise EncodingError("not a JSON object")
    return value


def _loaded(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)


class _FieldsOf(dict[type, "Callable[[Any], dict[str, Any]]"]):
    """What makes a dict of an instance of each class; not of those inside it."""

    def __missing__(self, cls: type) -> Callable[[Any], dict[str, Any]]:
        if not attrs.has(cls):
            raise TypeError(f"a record cannot hold {cls.__name__}")
        # Written for each class when it is first needed, as attrs writes `__init__`.
        items = (
            f"{each.name!r}: {_AS_FLOAT.get(str(each.type), '{}').format(f'body.{each.name}')}"
            for each in attrs.fields(cls)
        )
        made: Callable[[Any], dict[str, Any]] = eval(f"lambda body: {{{', '.join(items)}}}")  # noqa: S307  # our names
        self[cls] = made
        return made


# 1 and 1.0 are equal and would not be written alike.
_AS_FLOAT = {
    "float": "float({})",
    "<class 'float'>": "float({})",
    "float | None": "None if {0} is None else float({0})",
}
_FIELDS_OF = _FieldsOf()


def _fields(value: object) -> dict[str, Any]:
    return _FIELDS_OF[type(value)](value)


@cache
def _converter() -> cattrs.Converter:
    """What checks every field. Built when first needed; that takes a while."""
    import cattrs  # noqa: PLC0415  # so does importing it

    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)

    def strictly(accepted: type) -> Callable[[object, object], Any]:
        def check(value: object, _to: object) -> object:
            if type(value) is not accepted:
                raise EncodingError(f"{type(value).__name__} where {accepted.__name__} stands")
            return value

        return check

    for each in (str, int, float, bool):
        converter.register_structure_hook(each, strictly(each))
    return converter
