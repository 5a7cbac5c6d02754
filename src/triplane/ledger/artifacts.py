"""Artifacts as files: one directory for each run, one file for each artifact."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, final

import trio

from triplane.core.artifacts import Artifact

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIT_FOR_A_FILE = re.compile(r"[A-Za-z0-9_-]{1,128}")
# So much of an artifact may be in the page cache and not on the disk. Up to there a write takes less time than to have a
# thread do it; where a system has too much of that, it lets whoever writes wait, which must not be the loop.
_AHEAD = 16 * 2**20


@final
class FileArtifacts:
    """A store of artifacts below a directory; files are readable by their owner alone.

    What is written is with the operating system at once, so it survives the death of this process, and not a loss of
    power.

    Args:
        directory: Where; made when the first artifact is begun. Default: a temporary directory, which goes with the
            store.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self._directory = None if directory is None else Path(directory)
        self._of_run: dict[str, dict[str, Path]] = {}

    def __repr__(self) -> str:
        return f"<FileArtifacts: {sum(map(len, self._of_run.values()))} artifacts>"

    def create(self, run_id: str, artifact_id: str) -> FileArtifact:
        """See `ArtifactStore.create`."""
        path = self._path(run_id, artifact_id)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A file of its own even if there was one: whoever reads that goes on reading what it was.
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self._of_run.setdefault(run_id, {})[artifact_id] = path
        return FileArtifact(artifact_id, descriptor)

    async def read(self, run_id: str, artifact_id: str, offset: int = 0, limit: int = 65_536) -> bytes:
        """See `ArtifactStore.read`."""
        await trio.lowlevel.checkpoint()
        # A page of a file that has just been written: the page cache has it, and a thread would cost more.
        with self._existing(run_id, artifact_id).open("rb") as file:
            return os.pread(file.fileno(), limit, offset)

    def find(self, run_id: str, artifact_id: str) -> Artifact | None:
        """See `ArtifactStore.find`."""
        try:
            size = self._existing(run_id, artifact_id).stat().st_size
        except KeyError:
            return None
        return Artifact(artifact_id, run_id, size)

    def of_run(self, run_id: str) -> Sequence[Artifact]:
        """See `ArtifactStore.of_run`. Those that another store began come first, by age."""
        names = list(self._of_run.get(run_id, ()))
        if self._directory is not None:
            files = [
                path for path in (self._directory / _as_name(run_id)).glob("*") if path.name not in names
            ]
            names = [path.name for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)] + names
        found = (self.find(run_id, name) for name in names)
        return tuple(artifact for artifact in found if artifact is not None)

    def remove(self, run_id: str) -> None:
        """Delete the artifacts of a run. Not a checkpoint; may be called in any thread."""
        self._of_run.pop(run_id, None)
        if self._directory is not None:
            shutil.rmtree(self._directory / _as_name(run_id), ignore_errors=True)

    def _existing(self, run_id: str, artifact_id: str) -> Path:
        path = self._of_run.get(run_id, {}).get(artifact_id)
        if path is None and self._directory is not None:
            path = self._path(run_id, artifact_id)
        if path is None or not path.is_file():
            raise KeyError(artifact_id)
        return path

    def _path(self, run_id: str, artifact_id: str) -> Path:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="triplane-artifacts-"))
            # Whoever forgets the store has nothing to clean up, and has done nothing wrong.
            weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        return self._directory / _as_name(run_id) / _as_name(artifact_id)


def _as_name(name: str) -> str:
    """A file name for an id, whatever is in it."""
    if _FIT_FOR_A_FILE.fullmatch(name):
        return name
    return f"other-{hashlib.blake2b(name.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"


@final
class FileArtifact:
    """An artifact that is being written to a file."""

    def __init__(self, artifact_id: str, descriptor: int) -> None:
        self._artifact_id = artifact_id
        self._descriptor: int | None = descriptor
        self._ahead = 0

    def __repr__(self) -> str:
        return f"<FileArtifact {self._artifact_id}{'' if self._descriptor is not None else ', closed'}>"

    @property
    def artifact_id(self) -> str:
        """The artifact."""
        return self._artifact_id

    def write(self, data: bytes) -> None:
        """See `ArtifactWriter.write`. Goes to the page cache: some microseconds for each 64 KiB."""
        if self._descriptor is None:
            raise ValueError(f"{self!r} takes nothing more")
        view = memoryview(data)
        self._ahead += len(view)
        while view:
            view = view[os.write(self._descriptor, view) :]

    async def flush(self) -> None:
        """See `ArtifactWriter.flush`. Waits for the disk, in a thread, when that is 16 MiB behind."""
        if self._descriptor is None or self._ahead < _AHEAD:
            await trio.lowlevel.checkpoint()
            return
        self._ahead = 0
        await trio.to_thread.run_sync(_sync, self._descriptor, abandon_on_cancel=True)

    def close(self) -> None:
        """See `ArtifactWriter.close`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _sync(descriptor: int) -> None:
    """Return once what was written is on the disk.

    An error is one of the writes to come, or of nobody any more. And if whoever waits is cancelled and the artifact closed,
    the number may be another file's meanwhile, to which this does no harm.
    """
    with suppress(OSError):
        os.fdatasync(descriptor)
