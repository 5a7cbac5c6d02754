"""A Trio function in a thread of its own, for tests that run on another event loop or on none."""

from __future__ import annotations

import sys
import threading
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["InThread", "ServiceError", "in_thread"]

T = TypeVar("T")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


class ServiceError(RuntimeError):
    """The thread did not start, or did not stop, in time."""


class Service(Protocol[T_co]):
    """What runs in the thread: an async function for `nursery.start`, which runs until it is cancelled."""

    async def __call__(self, *, task_status: trio.TaskStatus[T_co]) -> object:
        """Report a value once it is ready, and run on."""
        ...


@final
class InThread(Generic[T]):
    """A running service; `in_thread` makes one.

    Attributes:
        value: what the service reported when it was ready. It belongs to the other thread: what reads it is up to the
            reader, what changes it goes through `call`.
    """

    def __init__(self, service: Service[T], name: str) -> None:
        self._service = service
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._values: list[T] = []
        self._error: BaseException | None = None

    @property
    def value(self) -> T:
        """What the service reported when it was ready."""
        return self._values[0]

    def call(self, function: Callable[[], R]) -> R:
        """Call a synchronous function in the thread of the service, between two of its steps, and return its result.

        Blocks for as long as that takes, on every event loop alike. What the function raises is raised here. The
        service itself may call it too.

        Raises:
            ServiceError: the service has ended, or does not come to it.
        """
        if threading.current_thread() is self._thread:
            return function()
        results: list[R] = []
        errors: list[BaseException] = []
        done = threading.Event()

        def run() -> None:
            try:
                results.append(function())
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                errors.append(error)
            done.set()

        assert self._token is not None, "used before it was started"
        try:
            self._token.run_sync_soon(run)
        except trio.RunFinishedError:
            raise ServiceError(f"the {self._thread.name} has ended") from self._error
        if not done.wait(_STOP_SECONDS):
            raise ServiceError(self._stuck("is busy"))
        if errors:
            raise errors[0]
        return results[0]

    def join(self) -> None:
        """Wait until the service has ended by itself, ten seconds at most; leaving the block says how."""
        self._thread.join(_STOP_SECONDS)

    def _start(self) -> None:
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise ServiceError(self._stuck(f"was not ready within {_START_SECONDS:g} s"))
        if not self._values:
            self._thread.join(_STOP_SECONDS)
            assert self._error is not None
            raise self._error

    def _stop(self) -> None:
        assert self._token is not None
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            raise ServiceError(self._stuck(f"did not stop within {_STOP_SECONDS:g} s"))
        if self._error is not None:
            raise self._error

    def _main(self) -> None:
        try:
            trio.run(self._run)
        except BaseException as error:  # noqa: BLE001 - raised where the thread is joined
            self._error = _only(error)
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                self._values.append(await nursery.start(self._service))
                self._ready.set()

    def _stuck(self, what: str) -> str:
        frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001 - documented, despite its name
        where = "".join(traceback.format_stack(frame)[-3:]) if frame is not None else ""
        return f"the {self._thread.name} {what}; it is at\n{where}"


@contextmanager
def in_thread(service: Service[T], *, name: str) -> Iterator[InThread[T]]:
    """Run `service` in a thread, with its own `trio.run`, for as long as the block lasts.

    Entering returns once the service is ready; leaving cancels it and waits for its end, ten seconds at most.

    Raises:
        ServiceError: it was not ready, or did not end, in time. The thread is a daemon: it holds up no exit.
        BaseException: what the service raised, when the block is entered or left. An exception of the block is
            not replaced by it, but gets it as a note.
    """
    running = InThread(service, name)
    running._start()  # noqa: SLF001 - the other half of this function
    try:
        yield running
    except BaseException as error:
        try:
            running._stop()  # noqa: SLF001 - see above
        except BaseException as another:  # noqa: BLE001 - the block's own error comes first
            error.add_note(f"Beside this, the {name} failed: {another!r}")
        raise
    running._stop()  # noqa: SLF001 - see above


def _only(error: BaseException) -> BaseException:
    """The one exception of a nursery's group, which is a group around one more often than not."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
