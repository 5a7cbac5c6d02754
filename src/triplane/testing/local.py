"""A local server as a test sees it: where it is, what it saw, what it is to do, and whether all went as it should."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack, cast, final

from triplane.server import Model
from triplane.server.models import builtin_models
from triplane.server.script import Script

from .expectations import Pattern, check
from .stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from triplane.server import Fault, ServerStatistics
    from triplane.server.client_requests import ClientRequest
    from triplane.server.faults.plan import FaultPlan
    from triplane.server.journal import Journal, JournalEntry
    from triplane.server.options import OptionArguments
    from triplane.server.script import Saying, Turn

__all__ = ["FaultControl", "LocalServer", "staged"]

R = TypeVar("R")


class Watched(Protocol):
    """What a `Server` and a `ServerHandle` have in common."""

    @property
    def journal(self) -> Journal:
        """What went over its connections."""
        ...

    @property
    def requests(self) -> list[ClientRequest]:
        """What clients asked."""
        ...

    @property
    def faults(self) -> FaultPlan:
        """What is to go wrong."""
        ...

    def statistics(self) -> ServerStatistics:
        """What it has done."""
        ...


class Place(Protocol):
    """Where a server is."""

    @property
    def url(self) -> str:
        """Its WebSocket URL."""
        ...

    @property
    def http_url(self) -> str:
        """Its base URL."""
        ...


@final
class FaultControl:
    """What goes wrong with a running server; `triplane.server` has the faults there are."""

    def __init__(self, plan: Callable[[], FaultPlan], call: Callable[[Callable[[], Any]], Any]) -> None:
        self._plan = plan
        self._call = call

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self.pending}>"

    @property
    def pending(self) -> tuple[Fault, ...]:
        """Those that may yet strike."""
        faults: tuple[Fault, ...] = self._call(lambda: self._plan().faults)
        return faults

    def add(self, *faults: Fault) -> None:
        """Add faults, whose `nth` counts from now."""

        def add() -> None:
            for fault in faults:
                self._plan().add(fault)

        self._call(add)

    def clear(self) -> None:
        """Remove all faults."""
        self._call(lambda: self._plan().clear())


@final
class LocalServer:
    """A running local server. Fixtures and `open_server` make them.

    All of it may be used from a test on any event loop, or on none: what touches the server is done in its own thread,
    and takes less than a millisecond.

    Attributes:
        faults: what goes wrong.
    """

    def __init__(
        self, server: Watched, place: Place, stage: Stage | None, call: Callable[[Callable[[], Any]], Any]
    ) -> None:
        self._server = server
        self._place = place
        self._stage = stage
        self._call = call
        self.faults = FaultControl(lambda: server.faults, call)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.base_url}>"

    @property
    def url(self) -> str:
        """The WebSocket URL of the Responses endpoint."""
        return self._place.url

    @property
    def base_url(self) -> str:
        """The base URL for clients that take one, such as `openai.OpenAI(base_url=...)`."""
        return self._place.http_url

    http_url = base_url

    @property
    def requests(self) -> list[ClientRequest]:
        """What clients asked so far, and what they were answered."""
        requests: list[ClientRequest] = self._call(lambda: self._server.requests)
        return requests

    @property
    def journal(self) -> Sequence[JournalEntry]:
        """What went over the connections so far, oldest first: every request, message and event, in and out."""
        entries: Sequence[JournalEntry] = self._call(lambda: self._server.journal.entries)
        return entries

    def statistics(self) -> ServerStatistics:
        """Return a snapshot of what the server has done so far."""
        statistics: ServerStatistics = self._call(self._server.statistics)
        return statistics

    def expect(
        self, *, count: int | None = None, order: Sequence[Pattern] | None = None, **pattern: Unpack[Pattern]
    ) -> tuple[ClientRequest, ...]:
        """Assert that clients asked something so far, and return the requests.

        See `triplane.testing.Pattern` for what can be expected of a request. `count` says how many there are to be, by
        default at least one. `order` is a list of patterns to be met one after the other::

            server.expect(count=2, model="gpt-5.5", tools=["look_up"])
            server.expect(order=[{"text": "rivers"}, {"text": "facts about rivers", "previous_response_id": ...}])

        Raises:
            AssertionError: it is otherwise; the message lists the requests and what is different about each.
        """
        __tracebackhide__ = True
        return check(self.requests, count=count, order=order, **pattern)

    @property
    def errors(self) -> list[Exception]:
        """What the model raised. `check` fails for it; a test that expects an error removes it with `errors.clear()`."""
        return self._stage.errors if self._stage is not None else []

    def use(self, model: Model | str) -> None:
        """Let another model answer from now on: an object, or a built-in one by name.

        Raises:
            RuntimeError: the server has several models, see its option `model`.
        """
        if self._stage is None:
            raise RuntimeError("this server was given several models, so no other can take their place")
        self._stage.put_on(builtin_models()[model] if isinstance(model, str) else model)

    def script(self, *turns: Turn | Saying | Script | Path) -> Script:
        """Say what the server answers from now on, turn by turn; strictly, see `triplane.server.Script`.

        A turn is a `triplane.server.Turn`, or what one says: a text, a step, several in a list::

            server.script(FunctionCall("look_up", {"topic": "rivers"}), "There are many rivers.")

        A `Script` or the path of a YAML file may stand in place of all turns. Without any, `Script.conversation` of
        what is returned adds some.

        Raises:
            RuntimeError: see `use`.
            ScriptFileError: the file holds no script.
        """
        script = _to_script(turns)
        self.use(script)
        return script

    def check(self) -> None:
        """Assert that the server's scripts went as they were written, and that its model failed at nothing.

        The fixtures do it at the end of each test that has passed until then.

        Raises:
            AssertionError: it is otherwise; the message says what.
        """
        for script in self._stage.scripts if self._stage is not None else ():
            self._call(script.assert_done)
        if self.errors:
            error = self.errors[0]
            more = f", and {len(self.errors) - 1} more times" if len(self.errors) > 1 else ""
            raise AssertionError(f"the model of the server failed with {error!r}{more}") from error


def _to_script(turns: Sequence[Turn | Saying | Script | Path]) -> Script:
    if len(turns) == 1:
        if isinstance(turns[0], Script):
            return turns[0]
        if isinstance(turns[0], Path):
            from .script_file import load_script  # noqa: PLC0415 - only who has such files needs PyYAML

            return load_script(turns[0])
    return Script(cast("Sequence[Turn | Saying]", turns))  # which says what is none of these


def staged(options: OptionArguments) -> tuple[OptionArguments, Stage | None]:
    """Put the model of a server on a stage, where another may take its place. "directive" is the default.

    A mapping of several models stays what it is, and so does one that no server would take.
    """
    model = options.get("model", "directive")
    if isinstance(model, str):
        model = builtin_models().get(model, model)
    if isinstance(model, (str, type)) or not isinstance(model, Model):
        return options, None
    stage = Stage(model)
    return {**options, "model": stage}, stage
