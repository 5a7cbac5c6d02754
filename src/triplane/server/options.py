"""The options of a server and what its connections share."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal, TypedDict, final

import attrs
import trio
from attrs.validators import deep_iterable, ge, gt, in_, instance_of, lt, min_len, optional

from .catalog import Catalog, ModelChoice
from .conversations import ConversationStore
from .dialect import DIALECTS, Dialect, Mode
from .errors import OptionError
from .faults.catalogue import KINDS, Fault
from .faults.chaos import Chaos
from .faults.fields import CLOSE_CODES
from .faults.plan import FaultPlan
from .ids import Ids
from .journal import Journal
from .physics import Pace, Physics
from .store import ResponseStore
from .websocket.lifetime import AGE_POLICIES, AgePolicy
from .websocket.wire import Traffic

__all__ = ["OptionArguments", "Options", "ServerStatistics", "Shared"]


class OptionArguments(TypedDict, total=False):
    """The keyword arguments of `Options`, which `serve` and `Server` take."""

    model: ModelChoice
    strict_models: bool
    mode: Mode
    latency: float
    delta_delay: float
    first_token_delay: float
    tokens_per_second: float | None
    jitter: float
    network_latency: float
    bandwidth: float | None
    seed: int
    api_key: str | None
    warm_up: Literal["accept", "refuse"]
    faults: Iterable[Fault]
    chaos: Chaos | None
    ids: Ids | None
    epoch: float | None
    max_stored: int
    max_message_size: int
    max_queued_bytes: int
    max_lanes: int
    max_in_flight: int
    max_age: float | None
    on_max_age: AgePolicy
    max_age_close_code: int | None
    steering_models: Iterable[str]
    max_pending_steers: int
    injection_wait: float
    handshake_timeout: float
    send_timeout: float
    close_timeout: float
    keep_alive_timeout: float
    body_timeout: float
    max_body_size: int
    max_journal: int
    control: bool
    allowed_hosts: Iterable[str]
    allowed_origins: Iterable[str]


def _to_faults(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    if not isinstance(faults, Iterable):
        raise TypeError(f"faults must be a list of them, not {type(faults).__name__}")
    return tuple(faults)


def _to_names(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"a list of names is needed, not the single {names!r}")
    return tuple(names)


def _catalog(options: Options) -> Catalog:
    return Catalog.of(options.model, strict=options.strict_models)


def _close_code(_instance: object, attribute: attrs.Attribute[int], value: int | None) -> None:
    if value is not None and value not in CLOSE_CODES:
        raise ValueError(
            f"{attribute.name} must be a code that a close frame can carry, or None, not {value!r}"
        )


_seconds = attrs.field(default=0.0, validator=[instance_of((int, float)), ge(0)])


def _above_zero(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"{attribute.name} must be a number above 0")


_rate = attrs.field(default=None, validator=optional(_above_zero))


@final
@attrs.frozen(kw_only=True)
class Options:
    """How a server behaves.

    Attributes:
        model: which model answers requests for models the server does not know; see `Catalog.of`.
        strict_models: refuse unknown model names even so.
        mode: which server this one is like; see `triplane.server.dialect`. "openai" has everything; "azure" and "xai"
            have no lanes and no steering, and xAI's connections last 25 minutes; "spec" is the Open Responses
            specification to the letter; "rejecting" refuses a create while a response is in flight.
        latency: seconds before the first event of each response.
        delta_delay: seconds before each delta.
        first_token_delay: seconds between `response.in_progress` and what the model says first.
        tokens_per_second: how fast the model writes; None for at once.
        jitter: by how much each wait of the model may differ, as a share of it; below 1.
        network_latency: seconds that bytes take from one side to the other.
        bandwidth: bytes per second to each client; None for as fast as it goes. A write that takes longer than
            `send_timeout` ends the connection, however it came to be slow.
        seed: what decides by how much waits differ.
        api_key: what clients must send as Bearer token; None lets everyone in. Never logged, shown or sent.
        warm_up: "refuse" makes `generate` an unsupported parameter, as it is for older servers.
        faults: what goes wrong; see `triplane.server.faults`.
        chaos: a source of more faults, at random.
        ids: where ids come from; by default a source with a random seed.
        epoch: the wall-clock time at which the server's clock starts; by default the time it is. All timestamps are
            this plus trio's clock, so with a fixed epoch and a mock clock they are predictable.
        max_stored: how many responses with `store: true` are kept.
        max_message_size: bytes in a client's message; a larger one closes the connection with 1009. OpenAI's limit was
            measured at 16 MiB.
        max_queued_bytes: how much of a client's messages may wait while a response is being sent; when there is
            more, the server stops reading from that client.
        max_lanes: how many lanes with names a connection can have in its life.
        max_in_flight: how many responses of a connection are made at a time; more of them wait.
        max_age: seconds until a connection reaches its limit, after which no response begins on it; infinity for
            never, None for the limit of the mode, which is one hour, or 25 minutes for "xai".
        on_max_age: when the client hears of it: "finish" tells it once nothing is in flight; "announce" tells it at
            once and lets what is in flight go on to its end; "cut" tells it at once and ends all responses;
            "next_create" tells it only as the answer to its next create.
        max_age_close_code: the code with which the connection is closed then; None leaves it open.
        steering_models: patterns such as "gpt-6*" for the names of the models whose responses can be steered; by
            default all of them.
        max_pending_steers: how many steers of one response can be waiting to be committed.
        injection_wait: seconds that a response of the multi-agent beta waits for the outputs of its calls, to come by
            `response.inject`, before it completes without them.
        handshake_timeout: seconds a client has for its request head and upgrade.
        send_timeout: seconds a write may take before the client is given up for dead.
        close_timeout: seconds a client has to answer a close frame.
        keep_alive_timeout: seconds an HTTP connection may be idle between requests.
        body_timeout: seconds a client has for the body of an HTTP request.
        max_body_size: bytes in the body of an HTTP request; a larger one is answered with 413.
        max_journal: bytes of room in the journal; when there is no more, its oldest entries go. 0 turns it off.
        control: whether there is anything at `/_triplane/`.
        allowed_hosts: names, beside those of this machine and the address itself, by which clients may address the
            server: what stands in `Host`. "*" is all of them.
        allowed_origins: origins of web pages, such as "https://example.org", that may use the server; pages of this
            machine may anyway. "*" is all of them.
    """

    model: ModelChoice = None
    strict_models: bool = attrs.field(default=False, validator=instance_of(bool))
    mode: Mode = attrs.field(default="openai", validator=in_(tuple(DIALECTS)))
    latency: float = _seconds
    delta_delay: float = _seconds
    first_token_delay: float = _seconds
    tokens_per_second: float | None = _rate
    jitter: float = attrs.field(default=0.0, validator=[instance_of((int, float)), ge(0), lt(1)])
    network_latency: float = _seconds
    bandwidth: float | None = _rate
    seed: int = attrs.field(default=0, validator=instance_of(int))
    api_key: str | None = attrs.field(default=None, repr=False, validator=optional(min_len(1)))
    warm_up: Literal["accept", "refuse"] = attrs.field(default="accept", validator=in_(("accept", "refuse")))
    faults: tuple[Fault, ...] = attrs.field(
        default=(), converter=_to_faults, validator=deep_iterable(instance_of(tuple(KINDS.values())))
    )
    chaos: Chaos | None = attrs.field(default=None, validator=optional(instance_of(Chaos)))
    ids: Ids | None = None
    epoch: float | None = None
    max_stored: int = attrs.field(default=1024, validator=ge(0))
    max_message_size: int = attrs.field(default=16 * 1024 * 1024, validator=gt(0))
    max_queued_bytes: int = attrs.field(default=32 * 1024 * 1024, validator=gt(0))
    max_lanes: int = attrs.field(default=32, validator=ge(0))
    max_in_flight: int = attrs.field(default=16, validator=ge(1))
    max_age: float | None = _rate
    on_max_age: AgePolicy = attrs.field(default="finish", validator=in_(AGE_POLICIES))
    max_age_close_code: int | None = attrs.field(default=1000, validator=_close_code)
    steering_models: tuple[str, ...] = attrs.field(
        default=("*",), converter=_to_names, validator=deep_iterable(instance_of(str))
    )
    max_pending_steers: int = attrs.field(default=16, validator=ge(1))
    injection_wait: float = attrs.field(default=30.0, validator=[instance_of((int, float)), gt(0)])
    handshake_timeout: float = attrs.field(default=10.0, validator=gt(0))
    send_timeout: float = attrs.field(default=60.0, validator=gt(0))
    close_timeout: float = attrs.field(default=1.0, validator=gt(0))
    keep_alive_timeout: float = attrs.field(default=120.0, validator=gt(0))
    body_timeout: float = attrs.field(default=60.0, validator=gt(0))
    max_body_size: int = attrs.field(default=64 * 1024 * 1024, validator=gt(0))
    max_journal: int = attrs.field(default=32 * 1024 * 1024, validator=ge(0))
    control: bool = attrs.field(default=True, validator=instance_of(bool))
    allowed_hosts: tuple[str, ...] = attrs.field(
        default=(), converter=_to_names, validator=deep_iterable(instance_of(str))
    )
    allowed_origins: tuple[str, ...] = attrs.field(
        default=(), converter=_to_names, validator=deep_iterable(instance_of(str))
    )
    catalog: Catalog = attrs.field(init=False, repr=False, default=attrs.Factory(_catalog, takes_self=True))

    @property
    def dialect(self) -> Dialect:
        """What the mode stands for."""
        return DIALECTS[self.mode]

    @property
    def age_limit(self) -> float:
        """Seconds until a connection reaches its limit."""
        return self.dialect.max_age if self.max_age is None else self.max_age

    @classmethod
    def of(cls, arguments: OptionArguments) -> Options:
        """Make the options of these arguments.

        Raises:
            OptionError: an argument has a value that it cannot have, or is unknown.
        """
        try:
            return cls(**arguments)
        except (TypeError, ValueError) as exc:
            # attrs puts the message first and the particulars of its validator after it.
            raise OptionError(exc.args[0]) from exc


@attrs.define
class _Counters:
    connections_opened: int = 0
    connections_closed: int = 0
    upgrades: int = 0
    upgrades_refused: int = 0
    requests: int = 0
    requests_refused: int = 0
    responses_created: int = 0
    responses_completed: int = 0
    turns: int = 0
    events_sent: int = 0


@final
@attrs.frozen
class ServerStatistics:
    """What a server has done so far.

    Attributes:
        connections_now: TCP connections open, WebSocket or not.
        connections_opened: ever.
        connections_closed: ever.
        upgrades: well-formed requests for a WebSocket with the right key.
        upgrades_refused: those of them that a fault refused.
        requests: messages received over WebSockets, and requests for responses over HTTP.
        requests_refused: those of them answered with an error.
        responses_created: responses begun, warm-ups included.
        responses_completed: those of them that completed.
        turns: completed responses for which a model was asked.
        events_sent: events of responses and `error` events written to a WebSocket.
        bytes_received: over WebSockets, once they are open.
        bytes_sent: over WebSockets, answers to upgrades included.
        responses_stored: responses that can be continued from any connection.
    """

    connections_now: int
    connections_opened: int
    connections_closed: int
    upgrades: int
    upgrades_refused: int
    requests: int
    requests_refused: int
    responses_created: int
    responses_completed: int
    turns: int
    events_sent: int
    bytes_received: int
    bytes_sent: int
    responses_stored: int


@final
class Shared:
    """What all connections of one server have in common."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.ids = options.ids or Ids()
        self.store = ResponseStore(options.max_stored)
        self.conversations = ConversationStore(options.max_stored)
        self.counters = _Counters()
        self.traffic = Traffic()
        self._physics = Physics(
            first_token_delay=options.first_token_delay,
            delta_delay=options.delta_delay,
            tokens_per_second=options.tokens_per_second,
            jitter=options.jitter,
            seed=options.seed,
        )
        self.faults = FaultPlan(options.faults, options.chaos)
        self.journal = Journal(options.max_journal, self.time, secret=options.api_key)
        self._epoch_offset: float | None = None

    def reset(self) -> None:
        """Forget all that was said so far and all faults but those of the options, and count from 0 again.

        What open WebSockets remember of their own responses stays with them.
        """
        self.store.clear()
        self.conversations.clear()
        self.journal.clear()
        self.faults = FaultPlan(self.options.faults, self.options.chaos)
        self.traffic.received = self.traffic.sent = 0
        for field in attrs.fields(_Counters):
            if not field.name.startswith("connections"):
                setattr(self.counters, field.name, 0)

    def pace(self) -> Pace | None:
        """Return how long the response that is made next takes."""
        return self._physics.pace(self.counters.responses_created + 1)

    def now(self) -> int:
        """Return the time in whole seconds since the epoch, as trio's clock has it."""
        return int(self.time())

    def time(self) -> float:
        """Return the time in seconds since the epoch, as trio's clock has it."""
        if self._epoch_offset is None:
            epoch = time.time() if self.options.epoch is None else self.options.epoch
            self._epoch_offset = epoch - trio.current_time()
        return self._epoch_offset + trio.current_time()

    def statistics(self) -> ServerStatistics:
        """Return a snapshot."""
        counters = self.counters
        return ServerStatistics(
            connections_now=counters.connections_opened - counters.connections_closed,
            responses_stored=len(self.store),
            bytes_received=self.traffic.received,
            bytes_sent=self.traffic.sent,
            **attrs.asdict(counters),
        )
