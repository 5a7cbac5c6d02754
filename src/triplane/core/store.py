"""What a ledger must offer: the store's protocol, which any store can implement.

A store keeps logs; a log keeps one run's records. Appending is synchronous and never a checkpoint, so that nothing
can be cancelled between having received something and having recorded it. Durability is a separate, awaited step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .records import Body, Record


class RunLog(Protocol):
    """One run's ordered records."""

    @property
    def run_id(self) -> str:
        """The run."""
        ...

    def append(self, body: Body) -> Record:
        """Append one record and wake whoever waits for it. Not a checkpoint; never blocks."""
        ...

    async def durable(self) -> None:
        """Return once everything appended so far would survive the death of this process.

        A checkpoint. Cancelling it changes nothing about what was appended.
        """
        ...

    def read(self, after: int, limit: int = 1_000) -> Sequence[Record]:
        """The records whose sequence number is greater than `after`, at most `limit`, in order."""
        ...

    async def wait(self, after: int) -> None:
        """Return once a record with a sequence number greater than `after` exists. A checkpoint."""
        ...


class Ledger(Protocol):
    """The store of all logs."""

    def create(self, run_id: str) -> RunLog:
        """Begin the log of a new run.

        Raises:
            ConfigError: The ledger already has that run.
        """
        ...

    def open(self, run_id: str) -> RunLog:
        """The log of a run that exists.

        Raises:
            ConfigError: The ledger has no such run.
        """
        ...

    def run_ids(self) -> Sequence[str]:
        """The runs in the order in which they began."""
        ...
