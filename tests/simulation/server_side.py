"""What did the server see, and what does that say about the client? Read off its journal alone."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from .invariants import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from triplane.server import JournalEntry

_LABEL = re.compile(r"#(\S+)")
_TERMINAL = ("response.completed", "response.incomplete", "response.failed")
# What makes an error one that the scenario wanted.
_LIMIT = "websocket_connection_limit_reached"
_ASKED_FOR = ("asked for", _LIMIT, "did not arrive in time")
_Lane = tuple[int, str | None]


@attrs.define(eq=False)
class Create:
    """A request as the server got it.

    Attributes:
        entry: Its number in the journal.
        connection: The connection's number.
        label: Whose it is; None for a warm-up.
        parent: The response that it continues.
        items: Its input.
        size: Its bytes; None over HTTP, where it is written otherwise.
        conversation: Everything that it puts before the model; None if that cannot be known.
        stored: Whether its response can be continued from anywhere.
        is_warm_up: Whether it generates nothing.
        done: The items that the server has sent for it.
        response_id: Of the response that answers it.
        ended: How that ended, ``"error"`` without one.
        run_id: Whose log it was found in.
        turn: Where it was found there.
    """

    entry: int
    connection: int
    label: str | None
    parent: str | None
    items: list[dict[str, Any]]
    size: int | None
    conversation: list[dict[str, Any]] | None
    stored: bool
    is_warm_up: bool
    done: list[dict[str, Any]] = attrs.Factory(list)
    response_id: str | None = None
    ended: str | None = None
    run_id: str | None = None
    turn: int | None = None


@attrs.define(eq=False)
class Response:
    """A response that can be continued, for all that the server has said.

    Attributes:
        create: What it answers.
        lane: Where.
        conversation: Up to its end; None if that cannot be known.
        evicted: Whether an error made the server forget it.
    """

    create: Create
    lane: _Lane
    conversation: list[dict[str, Any]] | None
    evicted: bool = False


class ServerSide:
    """The frames of all connections, in the order in which the server saw and sent them.

    Attributes:
        received: The requests by label.
        of_response: The request that each response answers, by the response's id.
        astray: Connections on which a fault made the server send an error behind the end of a response. Nothing says
            that it is no answer to the next request, so what follows there cannot be told apart by anybody.
    """

    def __init__(self, tell: Callable[[str], None], *, has_lanes: bool) -> None:
        self._tell = tell
        self._has_lanes = has_lanes
        self._open: dict[_Lane, Create] = {}
        self._latest: dict[_Lane, str] = {}
        self._responses: dict[str, Response] = {}
        self.received: defaultdict[str | None, list[Create]] = defaultdict(list)
        self.of_response: dict[str, Create] = {}
        self.astray: set[int] = set()
        self._cut_short: set[int] = set()

    def take(self, entry: JournalEntry) -> Create | None:
        """Look at the next entry; return the request that it is, if it is one."""
        if entry.kind == "upgrade" and entry.direction == "out":
            self._tell(f"server: connection {entry.connection} upgraded {dict(entry.fields)}")
        if entry.kind == "close":
            self._tell(f"server: connection {entry.connection} closed {entry.direction} {dict(entry.fields)}")
        if entry.kind == "answer" and entry.fields["status"] < 400:
            # Its events follow.
            return None
        if entry.kind not in ("message", "request", "answer", "event"):
            return None
        try:
            message = orjson.loads(entry.text)
        except orjson.JSONDecodeError:
            message = None
        if entry.kind == "request" and entry.size < int(entry.fields["headers"].get("content-length", 0)):
            # Whoever asked was cancelled, or the network broke. HTTP lets a server answer that (RFC 9112, section 8).
            self._tell(f"server: connection {entry.connection} is asked by half a request")
            self._cut_short.add(entry.connection)
            return None
        if not isinstance(message, dict):
            self._tell(f"server: connection {entry.connection} sends what is no JSON")
            return None
        if entry.kind == "answer":
            if entry.connection in self._cut_short and entry.fields["status"] == 400:
                return None
            self._failed((entry.connection, None), self._open.get((entry.connection, None)), entry)
            return None
        if entry.direction == "out":
            self._sent(entry, message)
            return None
        kind = message.get("type")
        if kind == "response.steer":
            self._tell(f"server: connection {entry.connection} is sent {entry.text[:150]}")
            return None
        require("refused", entry.kind == "request" or kind == "response.create", f"the client sent {kind}")
        return self._create(entry, message)

    def _create(self, entry: JournalEntry, message: dict[str, Any]) -> Create:
        lane = (entry.connection, message.get("stream_id") if self._has_lanes else None)
        busy = self._open.get(lane)
        may_be = busy is None or entry.connection in self.astray
        require("busy lane", may_be, f"connection {lane} still owes an answer to {busy}")
        given = message.get("input") or []
        items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given
        parent = message.get("previous_response_id")
        before: list[dict[str, Any]] | None = []
        label = None
        if parent is not None:
            known = self._known(parent, entry.connection)
            # Over HTTP there is no connection that remembers anything.
            require("known id", known.create.stored or entry.kind == "message", f"{parent} was not stored")
            before, label = known.conversation, known.create.label
        for item in items:
            if item.get("role") == "user" and (match := _LABEL.match(str(item["content"]))):
                label = match[1]
        create = Create(
            entry.number,
            entry.connection,
            label,
            parent,
            items,
            entry.size if entry.kind == "message" else None,
            None if before is None else before + items,
            bool(message.get("store", True)),
            message.get("generate") is False,
        )
        self._tell(
            f"server: connection {entry.connection} asked by {label}: {len(items)} items, after {parent}"
        )
        if create.conversation is not None:
            _check_pairs(create.conversation)
        self._open[lane] = create
        self.received[label].append(create)
        return create

    def _known(self, parent: str, connection: int) -> Response:
        known = self._responses.get(parent)
        require("known id", known is not None, f"{parent} was never made")
        assert known is not None
        if not known.create.stored:
            require("evicted", not known.evicted, f"{parent} was forgotten because of an error")
            require(
                "known id", known.lane[0] == connection, f"{parent} is of connection {known.lane[0]} alone"
            )
            latest = self._latest.get(known.lane)
            require("known id", latest == parent, f"{parent} is no longer the latest of its lane: {latest}")
        return known

    def _sent(self, entry: JournalEntry, event: dict[str, Any]) -> None:
        lane = (entry.connection, event.get("stream_id"))
        create = self._open.get(lane)
        kind = event.get("type")
        response = event.get("response")
        if kind == "response.created" and create is None:
            create = self._succeeds(lane, response)
        # A fault may have left out the first of them.
        if isinstance(response, dict) and create is not None and create.response_id is None:
            create.response_id = response["id"]
            self.of_response[response["id"]] = create
        if kind == "response.output_item.done" and create is not None:
            create.done.append(event["item"])
        elif kind in _TERMINAL and create is not None and response["id"] == create.response_id:
            self._ended(lane, create, response)
        elif kind in ("error", "response.error") or (kind is None and "error" in event):
            self._failed(lane, create, entry)

    def _succeeds(self, lane: _Lane, response: dict[str, Any]) -> Create | None:
        """The response follows by itself on one that was steered. What steers say makes no difference to calls."""
        before = self._responses.get(response.get("previous_response_id") or "")
        if before is None or response["id"] in self.of_response:
            return None
        create = self._open[lane] = attrs.evolve(
            before.create,
            parent=response["previous_response_id"],
            conversation=before.conversation,
            done=[],
            response_id=None,
            ended=None,
        )
        return create

    def _ended(self, lane: _Lane, create: Create, response: dict[str, Any]) -> None:
        create.ended = response["status"]
        self._tell(f"server: {response['id']} for {create.label} is {create.ended}")
        del self._open[lane]
        if create.ended == "failed":
            return
        conversation = create.conversation
        if conversation is not None:
            conversation = conversation + (response.get("output") or create.done)
        self._responses[response["id"]] = Response(create, lane, conversation)
        self._latest[lane] = response["id"]

    def _failed(self, lane: _Lane, create: Create | None, entry: JournalEntry) -> None:
        if "'response.steer'" in entry.text:
            # It does not know steers, and goes on.
            return
        asked_for = any(words in entry.text for words in _ASKED_FOR)
        refused_warm_up = create is not None and create.is_warm_up
        require("refused", asked_for or refused_warm_up, f"the server said {entry.text[:300]}")
        self._tell(f"server: connection {lane[0]} says {entry.text[:150]}")
        if create is None:
            self.astray |= set() if _LIMIT in entry.text else {lane[0]}
            return
        create.ended = "error"
        if _LIMIT in entry.text:
            # What is in flight may go on after the announcement, and nothing may begin.
            return
        del self._open[lane]
        parent = self._responses.get(create.parent or "")
        if parent is not None and parent.lane == lane:
            parent.evicted = True


def _check_pairs(conversation: list[dict[str, Any]]) -> None:
    calls: dict[str, bool] = {}
    outputs: list[str] = []
    for item in conversation:
        if item.get("type") == "function_call":
            calls[item["call_id"]] = item.get("async") is True
        elif item.get("type") == "function_call_output":
            outputs.append(item["call_id"])
            require(
                "known call", item["call_id"] in calls, f"an output for {item['call_id']}, which no call has"
            )
    # Those of calls that the model does not wait for may come later.
    due = [call_id for call_id, is_async in calls.items() if not is_async or call_id in outputs]
    require("one output", sorted(due) == sorted(outputs), f"calls {calls} with outputs {outputs}")
