"""What a ledger must offer: the store's protocol, which any store can implement.

A store keeps logs; a log keeps one run's records. Appending is synchronous and never a checkpoint, so that nothing
can be cancelled between having received something and having recorded it. Durability is a separate, awaited step.

Anybody may read a log. One at a time may append to it: who has its *claim*. A claim ends when it is released, when the
one who has it dies, and when its deadline passes without having been renewed, which the store does as long as it is
open. Each claim has a *token*, larger than those before it, and a store takes no record from a claim that is not the
latest: who was thought dead and comes back cannot write beside the one who took over.

`triplane.testing.ledgers` has tests that every store must pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .records import Body, Record


class RunLog(Protocol):
    """One run's ordered records, for reading."""

    @property
    def run_id(self) -> str:
        """The run."""
        ...

    async def read(self, after: int, limit: int = 1_000) -> Sequence[Record]:
        """The records whose sequence number is greater than `after`, at most `limit`, in order. A checkpoint.

        The first record has the number 0, so -1 is before all of them.

        Raises:
            LedgerCorrupt: The log is damaged there.
            LedgerFailed: The store could not be read.
        """
        ...

    async def wait(self, after: int) -> None:
        """Return once a record with a sequence number greater than `after` can be read. A checkpoint."""
        ...


class ClaimedLog(RunLog, Protocol):
    """A run's log in the hands of the one who may append to it."""

    @property
    def token(self) -> int:
        """The claim's token: 1 for the one who began the run, and larger for each later claim."""
        ...

    def append(self, body: Body) -> Record:
        """Append one record and wake whoever waits for it. Not a checkpoint; never blocks.

        Raises:
            LedgerFailed: The claim was released, or the ledger was left.
        """
        ...

    async def durable(self) -> None:
        """Return once everything appended so far would survive the death of this process.

        A checkpoint. Cancelling it changes nothing about what was appended.

        Raises:
            LedgerFailed: It could not be written; see there.
        """
        ...

    def release(self) -> None:
        """Give the claim back, once everything appended is written. Idempotent. Not a checkpoint."""
        ...


class Ledger(Protocol):
    """The store of all logs."""

    def create(self, run_id: str) -> ClaimedLog:
        """Begin the log of a new run, with the claim to it. Not a checkpoint.

        Raises:
            ConfigError: The ledger already has that run. Where only a look into the store can tell, it is `durable`
                that raises, as `LedgerFailed` (``"claimed"``).
        """
        ...

    async def claim(self, run_id: str) -> ClaimedLog:
        """Get the claim to a run that exists. A checkpoint. One that was released in this store is free at once.

        Raises:
            ConfigError: The ledger has no such run.
            LedgerFailed: Somebody else has the claim, or has just begun the run here though the store may not know yet
                (``"claimed"``); or the store could not be written.
        """
        ...

    async def open(self, run_id: str) -> RunLog:
        """The log of a run that exists, for reading. A checkpoint.

        Raises:
            ConfigError: The ledger has no such run.
        """
        ...

    async def run_ids(self) -> Sequence[str]:
        """The runs in the order in which they began. A checkpoint."""
        ...

    def follow(self, run_id: str, after: int = -1) -> AsyncIterator[Record]:
        """A run's records with a sequence number greater than `after`: those that are there, then each as it comes.

        It ends after `RunEnded`. Any number of viewers may follow, from other tasks and, where the store is shared,
        from other processes; one that stops in the middle leaves nothing behind. Its first step raises `ConfigError`
        if the ledger has no such run.
        """
        ...
