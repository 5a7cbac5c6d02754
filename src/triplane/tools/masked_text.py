"""Text without certain words in it, nor with pieces of them where it was cut."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The lines of `Sink.text` and of a call that is stopped. What ends before one may be the beginning of a word, and what
# begins after the first kind the end of one.
_CUT: Final = re.compile(
    r"\n\[… [\d,]+ bytes cut[^\n]* …\](?P<goes_on>\n)|\n?\[stopped: more than [\d,]+ bytes of output\]"
)
# One character of a word says next to nothing, and stands at too many edges by chance.
_SHORTEST_PIECE: Final = 2


def masked(text: str, forms: Mapping[str, str]) -> str:
    """`text` with a mask for each of the words in it, and for what a cut has left of one.

    Where words overlap, one mask stands for all of them: that of the first, and of the longest that begins there.

    Args:
        text: What may have been cut by a budget: then a line says so, and a piece of a word that touches it is masked
            from two characters on.
        forms: The words, none of them empty, with their masks.
    """
    found = sorted(_found(text, forms), key=lambda place: (place[0], -place[1]))
    parts: list[str] = []
    at = 0
    for begin, end, mask in found:
        if begin >= at:
            parts += (text[at:begin], mask)
        at = max(at, end)
    parts.append(text[at:])
    return "".join(parts)


def _found(text: str, forms: Mapping[str, str]) -> Iterator[tuple[int, int, str]]:
    """Where words or pieces of them stand: from, to, and the mask. They may overlap."""
    cuts = list(_CUT.finditer(text))
    for form, mask in forms.items():
        at = text.find(form)
        while at >= 0:
            yield at, at + len(form), mask
            at = text.find(form, at + 1)
        for cut in cuts:
            begin, end = cut.span()
            if size := _beginning(form, text[max(0, begin - len(form)) : begin]):
                yield begin - size, begin, mask
            if cut["goes_on"] and (size := _ending(form, text[end : end + len(form)])):
                yield end, end + size, mask


def _beginning(form: str, head: str) -> int:
    """How many characters at the end of `head` are the beginning of a form: as many as can be."""
    at = head.find(form[:_SHORTEST_PIECE])
    while at >= 0 and not form.startswith(head[at:]):
        at = head.find(form[:_SHORTEST_PIECE], at + 1)
    return len(head) - at if at >= 0 else 0


def _ending(form: str, tail: str) -> int:
    """How many characters at the beginning of `tail` are the end of a form: as many as can be."""
    at = tail.rfind(form[-_SHORTEST_PIECE:])
    while at >= 0 and not form.endswith(tail[: at + _SHORTEST_PIECE]):
        at = tail.rfind(form[-_SHORTEST_PIECE:], 0, at + _SHORTEST_PIECE - 1)
    return at + _SHORTEST_PIECE if at >= 0 else 0
