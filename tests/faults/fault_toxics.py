"""What a bad network does to the bytes of one direction, as data. Pure: times come in and go out with the bytes.

A link carries parcels: bytes, and the time at which they arrive. Each toxic takes a parcel and hands on what becomes of
it, so toxics in a row compose, and the same parcels always become the same. A link begins with an empty parcel, and
ends with one whose `then` is ``"end"``; a toxic that strikes at byte n does so as soon as n bytes have passed it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, Protocol

import attrs

Then = Literal["more", "end", "reset", "freeze"]


@attrs.frozen
class Parcel:
    """Bytes on their way.

    Attributes:
        at: When they arrive, in seconds on any clock.
        data: The bytes, perhaps none.
        then: What comes after them: ``"more"``, the ``"end"`` of this direction, a ``"reset"`` of the connection, or
            its ``"freeze"``, in which nothing comes through in either direction and nobody is told.
    """

    at: float
    data: bytes = b""
    then: Then = "more"


Stage = Callable[[Parcel], Iterable[Parcel]]


class Toxic(Protocol):
    """Something that goes wrong in one direction. Toxics are values; `begin` makes what remembers."""

    def begin(self) -> Stage:
        """What happens to the parcels of one connection."""
        ...


@attrs.frozen
class Latency:
    """Bytes arrive `seconds` later, and by up to `jitter` seconds more; never in another order."""

    seconds: float
    jitter: float = 0.0
    seed: int = 0

    def begin(self) -> Stage:
        rng = random.Random(self.seed)
        last = 0.0

        def stage(parcel: Parcel) -> Iterator[Parcel]:
            nonlocal last
            last = max(last, parcel.at + self.seconds + self.jitter * rng.random())
            yield attrs.evolve(parcel, at=last)

        return stage


@attrs.frozen
class Bandwidth:
    """So many bytes arrive in a second. What comes as one piece arrives as one, when its last byte does."""

    bytes_per_second: float

    def begin(self) -> Stage:
        free_at = 0.0

        def stage(parcel: Parcel) -> Iterator[Parcel]:
            nonlocal free_at
            free_at = max(free_at, parcel.at) + len(parcel.data) / self.bytes_per_second
            yield attrs.evolve(parcel, at=free_at)

        return stage


@attrs.frozen
class Slicer:
    """Bytes arrive in pieces of at most `size`, `gap` seconds from one to the next."""

    size: int
    gap: float = 0.0

    def begin(self) -> Stage:
        free_at = 0.0

        def stage(parcel: Parcel) -> Iterator[Parcel]:
            nonlocal free_at
            starts = range(0, len(parcel.data), self.size) or range(1)
            for start in starts:
                at = max(free_at, parcel.at)
                piece = parcel.data[start : start + self.size]
                free_at = at + self.gap if piece else at
                yield Parcel(at, piece, parcel.then if start == starts[-1] else "more")

        return stage


@attrs.frozen
class SlowClose:
    """The end of this direction arrives `seconds` later than it would."""

    seconds: float

    def begin(self) -> Stage:
        def stage(parcel: Parcel) -> Iterator[Parcel]:
            if parcel.then == "end":
                # The last bytes are not late, so they go by themselves.
                yield attrs.evolve(parcel, then="more")
                yield Parcel(parcel.at + self.seconds, then="end")
            else:
                yield parcel

        return stage


@attrs.frozen
class Corrupt:
    """Byte number `byte` arrives with the bits of `mask` flipped."""

    byte: int
    mask: int = 0x01

    def begin(self) -> Stage:
        passed = 0

        def stage(parcel: Parcel) -> Iterator[Parcel]:
            nonlocal passed
            place = self.byte - passed
            passed += len(parcel.data)
            if 0 <= place < len(parcel.data):
                damaged = bytearray(parcel.data)
                damaged[place] ^= self.mask
                yield attrs.evolve(parcel, data=bytes(damaged))
            else:
                yield parcel

        return stage


@attrs.frozen
class Reset:
    """The connection is reset once `byte` bytes have passed in this direction."""

    byte: int

    def begin(self) -> Stage:
        return _cut(self.byte, "reset")


@attrs.frozen
class HalfOpen:
    """Once `byte` bytes have passed the peer is gone and nobody is told.

    Nothing comes through in either direction any more, and nothing is taken either, as when a machine has lost its
    power. What is sent stays in the sender's buffers, as far as there is room.
    """

    byte: int

    def begin(self) -> Stage:
        return _cut(self.byte, "freeze")


@attrs.frozen
class BlackHole:
    """Once `byte` bytes have passed in this direction nothing comes through in it, its end included.

    What is sent is taken and forgotten. The other direction goes on.
    """

    byte: int

    def begin(self) -> Stage:
        return _cut(self.byte, None)


class Meter(Toxic):
    """Counts the bytes that pass, and changes nothing. Unlike the others it is no value: it is for one connection."""

    def __init__(self) -> None:
        self.passed = 0

    def begin(self) -> Stage:
        def stage(parcel: Parcel) -> Iterator[Parcel]:
            self.passed += len(parcel.data)
            yield parcel

        return stage


def _cut(byte: int, then: Then | None) -> Stage:
    passed = 0
    is_cut = False

    def stage(parcel: Parcel) -> Iterator[Parcel]:
        nonlocal passed, is_cut
        if is_cut:
            return
        kept = parcel.data[: byte - passed]
        passed += len(kept)
        is_cut = passed == byte
        if not is_cut:
            yield parcel
        elif then is not None:
            yield Parcel(parcel.at, kept, then)
        elif kept:
            yield Parcel(parcel.at, kept)

    return stage


def row(toxics: Sequence[Toxic]) -> Stage:
    """What happens to parcels that pass all of these, one after the other."""
    stages = [toxic.begin() for toxic in toxics]

    def stage(parcel: Parcel) -> list[Parcel]:
        parcels = [parcel]
        for each in stages:
            parcels = [outcome for before in parcels for outcome in each(before)]
        return parcels

    return stage


@attrs.frozen
class Link:
    """The network between a client and a server, for one connection.

    Attributes:
        up: What happens on the way to the server.
        down: What happens on the way to the client.
    """

    up: Sequence[Toxic] = ()
    down: Sequence[Toxic] = ()


CLEAN = Link()
