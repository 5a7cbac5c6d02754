"""What is remembered of each of many things, and is forgotten again before it becomes too much."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Final, Generic, TypeVar, final

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# More endpoints than a program talks to at a time, keys that change included.
_MOST: Final = 256


def _always(_value: object) -> bool:
    return True


@final
class Remembered(Generic[K, V]):
    """Values by key, each made when it is first asked for.

    Beyond `most` of them, those that were not asked for longest are forgotten, unless they are in use. A program that has
    an endpoint for each of its users, or for each hour's key, needs no more memory for that in the long run.

    Args:
        make: Makes the value of a key.
        may_go: Whether a value may be forgotten.
        most: How many are kept in any case.
    """

    def __init__(
        self, make: Callable[[K], V], *, may_go: Callable[[V], bool] = _always, most: int = _MOST
    ) -> None:
        self._make = make
        self._may_go = may_go
        self._most = most
        # The one that was asked for last is last.
        self._values: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[V]:
        return iter(self._values.values())

    def __getitem__(self, key: K) -> V:
        if key in self._values:
            value = self._values[key] = self._values.pop(key)
            return value
        if len(self._values) >= self._most:
            for old in [each for each, value in self._values.items() if self._may_go(value)]:
                if len(self._values) < self._most:
                    break
                del self._values[old]
        value = self._values[key] = self._make(key)
        return value
