"""A cassette as a test sees it, in a thread of its own."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

import trio

from triplane.bridges.cassette import CassetteDrift, Recorder, Redaction, Replayer, record, replay

from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from .threads import InThread

__all__ = ["LocalCassette", "start_cassette"]


@final
class LocalCassette:
    """A cassette that is being recorded or replayed. `start_cassette` makes them, and the fixture.

    Attributes:
        path: its file.
        recording: whether it is being recorded.
    """

    def __init__(self, path: Path, running: InThread[Recorder] | InThread[Replayer]) -> None:
        self.path = path
        self._running = running
        self.recording = isinstance(running.value, Recorder)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}, {'recording' if self.recording else 'replaying'}>"

    @property
    def url(self) -> str:
        """The WebSocket URL of the Responses endpoint."""
        return self._running.value.url

    @property
    def base_url(self) -> str:
        """The base URL for clients that take one, such as `openai.OpenAI(base_url=...)`."""
        return self._running.value.base_url

    http_url = base_url

    def check(self) -> None:
        """Assert that clients asked what was recorded, all of it and nothing else.

        Raises:
            CassetteDrift: it is otherwise.
        """
        machine = self._running.value
        if isinstance(machine, Replayer):
            problems = self._running.call(lambda: machine.problems + machine.unused)
            if problems:
                raise CassetteDrift(str(self.path), problems)


@contextmanager
def start_cassette(
    path: Path,
    *,
    upstream: str | None = None,
    speed: float = math.inf,
    ignore: Collection[str] = (),
    redaction: Redaction | None = None,
) -> Iterator[LocalCassette]:
    """Replay a cassette in a thread of its own, or record it if `upstream` is given.

    Leaving the block stops it. Whether a replay was played to its end is for `LocalCassette.check` to say.

    Args:
        path: the cassette.
        upstream: the base URL of the endpoint to record.
        speed: of a replay; see `triplane.bridges.cassette.replay`.
        ignore: what of requests may differ; see there.
        redaction: what the cassette must not say.

    Raises:
        CassetteError: there is no such cassette, or upstream could not be reached.
    """

    async def recording(*, task_status: trio.TaskStatus[Recorder]) -> None:
        assert upstream is not None
        async with record(path, upstream=upstream, redaction=redaction) as recorder:
            task_status.started(recorder)
            await stop.wait()

    async def replaying(*, task_status: trio.TaskStatus[Replayer]) -> None:
        async with replay(path, speed=speed, ignore=ignore, redaction=redaction, strict=False) as replayer:
            task_status.started(replayer)
            await trio.sleep_forever()

    stop = trio.Event()
    if upstream is None:
        with in_thread(replaying, name="replay of a cassette") as replayed:
            yield LocalCassette(path, replayed)
        return
    with in_thread(recording, name="recording of a cassette") as recorded:
        yield LocalCassette(path, recorded)
        # Not cancelled: that would leave the file that was there.
        recorded.call(stop.set)
        recorded.join()
