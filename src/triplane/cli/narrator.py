"""What a run's events say: to a person the answer and notes about everything around it, to a program JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import attrs

from triplane.cli.screen import Stream
from triplane.cli.units import counted, seconds, size
from triplane.cli.untrusted import one_line, plain
from triplane.core.records import (
    ApprovalAsked,
    ApprovalGiven,
    ConnectionDropped,
    DifferencesFound,
    RequestSent,
    ResponseRetracted,
    RetryScheduled,
    RunParked,
    RunResumed,
    StillWaiting,
    ToolFinished,
    ToolStarted,
    TransportChanged,
    UndecodableFrame,
    UnknownRecord,
)
from triplane.ledger.export import as_json
from triplane.protocol import (
    ResponseOutputItemAdded,
    ResponseOutputTextDelta,
    ResponseRefusalDelta,
    ServerEvent,
    to_wire,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triplane.core.run_state import RunState
    from triplane.engine.feed import RunEvent

_LONGEST_ARGUMENTS = 100


@attrs.frozen
class Said:
    """A piece of text and where it goes. A note is one whole line of standard error, without its end."""

    stream: Stream
    text: str
    is_note: bool = False


@final
class Narrator:
    """Tells one run, event by event. Does no I/O.

    Args:
        live: Whether the answer is shown as it is written, for a terminal. If not, standard output gets the final
            text alone, exactly as the model wrote it, once the run has ended.
    """

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._numbers: dict[str, int] = {}
        self._commentary: set[int] = set()
        self._shown: list[str] = []
        self._in_line = False

    def tell(self, event: RunEvent) -> Iterator[Said]:
        """What to write for an event."""
        match event:
            case ResponseOutputItemAdded():
                if event.raw_item.get("phase") == "commentary":
                    self._commentary.add(event.output_index)
            case ResponseOutputTextDelta() | ResponseRefusalDelta():
                if self._live:
                    yield from self._tell_text(event.output_index, event.delta)
            case RequestSent():
                self._commentary.clear()
                self._shown.clear()
                yield from self._note(_request(event))
            case ToolStarted():
                number = self._numbers[event.call_id] = len(self._numbers) + 1
                arguments = one_line(event.arguments, _LONGEST_ARGUMENTS)
                yield from self._note(f"  [{number}] {one_line(event.name, 64)} {arguments}".rstrip())
            case ToolFinished():
                yield from self._note(self._finished(event))
            case ApprovalAsked():
                yield from self._note(_asked(event))
            case ApprovalGiven():
                reason = f": {one_line(event.reason)}" if event.reason else ""
                words = "approved" if event.approved else "denied"
                yield from self._note(f"{words} {one_line(event.call_id, 80)}{reason}")
            case RunParked():
                yield from self._note(f"the run is parked until {counted(len(event.approvals), 'decision')}")
            case ConnectionDropped():
                reason = one_line(event.reason) or "no reason given"
                yield from self._note(f"lost connection {event.connection} ({event.code}: {reason})")
            case ResponseRetracted():
                shown = (
                    f"; the {counted(event.shown, 'character')} of it so far do not count"
                    if event.shown
                    else ""
                )
                yield from self._note(
                    f"turn {event.turn} is tried again ({event.reason.replace('_', ' ')}){shown}"
                )
            case RunResumed():
                changes = (
                    f" with another agent: {one_line('; '.join(event.changes), 200)}" if event.changes else ""
                )
                yield from self._note(f"the run goes on{changes}")
            case RetryScheduled():
                why = ", as the server asks" if event.asked else ""
                yield from self._note(f"turn {event.turn} is tried again in {seconds(event.seconds)}{why}")
            case StillWaiting():
                yield from self._note(_waiting(event))
            case DifferencesFound():
                found = counted(len(event.differences) + len(event.irregularities), "place")
                yield from self._note(f"the server's events do not agree in {found}; see the log")
            case TransportChanged():
                name = {"websocket": "a WebSocket", "http": "HTTP"}[event.transport]
                yield from self._note(f"goes on over {name} ({event.reason.replace('_', ' ')})")
            case UnknownRecord():
                yield from self._note(
                    f"a newer Triplane has recorded something here ({one_line(event.kind)})"
                )
            case UndecodableFrame():
                yield from self._note(
                    f"the server sent something that is not an event ({one_line(event.reason)})"
                )
            case _:
                pass

    def end(self, state: RunState) -> Iterator[Said]:
        """What to write when the run has a result: the answer, where it is not shown yet, and what it took."""
        if self._live:
            shown, text = "".join(self._shown), plain(state.text)
            if not text.startswith(shown):
                yield from self.fresh_line()
                shown = ""
            yield from self._out(text[len(shown) :])
            yield from self.fresh_line()
        elif state.text:
            yield Said("out", state.text if state.text.endswith("\n") else state.text + "\n")
        yield from self._note(_summary(state))

    def _tell_text(self, output_index: int, delta: str) -> Iterator[Said]:
        text = plain(delta)
        if output_index not in self._commentary:
            self._shown.append(text)
            yield from self._out(text)
        elif text:
            yield Said("err", text)
            self._in_line = not text.endswith("\n")

    def _out(self, text: str) -> Iterator[Said]:
        if text:
            yield Said("out", text)
            self._in_line = not text.endswith("\n")

    def fresh_line(self) -> Iterator[Said]:
        """What to write so that whatever comes next begins a line."""
        if self._in_line:
            yield Said("err", "\n")
            self._in_line = False

    def _note(self, text: str) -> Iterator[Said]:
        yield from self.fresh_line()
        yield Said("err", text, is_note=True)

    def _finished(self, event: ToolFinished) -> str:
        outcome = event.outcome
        facts = [seconds(outcome.seconds), size(outcome.bytes_produced)]
        if event.call_id not in self._numbers:
            # Its code never ran: the tool is unknown, or the arguments did not fit.
            facts = [one_line(outcome.output, _LONGEST_ARGUMENTS)]
            return f"  [-] {one_line(event.name, 64)} {_words(outcome.kind)} ({', '.join(facts)})"
        if not outcome.succeeded:
            facts.append(one_line(outcome.output, _LONGEST_ARGUMENTS))
        return f"  [{self._numbers[event.call_id]}] {_words(outcome.kind)} ({', '.join(facts)})"


@final
class JsonLines:
    """Tells a run as one line of JSON for each event. Does no I/O.

    The server's events are as they were on the wire, the engine's own have a type that begins with ``triplane.``.
    """

    def tell(self, event: RunEvent) -> Iterator[Said]:
        """The event's line."""
        yield Said("out", as_json(event_as_json(event)).decode() + "\n")

    def end(self, state: RunState) -> Iterator[Said]:  # noqa: ARG002  # the last event has said it
        """Nothing."""
        yield from ()

    def fresh_line(self) -> Iterator[Said]:
        """Nothing: every line is whole."""
        yield from ()


def event_as_json(event: RunEvent) -> dict[str, Any]:
    """An event as a JSON object."""
    if isinstance(event, ServerEvent):
        return to_wire(event)
    if isinstance(event, UnknownRecord):
        return {
            "type": event.type,
            **attrs.asdict(event),
            "data": event.data.decode("utf-8", "backslashreplace"),
        }
    return {"type": event.type, **attrs.asdict(event)}


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _request(event: RequestSent) -> str:
    again = f", attempt {event.attempt}" if event.attempt > 1 else ""
    what = {
        "full": "whole conversation",
        "incremental": "new items only",
        "fork": "new items only, on another lane",
        "warm": "on a warm lane",
    }[event.plan]
    return f"turn {event.turn}{again}: {counted(event.items, 'item')}, {size(event.size)} on {event.connection} ({what})"


def _asked(event: ApprovalAsked) -> str:
    where = "" if event.server_label is None else f" of the MCP server {one_line(event.server_label, 64)}"
    why = f" ({one_line(event.note, _LONGEST_ARGUMENTS)})" if event.note else ""
    call = f"{one_line(event.name, 64)} {one_line(event.arguments, _LONGEST_ARGUMENTS)}".rstrip()
    return f"asks for approval of {one_line(event.call_id, 80)}: {call}{where}{why}"


def _waiting(event: StillWaiting) -> str:
    if event.phase == "socket_silent":
        return f"socket silent for {seconds(event.silence)} on {event.connection}: not even a pong"
    ping = "" if event.round_trip is None else f" (ping {seconds(event.round_trip)})"
    return f"model thinking for {seconds(event.silence)} on {event.connection}{ping}"


def _summary(state: RunState) -> str:
    usage = state.usage
    cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
    facts = [
        f"{state.status} after {counted(state.turns, 'turn')} and {counted(len(state.tool_calls), 'tool call')}",
        f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out",
        f"{size(state.bytes_up)} up, {size(state.bytes_down)} down",
    ]
    if state.reconnects:
        facts.append(counted(state.reconnects, "reconnect"))
    return "; ".join(facts)
