"""Which errors callers can meet: one closed list, each with its facts and a receipt.

Everything that Triplane raises on purpose derives from `TriplaneError` and is one of these:

* `ConfigError`: what you asked for cannot work; nothing was started.
* `EngineClosed`: the engine has been left, or is being left.
* `ConnectFailed`: no WebSocket could be opened (which stage, which HTTP status, what body).
* `ConnectionLost`: a WebSocket ended under a request (close code, reason, who closed).
* `Stalled`: the peer was silent for longer than an option allows (which phase, how long).
* `ServerError`: the server answered with an error (code, status, param, delay).
* `ProtocolViolation`: the peer sent something that is not the protocol (an excerpt).
* `RunFailed`: the model's response ended in failure, or recovery ran out of attempts.
* `ApprovalRequired`: the run is parked until a person decides.
* `LimitReached`: a limit that you or the defaults set was reached (which one).
* `LedgerCorrupt`: a ledger's file is not what it should be (where).
* `LedgerFailed`: a ledger could not do what it was asked for (which operation, why).
* `McpFailed`: an MCP server could not be opened, or was lost under a call (which server, what it said last).

Two kinds of misuse keep Trio's own names, as Trio's users expect: two tasks in one object is
`trio.BusyResourceError`, use after close is `trio.ClosedResourceError`.

Policy reads the fields of an error, never its text. The text says what to do.
"""

# ruff: noqa: N818  # the names say what happened, as Trio's do: `ConnectionLost`, not `ConnectionLostError`

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

import attrs

from .approval_records import ApprovalAsked

if TYPE_CHECKING:
    from triplane.protocol import ErrorDetail

Sent = Literal["nothing", "ambiguous", "accepted", "finished"]
SafeNext = Literal["retry", "resume", "inspect", "change"]
ConnectStage = Literal["url", "auth", "dns", "tcp", "proxy", "tls", "upgrade"]
LedgerOperation = Literal["open", "claim", "write", "read"]
LedgerTrouble = Literal["full", "io", "read_only", "locked", "claimed", "claim_lost", "closed", "forked"]
McpMoment = Literal["open", "call"]
StallPhase = Literal["heartbeat", "first_event", "between_events", "send", "steer"]


@attrs.frozen
class Effect:
    """One tool call whose side effect may have happened.

    Attributes:
        call_id: The id the model gave the call.
        tool: The tool's name.
        outcome: The outcome's kind, or ``"unknown"`` when the call started and did not report back.
    """

    call_id: str
    tool: str
    outcome: str


@attrs.frozen
class Receipt:
    """What is known to have happened when an error was raised.

    Attributes:
        sent: How far the request in hand got: ``"nothing"`` left this process; ``"ambiguous"`` means that
            sending began and no answer was seen, so the model may have run; ``"accepted"`` means that the
            server began a response; ``"finished"`` means that its terminal event arrived. Of a request that
            was to be sent once more and could not be, it is how far it got before.
        shown: How many characters of that response's text readers could already have seen.
        effects: The tool calls of the run that started, in order.
        next: What is safe: ``"retry"`` the same call; ``"resume"`` the run from its log, by `Run.fork`; ``"inspect"``
            the effects whose outcome is unknown before doing either; ``"change"`` the request or the
            configuration, since the same again would fail the same way.
    """

    sent: Sent = "nothing"
    shown: int = 0
    effects: tuple[Effect, ...] = ()
    next: SafeNext = "retry"


_NOTHING_HAPPENED = Receipt()
_ADVICE: Mapping[int, str] = {
    401: "check the API key",
    403: "check that the API key may use this model and endpoint",
}
_WOULD_FAIL_AGAIN = Receipt(next="change")


@attrs.define(slots=False, eq=False, repr=False)
class TriplaneError(Exception):
    """The base of every error that Triplane raises on purpose.

    Attributes:
        message: One or two sentences: what happened and what to do.
        receipt: What was sent and shown, which effects happened, what is safe next.
    """

    message: str
    receipt: Receipt = attrs.field(default=_NOTHING_HAPPENED, kw_only=True)

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        # Written once, and not generated for each class at every import.
        facts = (f"{a.name}={getattr(self, a.name)!r}" for a in attrs.fields(type(self)))
        return f"{type(self).__name__}({', '.join(facts)})"

    def again(self) -> Self:
        """A copy with the same facts and the same cause.

        One exception object must not be raised in several tasks: they would write into each other's traceback.
        """
        copied = copy.copy(self)
        copied.__cause__ = self.__cause__
        return copied

    def __reduce__(self) -> tuple[object, ...]:
        # An exception is copied and pickled by calling its class with `args`, which keyword-only fields do not allow.
        return _empty, (type(self), self.args), self.__dict__


def _empty(cls: type[TriplaneError], args: tuple[object, ...]) -> TriplaneError:
    return cls.__new__(cls, *args)


@attrs.define(slots=False, eq=False, repr=False)
class ConfigError(TriplaneError):
    """What was asked for cannot work. Raised before anything is started."""

    receipt: Receipt = attrs.field(default=_WOULD_FAIL_AGAIN, kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class EngineClosed(TriplaneError):
    """The engine was used after its context manager was left, or while it was being left."""

    message: str = "this engine is closed; open a new one with triplane.open_engine()"
    receipt: Receipt = attrs.field(default=_WOULD_FAIL_AGAIN, kw_only=True)


@attrs.frozen
class CloseInfo:
    """How a connection ended, in the words of WebSockets.

    Attributes:
        code: The close code of RFC 6455; 1006 when no close frame was seen.
        reason: The peer's words, at most 123 bytes by the RFC; or ours.
        by: ``"peer"``, ``"us"``, or ``"network"`` when the bytes just stopped.
    """

    code: int = 1006
    reason: str = ""
    by: Literal["peer", "us", "network"] = "network"


@attrs.define(slots=False, eq=False, repr=False)
class ConnectFailed(TriplaneError):
    """No connection could be opened.

    Attributes:
        stage: Where it failed: ``"url"``, ``"auth"`` (`Endpoint.refresh_key` gave no fresh key), ``"dns"``, ``"tcp"``,
            ``"proxy"``, ``"tls"`` or ``"upgrade"``.
        status: The HTTP status with which the server, or a proxy, refused; else None.
        body: At most 2,000 characters of the refusal's body, else the empty string.
        retry_after: Seconds the server asked to wait (``Retry-After``), else None.
        location: Where the server redirected to (``Location``), else None.
        close: How the server closed the WebSocket, when it let us in and put us out at once; else None.
        attempts: How many times it was tried.
    """

    stage: ConnectStage = attrs.field(kw_only=True)
    status: int | None = attrs.field(default=None, kw_only=True)
    body: str = attrs.field(default="", kw_only=True)
    retry_after: float | None = attrs.field(default=None, kw_only=True)
    location: str | None = attrs.field(default=None, kw_only=True)
    close: CloseInfo | None = attrs.field(default=None, kw_only=True)
    attempts: int = attrs.field(default=1, kw_only=True)
    receipt: Receipt = attrs.field(
        default=attrs.Factory(
            lambda self: _NOTHING_HAPPENED if self.is_transient else _WOULD_FAIL_AGAIN, takes_self=True
        ),
        kw_only=True,
    )

    @property
    def is_transient(self) -> bool:
        """Whether the same attempt may succeed later: the network, an answer cut short, 408, 425, 429 and 5xx."""
        if self.close is not None or self.stage == "auth":
            return False
        if self.stage in ("dns", "tcp") or (self.stage in ("proxy", "upgrade") and self.status is None):
            return True
        return self.status is not None and (self.status in (408, 425, 429) or 500 <= self.status < 600)

    @property
    def is_auth_refusal(self) -> bool:
        """Whether the server does not let this key in: 401 or 403, or a close for that reason right after the 101.

        Also true when a fresh key was needed and could not be had.
        A 403 can also mean that too many connections were opened, or too fast; servers do not say which.
        """
        if self.stage == "auth":
            return True
        return self.stage == "upgrade" and (self.status in (401, 403) or self.close is not None)

    @property
    def is_unsupported(self) -> bool:
        """Whether something answers there that knows no WebSocket mode, which trying again does not change.

        That is an upgrade answered with 404, 405 (servers that know only ``POST`` there), 426, or a success that is
        not a switch of protocols. The same turn may work over HTTP.
        """
        status = self.status
        return (
            self.stage == "upgrade"
            and status is not None
            and (status in (404, 405, 426) or 200 <= status < 300)
        )


@attrs.define(slots=False, eq=False, repr=False)
class ConnectionLost(TriplaneError):
    """A connection ended while something was still expected from it.

    Attributes:
        close: How it ended.
        connection: The connection's name in logs and statistics.
    """

    close: CloseInfo = attrs.field(factory=CloseInfo, kw_only=True)
    connection: str = attrs.field(default="", kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class Stalled(TriplaneError):
    """The peer was silent for longer than an option allows.

    Attributes:
        phase: ``"heartbeat"``: no bytes and no pong; ``"first_event"``: a request got no first event;
            ``"between_events"``: a response stopped half-way; ``"send"``: the peer stopped reading; ``"steer"``: a
            steer was not answered although its response had ended.
        silence: Seconds of silence when it was noticed.
    """

    phase: StallPhase = attrs.field(kw_only=True)
    silence: float = attrs.field(kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class ServerError(TriplaneError):
    """The server answered with an error.

    Attributes:
        code: The server's code, such as ``"previous_response_not_found"``, or None.
        status: The HTTP-like status, or None when the server gave none.
        param: The request field that the server complains about, or None.
        type: The server's class of error, such as ``"invalid_request_error"``, or None.
        headers: Header facts that came with the error; values are strings.
        retry_after: Seconds to wait, where the server said so, else None.
    """

    code: str | None = attrs.field(default=None, kw_only=True)
    status: int | None = attrs.field(default=None, kw_only=True)
    param: str | None = attrs.field(default=None, kw_only=True)
    type: str | None = attrs.field(default=None, kw_only=True)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    retry_after: float | None = attrs.field(default=None, kw_only=True)

    @classmethod
    def from_detail(cls, detail: ErrorDetail, *, receipt: Receipt = _NOTHING_HAPPENED) -> ServerError:
        """Build the error from the protocol's normalised facts."""
        words = detail.message or "the server gave no message"
        label = detail.code or detail.type or "error"
        status = "" if detail.status is None else f" ({detail.status})"
        advice = _ADVICE.get(detail.status or 0, "")
        return cls(
            f"the server answered {label}{status}: {words}{'' if advice in words else f'; {advice}'}",
            code=detail.code,
            status=detail.status,
            param=detail.param,
            type=detail.type,
            headers=detail.headers,
            retry_after=detail.retry_after,
            receipt=receipt,
        )


@attrs.define(slots=False, eq=False, repr=False)
class ProtocolViolation(TriplaneError):
    """The peer sent something that is not the protocol.

    Attributes:
        excerpt: At most 200 redacted bytes of it.
    """

    excerpt: str = attrs.field(default="", kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class RunFailed(TriplaneError):
    """A run has no result, since its response or a tool failed or it was cancelled; or it has ended and takes nothing more.

    The last fault is the ``__cause__`` where there is one.

    Attributes:
        run_id: The run.
        code: Why: ``"run_ended"``, it takes nothing more; ``"tool_failed"``, a tool did whose ``on_error`` is ``"raise"``;
            ``"ambiguous_send"``, its request must not be repeated; ``"unanswered_calls"``, its input holds calls without
            their outputs. Else the error code of the response, such as ``"server_error"``, or None.
        attempts: How often the turn was tried.
    """

    run_id: str = attrs.field(default="", kw_only=True)
    code: str | None = attrs.field(default=None, kw_only=True)
    attempts: int = attrs.field(default=1, kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class ApprovalRequired(TriplaneError):
    """The run is parked: calls wait for a person's decision. It has not failed, and its log says so.

    Attributes:
        run_id: The run, which `Engine.resume` continues with the decisions.
        approvals: What is to be decided.
    """

    run_id: str = attrs.field(kw_only=True)
    approvals: tuple[ApprovalAsked, ...] = attrs.field(default=(), kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class LimitReached(TriplaneError):
    """A limit that you or the defaults set was reached.

    Attributes:
        which: The limit's option name, such as ``"acquire_timeout"`` or ``"max_turns"``.
        limit: Its value.
    """

    which: str = attrs.field(kw_only=True)
    limit: float = attrs.field(kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class McpFailed(TriplaneError):
    """An MCP server could not be started or reached, or was lost before a call had its answer.

    `tools.mcp.open_mcp` raises it. Of a call it is what the tool failed with, so the model is told, and what it called for may
    have been done.

    Attributes:
        server: The server's name.
        moment: ``"open"``, or ``"call"`` when the server had been there.
        exit_status: How its process ended, negative for a signal; None where there is none, or it has not ended.
        stderr: What its process wrote to stderr last, at most 2,000 characters without what looks like a secret.
    """

    server: str = attrs.field(kw_only=True)
    moment: McpMoment = attrs.field(kw_only=True)
    exit_status: int | None = attrs.field(default=None, kw_only=True)
    stderr: str = attrs.field(default="", kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class LedgerCorrupt(TriplaneError):
    """A ledger cannot be read; nothing was guessed and nothing was changed.

    Attributes:
        path: The file.
        offset: The byte, or the record's sequence number, where reading stopped.
    """

    path: str = attrs.field(kw_only=True)
    offset: int = attrs.field(kw_only=True)
    receipt: Receipt = attrs.field(default=_WOULD_FAIL_AGAIN, kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class LedgerFailed(TriplaneError):
    """A ledger could not do what it was asked for. What had been made durable before is there.

    What a run has appended and could not write stays in memory and is tried again with the next write; but the run that
    waited for it ends here, before whatever it wanted to do next.

    Attributes:
        path: The file, empty for a ledger without one.
        operation: ``"open"``, ``"claim"`` (get the right to continue a run), ``"write"`` or ``"read"``.
        reason: ``"full"`` (no space left), ``"io"`` (the disk), ``"read_only"``, ``"locked"`` (other processes held the
            file for longer than `busy_timeout`), ``"claimed"`` (another engine drives this run, or
            has just begun it: wait for its end, then ask again), ``"claim_lost"`` (another engine has taken the run
            over, since this one seemed to be dead), ``"closed"`` (the ledger was left) or ``"forked"`` (it was opened
            in another process, of which this one is a fork).
    """

    path: str = attrs.field(default="", kw_only=True)
    operation: LedgerOperation = attrs.field(kw_only=True)
    reason: LedgerTrouble = attrs.field(kw_only=True)
    receipt: Receipt = attrs.field(default=Receipt(next="resume"), kw_only=True)
