"""Which events of a response came twice, and where its numbers do not add up.

Every event of a response has a ``sequence_number``, counted from 0 (openai-python 3.52.0). Servers differ: some send
none, some send -1 on all events. So numbers prove nothing but one thing: an event that is identical to an earlier one
with the same number is that event again. Deltas are identical if their type, their place and their text are.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, Literal

import attrs

if TYPE_CHECKING:
    from triplane.protocol import ServerEvent


@attrs.frozen
class Irregularity:
    """Something in the stream that should not be there. It is reported and otherwise passed over.

    Attributes:
        kind: ``"gap"``: numbers were left out; ``"backwards"``: a number came late, or again with another event, so
            numbers identify nothing in the rest of this response; ``"foreign"``: an event of another response.
        type: The event's type.
        expected: The number, or the response id, that was due.
        found: What came instead.
    """

    kind: Literal["gap", "backwards", "foreign"]
    type: str
    expected: int | str
    found: int | str


# Equal to no number, and to no absent number.
_NONE_DUE: Final = -0.5


class Numbering:
    """The numbers of one response, and a mark for each: a stream may be sent again from any point on.

    Attributes:
        due: The number that comes next, or something that equals no number. The folds of deltas compare it themselves,
            and append to `marks` and count on when it is met: a call for each delta would be felt.
        marks: A mark for each of the latest consecutive numbers; equal for identical events.
        irregularities: What does not add up.
    """

    __slots__ = ("_runs", "due", "irregularities", "marks")

    def __init__(self) -> None:
        self.irregularities: list[Irregularity] = []
        self.due: float = _NONE_DUE
        self.marks: list[object] = []
        # Runs of consecutive numbers: the first number, and the marks. None once numbers are not to be trusted.
        self._runs: list[tuple[int, list[object]]] | None = []

    def repeats(self, event: ServerEvent, mark: object) -> bool:
        """Note an event, and tell whether it is one that came before.

        Args:
            event: The event.
            mark: Its mark.
        """
        number = event.sequence_number
        if number is None or number < 0 or self._runs is None:
            return False
        if number < self.due:
            return self._repeats_earlier(number, event.type, mark, self._runs)
        if number > self.due:
            if self._runs:
                self.irregularities.append(Irregularity("gap", event.type, int(self.due), number))
            self.marks = []
            self._runs.append((number, self.marks))
        self.marks.append(mark)
        self.due = number + 1
        return False

    def _repeats_earlier(
        self, number: int, kind: str, mark: object, runs: list[tuple[int, list[object]]]
    ) -> bool:
        place = bisect_right(runs, number, key=_first) - 1
        if place >= 0:
            first, marks = runs[place]
            if number - first < len(marks) and marks[number - first] == mark:
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
        self.marks = []
        self._runs = None


def _first(run: tuple[int, list[object]]) -> int:
    return run[0]
