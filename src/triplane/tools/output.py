"""The output of one call on its way: what the model gets of it, what is kept besides, and when it is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

from .sink import Sink

if TYPE_CHECKING:
    from collections.abc import Callable

    from triplane.core.artifacts import ArtifactWriter

_PIECE = 64 * 1024


class NotTextError(Exception):
    """A tool wrote text that has no bytes: it holds a lone surrogate."""


@final
class CallOutput:
    """Takes what a call produces, piece by piece, as it is produced.

    The model gets the beginning and the end, within `max_output`. If there is more, all of it goes to an artifact from
    the beginning on, within `max_artifact`; then the output is full, and its producer is to be stopped.

    Args:
        max_output: See `ToolOptions`.
        max_artifact: See `ToolOptions`.
        begin_artifact: Begins the artifact; None if there is no place for it.
        on_full: Called once, when it is full.

    Attributes:
        max_output: As given.
        enough: How many bytes make it full.
        on_growth: Called after each piece.
        is_full: Whether nothing more is wanted.
        was_written: Whether anything came. What a tool returns counts only if not.
    """

    def __init__(
        self,
        max_output: int,
        max_artifact: int,
        *,
        begin_artifact: Callable[[], ArtifactWriter] | None = None,
        on_full: Callable[[], object] | None = None,
    ) -> None:
        self.is_full = False
        self.was_written = False
        self.max_output = max_output
        self._max_artifact = max_artifact
        self.enough = max(max_output, max_artifact)
        self._begin_artifact = begin_artifact
        self.on_growth: Callable[[], object] | None = None
        self._on_full = on_full
        self._sink: Sink | None = None
        self._artifact: ArtifactWriter | None = None
        self._spooled = 0
        self._spools = begin_artifact is not None and max_artifact > 0

    @property
    def bytes_produced(self) -> int:
        """UTF-8 bytes so far."""
        return 0 if self._sink is None else self._sink.bytes_produced

    @property
    def bytes_kept(self) -> int:
        """How many of them the model gets."""
        return 0 if self._sink is None else self._sink.bytes_kept

    @property
    def artifact_id(self) -> str | None:
        """The artifact, None if there was no need for one or no place."""
        return None if self._artifact is None else self._artifact.artifact_id

    def write(self, data: str | bytes | bytearray | memoryview) -> bool:
        """Take a piece of any size, and tell whether more is wanted. Not a checkpoint.

        Raises:
            NotTextError: It is a str with a lone surrogate.
        """
        self.was_written = True
        sink = self._sink
        if sink is None:
            sink = self._sink = Sink(self.max_output, overflow=self._spool if self._spools else None)
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            if isinstance(piece, str):
                try:
                    piece = piece.encode()
                except UnicodeEncodeError:
                    raise NotTextError("it holds a lone surrogate, which is not text") from None
            sink.write(piece if isinstance(piece, bytes) else bytes(piece))
        if self.on_growth is not None:
            self.on_growth()
        if sink.bytes_produced > self.enough and not self.is_full:
            self.is_full = True
            if self._on_full is not None:
                self._on_full()
        return not self.is_full

    async def send(self, data: str | bytes | bytearray | memoryview) -> bool:
        """Take a piece, wait until the store is ready for more, and tell whether more is wanted. A checkpoint."""
        wants_more = self.write(data)
        if self._artifact is not None:
            await self._artifact.flush()
        else:
            await trio.lowlevel.checkpoint()
        return wants_more

    def line_break(self) -> str:
        """What has to stand before a new line: nothing at the beginning of one."""
        return "" if self._sink is None or self._sink.ends_line() else "\n"

    def restart(self) -> None:
        """Forget everything: the tool is tried again. Not a checkpoint."""
        self.close()
        self.is_full = self.was_written = False
        self._sink = self._artifact = None
        self._spooled = 0
        self._spools = self._begin_artifact is not None and self._max_artifact > 0

    def text(self) -> str:
        """What the model gets. Where something was cut, a line says how much, and where it is."""
        if self._sink is None:
            return ""
        self._sink.finish()
        return self._sink.text(self.where())

    def close(self) -> None:
        """Nothing more comes. Idempotent. Not a checkpoint."""
        if self._sink is not None:
            self._sink.finish()
        if self._artifact is not None:
            self._artifact.close()

    def where(self) -> str:
        """Where the rest is, for a line that says how much was cut; empty if there is no artifact."""
        if self._artifact is None:
            return ""
        if self._spooled == self.bytes_produced:
            return f"; all of it is in the artifact {self._artifact.artifact_id}"
        return f"; the first {self._spooled:,} are in the artifact {self._artifact.artifact_id}"

    def _spool(self, data: bytes | bytearray) -> None:
        if not self._spools or self._begin_artifact is None:
            return
        room = self._max_artifact - self._spooled
        if room < len(data):
            # The cut is made between characters.
            data = data[:room].decode(errors="ignore").encode()
            self._spools = False
        try:
            if self._artifact is None:
                self._artifact = self._begin_artifact()
            self._artifact.write(bytes(data))
        except OSError:
            # A full disk costs the rest of the artifact, and not the call.
            self._spools = False
        else:
            self._spooled += len(data)
