"""What is stored of records, and the chain of checksums that goes through a run's records.

Records of one run that are written together are a *chunk*: one row, one checksum. A record in it is a line of JSON, which
says when it was appended, its kind and version, whether it is essential, and how long its body is; then the body, and
the end of a line. So the bytes can be read by eye, and frames stand in them as they came.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, NamedTuple

import orjson

from triplane.core.records import Record

from .encoding import Encoded, EncodingError, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD = struct.Struct(">QQ")
# Of SHA-256, which processors have instructions for. It is there to find damage, and does not stop a forger.
_SIZE = 16
# Above this hashlib lets other threads run while it computes. To get the interpreter back from the one that has it then
# takes much longer than to hash what a turn brings.
_PIECE = 2_047
_LARGE = 256 * 1024
# When a chunk has so many bytes the next record begins another one: whoever wants a few records has to take whole chunks.
_FULL = 64 * 1024
_TYPES = [float, str, int, bool, int]


class BrokenChainError(ValueError):
    """A record is not the one that was written, or not where it was.

    Attributes:
        sequence: Its place.
    """

    def __init__(self, sequence: int, words: str) -> None:
        super().__init__(f"record {sequence}: {words}")
        self.sequence = sequence


class Chunk(NamedTuple):
    """Consecutive records of one run, as they are stored.

    Attributes:
        first: The sequence number of the first.
        records: How many they are, at least one.
        digest: Covers all of this, and the digest of the chunk before.
        body: What they are.
    """

    first: int
    records: int
    digest: bytes
    body: bytes

    @property
    def end(self) -> int:
        """The sequence number of the record after the last one."""
        return self.first + self.records


class PackedRecord(NamedTuple):
    """A record in a chunk, its body not decoded."""

    sequence: int
    at: float
    encoded: Encoded

    def decoded(self) -> Record:
        """The record.

        Raises:
            BrokenChainError: It is none that any version wrote.
        """
        try:
            return Record(self.sequence, self.at, decode(self.encoded))
        except EncodingError as error:
            raise BrokenChainError(self.sequence, str(error)) from error


def seed(run_id: str) -> bytes:
    """What stands before the first chunk: records of one run are none of another."""
    return hashlib.sha256(run_id.encode("utf-8", "surrogatepass")).digest()[:_SIZE]


def pack(at: float, encoded: Encoded) -> bytes:
    """A record's bytes in a chunk."""
    kind, version, essential, data = encoded
    head = orjson.dumps((float(at), kind, version, essential, len(data)))
    return b"".join((head, b"\n", data, b"\n"))


def chunks_of(previous: bytes, first: int, records: Iterable[bytes]) -> Iterator[Chunk]:
    """The chunks that make up the next records of a run.

    Args:
        previous: The digest of the chunk before.
        first: The sequence number of the first record.
        records: What `pack` made of each.
    """
    for batch in _batches(records):
        body = b"".join(batch)
        previous = digest_of(previous, first, len(batch), body)
        yield Chunk(first, len(batch), previous, body)
        first += len(batch)


def _batches(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record)
        if size >= _FULL:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def digest_of(previous: bytes, first: int, count: int, body: bytes) -> bytes:
    """A chunk's digest."""
    covered = hashlib.sha256(previous + _HEAD.pack(first, count))
    if len(body) > _LARGE:
        covered.update(body)
    else:
        for start in range(0, len(body), _PIECE):
            covered.update(body[start : start + _PIECE])
    return covered.digest()[:_SIZE]


def follows(previous: bytes, chunk: Chunk) -> bool:
    """Whether a chunk is what was written after the chunk with that digest."""
    try:
        return digest_of(previous, chunk.first, chunk.records, chunk.body) == chunk.digest
    except (struct.error, TypeError):
        # Where a file is damaged anything may stand.
        return False


def packed_of(previous: bytes, chunks: Iterable[Chunk], expected: int) -> Iterator[PackedRecord]:
    """The records of consecutive chunks, each chunk verified before the first record of it.

    Args:
        previous: The digest of the chunk before.
        chunks: The chunks.
        expected: The sequence number of the first record.

    Raises:
        BrokenChainError: A chunk is missing, or is not what was written.
    """
    for chunk in chunks:
        if chunk.first != expected:
            raise BrokenChainError(expected, f"is missing, the next one there is {chunk.first}")
        if not follows(previous, chunk):
            raise BrokenChainError(expected, "the checksum from there on is wrong")
        yield from unpack(chunk)
        previous = chunk.digest
        expected = chunk.end


def unpack(chunk: Chunk) -> Iterator[PackedRecord]:
    """The records of a chunk, as far as they are some; nothing is verified.

    Raises:
        BrokenChainError: These bytes are no records, or not so many.
    """
    body = chunk.body
    at = 0
    for sequence in range(chunk.first, chunk.end):
        start = body.find(b"\n", at) + 1
        try:
            when, kind, version, essential, length = head = orjson.loads(body[at:start])
        except (ValueError, TypeError) as error:
            raise BrokenChainError(sequence, "it does not begin as a record does") from error
        at = start + length + 1
        if [*map(type, head)] != _TYPES or length < 0 or body[at - 1 : at] != b"\n":
            raise BrokenChainError(sequence, "it does not begin or end as a record does")
        yield PackedRecord(sequence, when, Encoded(kind, version, essential, body[start : at - 1]))
    if at != len(body):
        raise BrokenChainError(chunk.end, "something comes before it")
