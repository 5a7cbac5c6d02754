"""The tool with which a model reads on where its output was cut."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from .context import ToolContext  # noqa: TC001  (read off the signature)
from .tool import tool

if TYPE_CHECKING:
    from .tool import Tool

NAME = "read_artifact"
_PAGE = 16_384
_LARGEST_PAGE = 60_000
# A character is at most four bytes, so what stands cut at the end of a page is at most three.
_LONGEST_CHARACTER = 4


@functools.cache
def read_artifact_tool() -> Tool:
    """The tool ``read_artifact``, made once."""
    return tool(
        _read_artifact,
        name=NAME,
        description=(
            "Read a page of an output that was cut. The line that says how much was cut names the artifact."
        ),
        # Written out, so that it needs no extra.
        parameters={
            "type": "object",
            "properties": {
                "artifact": {"type": "string", "description": "The artifact's name, as the line gives it."},
                "offset": {
                    "type": "integer",
                    "description": "The first byte of the page; 0 is the beginning.",
                },
                "length": {"type": "integer", "description": f"Bytes to read, at most {_LARGEST_PAGE}."},
            },
            "required": ["artifact"],
            "additionalProperties": False,
        },
        effect="read",
        timeout=30,
        max_artifact=0,
    )


async def _read_artifact(artifact: str, context: ToolContext, offset: int = 0, length: int = _PAGE) -> str:
    store = context.artifacts
    found = None if store is None else store.find(context.run_id, artifact)
    if store is None or found is None:
        known = [] if store is None else [each.artifact_id for each in store.of_run(context.run_id)]
        raise LookupError(
            f"there is no artifact {artifact[:64]!r}; the artifacts are: {', '.join(known[-20:]) or 'none'}"
        )
    if not 0 <= offset <= found.size or length < _LONGEST_CHARACTER:
        raise ValueError(
            f"offset={offset}, length={length}: the artifact has {found.size} bytes, and a page at least"
            f" {_LONGEST_CHARACTER}"
        )
    data = await store.read(context.run_id, artifact, offset, min(length, _LARGEST_PAGE))
    # Pages are cut between characters, so the next one begins where this one ends.
    start = _incomplete_start(data) if offset else 0
    end = len(data) - (_incomplete_end(data) if offset + len(data) < found.size else 0)
    text = data[start:end].decode(errors="replace")
    at = offset + end
    more = f"; the next page begins at offset {at}" if at < found.size else "; this is the end"
    return f"{artifact}: bytes {offset + start} to {at} of {found.size}{more}\n{text}"


def _incomplete_start(data: bytes) -> int:
    """How many bytes at the beginning belong to a character that began before."""
    count = 0
    while count < min(len(data), _LONGEST_CHARACTER - 1) and data[count] & 0xC0 == 0x80:
        count += 1
    return count


def _incomplete_end(data: bytes) -> int:
    """How many bytes at the end belong to a character that goes on after."""
    for back in range(1, min(len(data), _LONGEST_CHARACTER - 1) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return back if needed > back else 0
    return 0
