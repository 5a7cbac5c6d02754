"""Where the outputs go that are too long for the model: an artifact store's protocol, which any ledger can offer.

An artifact is text in UTF-8, written once, from the beginning on, while its tool runs, and read in pages afterwards.
Writing is synchronous and never a checkpoint, as appending to a log is, so that nothing can be cancelled between
having received something and having kept it; what keeps the writer from running ahead of the store is awaited
separately.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.frozen
class Artifact:
    """What is known of an artifact.

    Attributes:
        artifact_id: Its name; unique in its run.
        run_id: The run.
        size: Its bytes so far.
    """

    artifact_id: str
    run_id: str
    size: int


class ArtifactWriter(Protocol):
    """One artifact that is being written."""

    @property
    def artifact_id(self) -> str:
        """The artifact."""
        ...

    def write(self, data: bytes) -> None:
        """Add to the end. Not a checkpoint.

        Raises:
            OSError: It cannot be kept, as on a full disk. What was written before stays readable.
        """
        ...

    async def flush(self) -> None:
        """Return once the store is ready for more without holding all of it in memory. A checkpoint."""
        ...

    def close(self) -> None:
        """Nothing more comes. Idempotent. Not a checkpoint."""
        ...


class ArtifactStore(Protocol):
    """The artifacts of all runs."""

    def create(self, run_id: str, artifact_id: str) -> ArtifactWriter:
        """Begin an artifact; one of that name is replaced. Not a checkpoint.

        Raises:
            OSError: There is no place for it.
        """
        ...

    async def read(self, run_id: str, artifact_id: str, offset: int = 0, limit: int = 65_536) -> bytes:
        """At most `limit` bytes from `offset` on; empty at the end. A checkpoint.

        Raises:
            KeyError: The run has no such artifact.
        """
        ...

    def find(self, run_id: str, artifact_id: str) -> Artifact | None:
        """What is known of an artifact, None if there is none. Not a checkpoint."""
        ...

    def of_run(self, run_id: str) -> Sequence[Artifact]:
        """The artifacts of a run, in the order in which they were begun. Not a checkpoint."""
        ...


@runtime_checkable
class KeepsArtifacts(Protocol):
    """A ledger that has a place for artifacts too. One that has none loses what the model is not given."""

    @property
    def artifacts(self) -> ArtifactStore:
        """The store."""
        ...


def artifact_id(run_id: str, call_id: str) -> str:
    """The name of the artifact of a call: the same in any process, and fit for a file name whatever the ids are."""
    ids = f"{len(run_id)}:{run_id}:{call_id}".encode(errors="surrogatepass")
    return f"art_{hashlib.blake2b(ids, digest_size=8).hexdigest()}"
