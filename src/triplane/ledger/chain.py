"""What is stored of a record, and the chain of checksums that goes through a run's records."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

import attrs

from triplane.core.records import Record

from .encoding import Encoded, EncodingError, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triplane.core.records import Body

_HEAD = struct.Struct(">QdH?H")
_SIZE = 16


class BrokenChainError(ValueError):
    """A record is not the one that was written, or not where it was.

    Attributes:
        sequence: Its place.
    """

    def __init__(self, sequence: int, words: str) -> None:
        super().__init__(f"record {sequence}: {words}")
        self.sequence = sequence


@attrs.frozen
class Row:
    """A record as it is stored.

    Attributes:
        sequence: See `Record`.
        at: See `Record`.
        encoded: Its body.
        digest: Covers all of that, and the digest of the record before.
    """

    sequence: int
    at: float
    encoded: Encoded
    digest: bytes


def seed(run_id: str) -> bytes:
    """What stands before the first record: records of one run are none of another."""
    return hashlib.blake2b(run_id.encode("utf-8", "surrogatepass"), digest_size=_SIZE).digest()


def link(previous: bytes, sequence: int, at: float, body: Body) -> Row:
    """The row of the next record."""
    encoded = encode(body)
    return Row(sequence, at, encoded, digest_of(previous, sequence, at, encoded))


def digest_of(previous: bytes, sequence: int, at: float, encoded: Encoded) -> bytes:
    """A record's digest."""
    kind = encoded.kind.encode()
    head = _HEAD.pack(sequence, at, encoded.version, encoded.essential, len(kind))
    return hashlib.blake2b(b"".join((previous, head, kind, encoded.data)), digest_size=_SIZE).digest()


def unlink(previous: bytes, rows: Iterable[Row], expected: int) -> list[Record]:
    """The records of consecutive rows.

    Args:
        previous: The digest before the first of them.
        rows: The rows.
        expected: The sequence number of the first.

    Raises:
        BrokenChainError: One is missing, or is not what was written.
    """
    records = []
    for row in rows:
        if row.sequence != expected:
            raise BrokenChainError(expected, f"is missing, the next one there is {row.sequence}")
        try:
            digest = digest_of(previous, row.sequence, row.at, row.encoded)
        except (struct.error, ValueError, TypeError, AttributeError) as error:
            raise BrokenChainError(expected, f"is not one: {error}") from error
        if digest != row.digest:
            raise BrokenChainError(expected, "its checksum is wrong")
        try:
            body = decode(row.encoded)
        except EncodingError as error:
            raise BrokenChainError(expected, str(error)) from error
        records.append(Record(row.sequence, row.at, body))
        previous = row.digest
        expected += 1
    return records
