"""Which events of a response came twice, and where its numbers do not add up.

Every event of a response has a ``sequence_number``, counted from 0 (openai-python 3.52.0). Servers differ: some send
none, some send -1 on all events. So numbers prove nothing but one thing: an event that is identical to an earlier one
with the same number is that event again. Deltas are identical if their type, their place and their text are.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Literal

import attrs

if TYPE_CHECKING:
    from triplane.protocol import ServerEvent


@attrs.frozen
class Irregularity:
    """Something in the stream that should not be there. It is reported and otherwise passed over.

    Attributes:
        kind: ``"gap"``: numbers were left out; ``"backwards"``: a number came late, or again with another event, so
            numbers identify nothing in the rest of this response; ``"foreign"``: an event of another response;
            ``"other_chain"``: the response says that it continues another response, or belongs to another
            conversation, than was asked for.
        type: The event's type.
        expected: The number, or the id, that was due; empty for none.
        found: What came instead.
    """

    kind: Literal["gap", "backwards", "foreign", "other_chain"]
    type: str
    expected: int | str
    found: int | str


@attrs.frozen
class _Run:
    """Consecutive numbers, from the first on."""

    first: int
    marks: list[object]
    places: list[object]

    def has(self, number: int, mark: object, place: object) -> bool:
        index = number - self.first
        return index < len(self.marks) and self.marks[index] == mark and self.places[index] == place


# Equal to no number, and to no absent number.
_NONE_DUE: Final = -0.5


class Numbering:
    """The numbers of one response, and a mark for each: a stream may be sent again from any point on.

    Attributes:
        due: The number that comes next, or something that equals no number. The folds of deltas compare it themselves,
            and append to `marks` and `places` and count on when it is met: a call for each delta would be felt.
        marks: A mark for each of the latest consecutive numbers. Identical events have equal marks and places.
        places: A place for each of them, None where the mark says it all.
        irregularities: What does not add up.
    """

    __slots__ = ("_runs", "due", "irregularities", "marks", "places")

    def __init__(self) -> None:
        self.irregularities: list[Irregularity] = []
        self.due: float = _NONE_DUE
        self.marks: list[object] = []
        self.places: list[object] = []
        # Runs of consecutive numbers. None once numbers are not to be trusted.
        self._runs: list[_Run] | None = []

    def repeats(self, event: ServerEvent, mark: object, place: object = None) -> bool:
        """Note an event, and tell whether it is one that came before.

        Args:
            event: The event.
            mark: Its mark.
            place: What tells it from other events with that mark.
        """
        number = event.sequence_number
        if number is None or number < 0 or self._runs is None:
            return False
        if number < self.due:
            return self._repeats_earlier(number, event.type, mark, place, self._runs)
        if number > self.due:
            if self._runs:
                self.irregularities.append(Irregularity("gap", event.type, int(self.due), number))
            self.marks, self.places = [], []
            self._runs.append(_Run(number, self.marks, self.places))
        self.marks.append(mark)
        self.places.append(place)
        self.due = number + 1
        return False

    def _repeats_earlier(self, number: int, kind: str, mark: object, place: object, runs: list[_Run]) -> bool:
        latest = bisect_right(runs, number, key=attrgetter("first")) - 1
        if latest >= 0 and runs[latest].has(number, mark, place):
            return True
        self.irregularities.append(Irregularity("backwards", kind, int(self.due), number))
        self.forget()
        return False

    def state(self) -> tuple[bool, float]:
        """What the next event is held against: whether numbers count, and which one is due."""
        return self._runs is not None, self.due

    def forget(self) -> None:
        """Take no more numbers, and give the memory back."""
        self.due = _NONE_DUE
        self.marks, self.places = [], []
        self._runs = None
