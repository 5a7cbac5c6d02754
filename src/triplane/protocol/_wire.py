"""The base of every wire class: how absent, null and unknown are kept.

A wire object says everything its JSON object said, in three places:

* a **field** holds a value that the class knows;
* ``extra`` holds every other key as it came: unknown keys, known ones whose value was ``null``, and optional
  ones whose value had a shape that the class does not know;
* a key that was **absent** is an optional field that is ``None`` and has no entry in ``extra``.

Encoding writes ``extra`` first and every field that is not ``None`` over it. So an object read from the wire
is written back equal as a JSON value, an unset option is never sent as ``null``, and somebody who wants to
send a ``null`` says so: ``extra={"previous_response_id": None}``.
"""

import functools
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Generic, TypeVar, cast, final

import attrs

T = TypeVar("T", bound="Wire")
JSON = Mapping[str, Any]


@final
class _NoExtra(Mapping[str, Any]):
    """The empty mapping that objects with nothing extra share; unlike a ``{}`` nobody can write into it."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"

    def __reduce__(self) -> str:
        return "NO_EXTRA"


NO_EXTRA: Final[JSON] = _NoExtra()


class _Referable:
    """Has the slot for weak references, so that equal fields mean equal layouts on every Python."""

    __slots__ = ("__weakref__",)


@attrs.frozen(eq=False, repr=False)
class Wire(_Referable):
    """A JSON object with a class.

    Its ``type`` belongs to the class, and only of a class for unknown types to the object. Checkers of types object to that
    there, and to a ``__match_args__`` of one's own; each such place silences them.

    Equality, hash and repr are written once, here, and not generated for each of three hundred classes: that
    nearly halves the time it takes to create one. The repr leaves out what is unset, and never shows fields marked
    ``repr=False`` (credentials of tools), wherever their values are.
    """

    tagged: ClassVar[bool] = True
    """Whether ``type`` is written. Only the few shapes that the wire allows without a ``type`` say no."""

    extra: JSON = attrs.field(default=NO_EXTRA, kw_only=True)

    def __attrs_post_init__(self) -> None:
        # Objects from the wire do not come through here, only those built by hand: whoever writes a list
        # means a tuple.
        cls: Any = self.__class__
        for name in _array_fields(cls):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in field_names(self.__class__))

    def __hash__(self) -> int:
        # JSON objects inside have no hash; equal objects agree on what is left.
        values = (getattr(self, name) for name in field_names(self.__class__))
        return hash((self.__class__, *(value for value in values if isinstance(value, str | int | float))))

    def __repr__(self) -> str:
        shown = []
        fields = attrs.fields(self.__class__)
        hidden = {wire_name(a) for a in fields if not a.repr}
        for a in sorted(fields, key=lambda a: (a.kw_only, a.name == "extra")):
            value = getattr(self, a.name)
            if a.name == "extra" and hidden & value.keys():
                # A credential of a shape that its field does not know is one all the same.
                value = {key: inner for key, inner in value.items() if key not in hidden}
            if a.repr and value is not None and value is not NO_EXTRA:
                shown.append(f"{a.alias}={value!r}")
        return f"{self.__class__.__name__}({', '.join(shown)})"


def field_names(cls: type[Wire]) -> tuple[str, ...]:
    """The attribute names of a wire class, in order."""
    return tuple(a.name for a in attrs.fields(cls))


@functools.cache
def _array_fields(cls: Any) -> tuple[str, ...]:
    return tuple(
        a.name
        for a in attrs.fields(cls)
        if any(typing.get_origin(kind) is tuple for kind in (a.type, *typing.get_args(a.type)))
    )


def wire_name(a: "attrs.Attribute[Any]") -> str:
    """The JSON key of a field: its name, without the underscore that ``async_`` needs in Python."""
    assert a.alias is not None
    return a.alias.rstrip("_")


@final
class Payload(Generic[T]):
    """A nested wire object that is structured when somebody looks.

    Holds the JSON object as it came, or the typed object it was built from, and makes the other on first use.
    Two payloads are equal if they say the same on the wire.

    Args:
        kind: the class, or its name in this package if it should not be created before it is needed.
        raw: the JSON object.
        value: the typed object.
    """

    __slots__ = ("_kind", "_raw", "_value")

    def __init__(self, kind: type[T] | str, raw: JSON | None = None, value: T | None = None) -> None:
        self._kind = kind
        self._raw = raw
        self._value = value

    @classmethod
    def of(cls, kind: type[T] | str, given: "T | JSON | Payload[T]") -> "Payload[T]":
        """Take a typed object, its JSON object, or a payload: the converter of payload fields."""
        if isinstance(given, Payload):
            return given
        if isinstance(given, Wire):
            expected = _resolve(kind)
            if isinstance(given, expected):
                return cls(kind, value=given)
        elif isinstance(given, Mapping):
            return cls(kind, raw=given)
        name = kind if isinstance(kind, str) else kind.__name__
        raise TypeError(f"expected {name} or a mapping, not {given.__class__.__name__}")

    @property
    def raw(self) -> JSON:
        """The JSON object. It is shared: do not change it."""
        if self._raw is None:
            from .codec import to_wire  # noqa: PLC0415 - the codec is built from the classes

            self._raw = to_wire(cast("Wire", self._value))
        return self._raw

    @property
    def value(self) -> T:
        """The typed object, structured on first access."""
        if self._value is None:
            from ._structure import structure  # noqa: PLC0415 - built on first use

            self._value = structure(cast("JSON", self._raw), _resolve(self._kind))
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Payload):
            return NotImplemented
        return bool(self.raw == other.raw)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.value)


def _resolve(kind: type[T] | str) -> type[T]:
    if not isinstance(kind, str):
        return kind
    cls: type[T] = getattr(sys.modules["triplane.protocol"], kind)
    return cls
