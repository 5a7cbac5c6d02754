"""Tables that go by the type of an event and are looked up by its class."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


class ByClass(dict[type, T]):
    """A table by an event's ``type``, as one by its class: each is looked up once, when such an event first arrives.

    So no class of an event is imported before it is needed. Unknown events are never found, whatever type they name.
    """

    def __init__(self, table: Mapping[str, T], otherwise: T) -> None:
        super().__init__()
        self._table = table
        self._otherwise = otherwise

    def __missing__(self, cls: type) -> T:
        # The class of unknown events has no type of its own; its instances have.
        kind = getattr(cls, "type", None)
        self[cls] = found = (
            self._table.get(kind, self._otherwise) if isinstance(kind, str) else self._otherwise
        )
        return found
