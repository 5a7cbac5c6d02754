"""Which limits and deadlines the engine imposes, and their defaults.

A caller's own deadline is a cancel scope around the call; what stands here are the limits that only the engine can
impose, since they protect something that callers share.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs

from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


def _number(*, least: float, whole: bool = False, most: float = math.inf) -> Callable[..., None]:
    """A validator that names the option, its bounds and what was given instead."""

    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        kind = "a whole number" if whole else "a number"
        accepted = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, accepted):
            raise ConfigError(f"{attribute.name} must be {kind}, not {value!r}")
        # NaN is in no interval; `math.isnan` would overflow on a whole number that no float can hold.
        if not least <= value <= most:
            upper = "" if most == math.inf else f" and at most {most:g}"
            raise ConfigError(f"{attribute.name} must be at least {least:g}{upper}, not {value!r}")
        if not whole and sys.float_info.max < value < math.inf:
            raise ConfigError(f"{attribute.name} is larger than any float; for no limit it can be math.inf")

    return check


def one_of(words: object) -> Any:  # a precise type would make checkers take the default for plain text
    """A validator for the words of a `Literal`."""
    choices = get_args(words)

    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in choices:
            listed = ", ".join(map(repr, choices))
            raise ConfigError(f"{attribute.name} must be one of {listed}, not {value!r}")

    return check


def _flag(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{attribute.name} must be True or False, not {value!r}")


def _whole_or_infinite(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value != math.inf:
        _COUNT(instance, attribute, value)


AmbiguousSends = Literal["replay_if_harmless", "replay", "raise"]
SlowLane = Literal["spill", "fail"]

_SECONDS = _number(least=0.001)
_COUNT = _number(least=1, whole=True)
_COUNT_FROM_ZERO = _number(least=0, whole=True)


@attrs.frozen(kw_only=True)
class EngineOptions:
    """What an engine may use and how long it waits. All times are in seconds, all sizes in bytes.

    Attributes:
        max_connections: WebSockets open at once to one endpoint; dialled when needed.
        lanes_per_connection: Lanes on each of them, where the server has lanes (see `Endpoint.lanes`); at most 16,
            since no more responses are in flight on one connection. With 1 no lane gets a name.
        spare_connections: How many connections are kept open beyond those in use, from the first use of an endpoint on,
            so that a run that begins finds one; never more than `max_connections` in all.
        rewarm: Whether a warm-up that nobody has used yet is made again when its connection makes way for a younger
            one. The server counts its input tokens again.
        acquire_timeout: How long a run waits for a lane before `LimitReached`; infinite by default, since a queue
            of runs is ordinary.
        max_waiters: How many runs may wait for a lane at once; one more gets `LimitReached` at once.
        dns_timeout: For resolving the endpoint's name, or its proxy's.
        tcp_timeout: For the TCP connection, to whichever of the name's addresses answers first.
        proxy_timeout: For a proxy to lead on to the endpoint.
        tls_timeout: For the TLS handshake.
        upgrade_timeout: For the HTTP upgrade to WebSocket.
        refresh_timeout: For one call of `Endpoint.refresh_key`.
        dial_attempts: How often a transient failure to connect is tried in all, the first included.
        dial_rate: Connections opened a second to one endpoint, once `dial_burst` of them were opened at once; the gaps
            between them are up to half as long again, at random. Infinite for no limit.
        dial_burst: How many connections to one endpoint may be opened at once after a rest.
        forbidden_delay: Seconds after which an upgrade that was refused with 403 is tried once more, for services that
            say so to those who open too many connections too fast; None: it is not.
        heartbeat_interval: The peer's silence after which a ping is sent.
        heartbeat_timeout: How much longer the silence may last before the connection is given up, so a dead peer
            is noticed within the sum of both.
        send_timeout: How long one request may take to be written to a peer that does not read.
        first_event_timeout: From a request's last byte to the response's first event. Reasoning models can be
            silent for minutes.
        idle_timeout: Between two events of a response; 8.5 minutes of healthy silence have been observed.
        steer_timeout: From the end of a response to the answer to a steer that has none yet; then the run goes on
            elsewhere and the next request carries what the steer said.
        fork_timeout: How long a run that could go on waits for a fork of it to begin, while both share a connection;
            then the fork sends its whole conversation instead.
        close_timeout: For the closing handshake of one connection.
        close_grace: For leaving the engine: runs say goodbye and connections close, then they are cut.
        max_message_size: The largest message accepted; a final event repeats the whole response.
        max_request_size: The largest request sent over a WebSocket; OpenAI closes with 1009 above 16 MiB. Over HTTP
            the server sets the limit.
        websocket_retry_interval: With ``transport="auto"``, how long HTTP is used at an endpoint without WebSockets
            before it is asked for one again.
        max_unread: How far a run's slowest required reader may fall behind before the run stops reading its
            socket. It goes on reading, since its log has what the reader has yet to see, on a shared connection with
            ``slow_lane="spill"``, and as long as somebody else waits in vain for a lane.
        slow_lane: What happens when a lane of a shared connection is not read. ``"spill"``: what comes for it is kept
            as long as it fits in `max_connection_buffer` with what waits for the other lanes. ``"fail"``: beyond
            `max_lane_buffer` that lane alone fails with `LimitReached`.
        max_lane_buffer: What may wait for one lane of a shared connection, with ``slow_lane="fail"``.
        max_connection_buffer: What may wait for all lanes of a shared connection; beyond it the lane for which most is
            waiting fails with `LimitReached`. A single message may be larger.
        drain_timeout: How long the answer to a request whose run was cancelled is read off before its lane is given
            up, or its connection if that has no other lanes; 0 for not at all. Reading longer would keep a place from
            others to save one handshake, and nobody knows whether a server stops generating when it is left.
        replay_attempts: How often a turn is tried again after a lost connection or a passing server error. Counted
            anew once a response of the turn has come to its end, and not by a connection that could be opened.
        ambiguous_sends: What becomes of a turn when the model may have run for a request whose answer was lost. It is
            billed again if it is repeated. ``"replay_if_harmless"`` repeats it, with full input, unless that may make
            something happen twice on the server: the request names MCP servers, a code interpreter, a hosted shell or
            a tool of a type not known to be harmless, or adds to a ``conversation``. ``"replay"`` repeats it then as
            well, and ``"raise"`` never does. Either way the log and the receipt say so. An agent can have its own.
        max_tool_concurrency: How many tool calls of all runs may be at work at once; the others wait in the order in
            which they came. An agent that serves as a tool is not counted, as it would wait for its own calls.
        strict: What becomes of a response whose events cannot all be its own: numbers that are missing or come late,
            events of another response, another `previous_response_id` or conversation than the request's. By default
            it counts all the same, and a `DifferencesFound` says so; with `strict` it ends the run as a
            `ProtocolViolation`.
        backoff_base: The second retry waits about this long (the first is immediate); each later one twice as
            long as the one before, times a random factor between 0.75 and 1.
        backoff_limit: The longest wait between two tries, whatever the server asks for.
    """

    max_connections: int = attrs.field(default=4, validator=_COUNT)
    lanes_per_connection: int = attrs.field(default=1, validator=_number(least=1, whole=True, most=16))
    spare_connections: int = attrs.field(default=0, validator=_COUNT_FROM_ZERO)
    rewarm: bool = attrs.field(default=False, validator=_flag)
    acquire_timeout: float = attrs.field(default=math.inf, validator=_SECONDS)
    max_waiters: int = attrs.field(default=10_000, validator=_COUNT)
    dns_timeout: float = attrs.field(default=10.0, validator=_SECONDS)
    tcp_timeout: float = attrs.field(default=10.0, validator=_SECONDS)
    proxy_timeout: float = attrs.field(default=10.0, validator=_SECONDS)
    tls_timeout: float = attrs.field(default=10.0, validator=_SECONDS)
    upgrade_timeout: float = attrs.field(default=15.0, validator=_SECONDS)
    refresh_timeout: float = attrs.field(default=30.0, validator=_SECONDS)
    dial_attempts: int = attrs.field(default=3, validator=_COUNT)
    dial_rate: float = attrs.field(default=20.0, validator=_number(least=0.001))
    dial_burst: int = attrs.field(default=10, validator=_COUNT)
    forbidden_delay: float | None = attrs.field(default=None, validator=attrs.validators.optional(_SECONDS))
    heartbeat_interval: float = attrs.field(default=10.0, validator=_SECONDS)
    heartbeat_timeout: float = attrs.field(default=10.0, validator=_SECONDS)
    send_timeout: float = attrs.field(default=60.0, validator=_SECONDS)
    first_event_timeout: float = attrs.field(default=600.0, validator=_SECONDS)
    idle_timeout: float = attrs.field(default=600.0, validator=_SECONDS)
    steer_timeout: float = attrs.field(default=10.0, validator=_SECONDS)
    fork_timeout: float = attrs.field(default=5.0, validator=_SECONDS)
    close_timeout: float = attrs.field(default=1.0, validator=_SECONDS)
    close_grace: float = attrs.field(default=2.0, validator=_SECONDS)
    max_message_size: int = attrs.field(default=64 * 2**20, validator=_COUNT)
    max_request_size: int = attrs.field(default=16 * 2**20, validator=_COUNT)
    websocket_retry_interval: float = attrs.field(default=300.0, validator=_SECONDS)
    max_unread: int = attrs.field(default=4 * 2**20, validator=_COUNT)
    slow_lane: SlowLane = attrs.field(default="spill", validator=one_of(SlowLane))
    max_lane_buffer: int = attrs.field(default=4 * 2**20, validator=_COUNT)
    max_connection_buffer: int = attrs.field(default=64 * 2**20, validator=_COUNT)
    drain_timeout: float = attrs.field(default=5.0, validator=_number(least=0))
    replay_attempts: int = attrs.field(default=4, validator=_COUNT_FROM_ZERO)
    ambiguous_sends: AmbiguousSends = attrs.field(
        default="replay_if_harmless", validator=one_of(AmbiguousSends)
    )
    max_tool_concurrency: float = attrs.field(default=math.inf, validator=_whole_or_infinite)
    strict: bool = attrs.field(default=False, validator=_flag)
    backoff_base: float = attrs.field(default=0.5, validator=_SECONDS)
    backoff_limit: float = attrs.field(default=30.0, validator=_SECONDS)


@attrs.frozen(kw_only=True)
class RunLimits:
    """How far one run may go before `LimitReached` ends it.

    Attributes:
        max_turns: Requests that the run may make; a replayed one counts once.
        max_tool_calls: Tool calls that the run may make.
        repeated_failure: How often in a row the same tool may fail for the same arguments. A model that does not learn
            from the error will not the next time either.
    """

    max_turns: int = attrs.field(default=100, validator=_COUNT)
    max_tool_calls: int = attrs.field(default=1_000, validator=_COUNT)
    repeated_failure: int = attrs.field(default=5, validator=_COUNT)
