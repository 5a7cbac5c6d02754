"""Keeps the output of a tool within a budget of bytes, while it is produced."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_utf8_decoder = codecs.getincrementaldecoder("utf-8")


@final
class Sink:
    """Takes any number of bytes and keeps at most a budget of them: the beginning, and a ring of the end.

    What is read out is always valid text: bytes that are not UTF-8 become U+FFFD as they come in (and count as
    the three bytes of that character), and cuts are made between characters. Memory is bounded by the
    budget, whatever is written. Not a Trio object: nothing here waits or checkpoints.

    Args:
        max_output: The budget in bytes, at least 1. Three quarters go to the beginning, the rest to the end.
        overflow: Once more was written than the budget, gets all of it as text in UTF-8, from the beginning on: first
            what had been kept so far, then each piece.

    Raises:
        ValueError: `max_output` is below 1.
    """

    __slots__ = ("_decoder", "_head", "_head_size", "_overflow", "_produced", "_tail", "_tail_size")

    def __init__(
        self, max_output: int = 65_536, *, overflow: Callable[[bytes | bytearray], object] | None = None
    ) -> None:
        if max_output < 1:
            raise ValueError(f"max_output is {max_output}; a sink keeps at least 1 byte")
        self._tail_size = max_output // 4
        self._head_size = max_output - self._tail_size
        self._head = bytearray()
        self._tail = bytearray()
        self._produced = 0
        self._overflow = overflow
        self._decoder = _utf8_decoder("replace")

    def write(self, data: bytes | bytearray) -> None:
        """Take `data`. Characters may be split over several writes."""
        # Only what is not plain ASCII has to be looked at byte by byte; the decoder's state is (pending, flags).
        if not data.isascii() or self._decoder.getstate()[0]:
            data = self._decoder.decode(data).encode()
        self._keep(data)

    def ends_line(self) -> bool:
        """Whether what was written is nothing, or ends with a line break."""
        end = self._tail or self._head
        return not end or end.endswith(b"\n")

    def finish(self) -> None:
        """Take a character that is still incomplete to be over. Idempotent."""
        self._keep(self._decoder.decode(b"", final=True).encode())

    def text(self, note: str = "") -> str:
        """What was kept, with a line between beginning and end that says how much was cut.

        A character that is still incomplete is taken to be over.

        Args:
            note: What that line says besides.
        """
        self.finish()
        head, tail = self._kept()
        cut = self._produced - len(head) - len(tail)
        if not cut:
            return (head + tail).decode()
        return f"{head.decode()}\n[… {cut:,} bytes cut{note} …]\n{tail.decode()}"

    @property
    def bytes_produced(self) -> int:
        """How many bytes of text were written; at most 3 are still unknown before `text` is called."""
        return self._produced

    @property
    def bytes_kept(self) -> int:
        """How many of them `text` returns, its line about the cut not counted."""
        return sum(map(len, self._kept()))

    def _keep(self, data: bytes | bytearray) -> None:
        if not data:
            return
        before = self._produced
        self._produced += len(data)
        budget = self._head_size + self._tail_size
        if self._overflow is not None and self._produced > budget:
            if before <= budget:
                # Nothing has been cut yet, so what is kept is what was written.
                self._overflow(self._head + self._tail)
            self._overflow(data)
        room = self._head_size - len(self._head)
        if room:
            self._head += data[:room]
            data = data[room:]
        # The excess goes before the new bytes come, so the ring never holds more than its size.
        data = data[max(0, len(data) - self._tail_size) :]
        del self._tail[: max(0, len(self._tail) + len(data) - self._tail_size)]
        self._tail += data

    def _kept(self) -> tuple[bytes, bytes]:
        if self._produced == len(self._head) + len(self._tail):
            return bytes(self._head), bytes(self._tail)
        # All of it was valid UTF-8 when it was taken, so what fails to decode is a character cut in two.
        return self._head.decode(errors="ignore").encode(), self._tail.decode(errors="ignore").encode()
