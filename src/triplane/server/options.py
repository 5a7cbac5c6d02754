"""The options of a server and what its connections share."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal, TypedDict, final

import attrs
import trio
from attrs.validators import ge, gt, in_, instance_of, min_len, optional

from .catalog import Catalog, ModelChoice
from .errors import OptionError
from .faults import Fault, Faults
from .ids import Ids
from .store import ResponseStore
from .wire import Traffic

__all__ = ["OptionArguments", "Options", "ServerStatistics", "Shared"]


class OptionArguments(TypedDict, total=False):
    """The keyword arguments of `Options`, which `serve` and `Server` take."""

    model: ModelChoice
    strict_models: bool
    latency: float
    delta_delay: float
    api_key: str | None
    warm_up: Literal["accept", "refuse"]
    faults: Iterable[Fault]
    ids: Ids | None
    epoch: float | None
    max_stored: int
    max_message_size: int
    max_queued_bytes: int
    handshake_timeout: float
    send_timeout: float
    close_timeout: float


def _to_faults(faults: Iterable[Fault] | Faults) -> Faults:
    if isinstance(faults, Faults):
        return faults
    if not isinstance(faults, Iterable):
        raise TypeError(f"faults must be a list of them, not {type(faults).__name__}")
    return Faults(tuple(faults))


def _catalog(options: Options) -> Catalog:
    return Catalog.of(options.model, strict=options.strict_models)


_seconds = attrs.field(default=0.0, validator=[instance_of((int, float)), ge(0)])


@final
@attrs.frozen(kw_only=True)
class Options:
    """How a server behaves.

    Attributes:
        model: which model answers requests for models the server does not know; see `Catalog.of`.
        strict_models: refuse unknown model names even so.
        latency: seconds before the first event of each response.
        delta_delay: seconds before each delta.
        api_key: what clients must send as Bearer token; None lets everyone in. Never logged, shown or sent.
        warm_up: "refuse" makes `generate` an unsupported parameter, as it is for older servers.
        faults: what goes wrong; see `triplane.server.faults`.
        ids: where ids come from; by default a source with a random seed.
        epoch: the wall-clock time at which the server's clock starts; by default the time it is. All timestamps are
            this plus trio's clock, so with a fixed epoch and a mock clock they are predictable.
        max_stored: how many responses with `store: true` are kept.
        max_message_size: bytes in a client's message; a larger one closes the connection with 1009. OpenAI's limit was
            measured at 16 MiB.
        max_queued_bytes: how much of a client's messages may wait while a response is being sent; when there is
            more, the server stops reading from that client.
        handshake_timeout: seconds a client has for its request head and upgrade.
        send_timeout: seconds a write may take before the client is given up for dead.
        close_timeout: seconds a client has to answer a close frame.
    """

    model: ModelChoice = None
    strict_models: bool = attrs.field(default=False, validator=instance_of(bool))
    latency: float = _seconds
    delta_delay: float = _seconds
    api_key: str | None = attrs.field(default=None, repr=False, validator=optional(min_len(1)))
    warm_up: Literal["accept", "refuse"] = attrs.field(default="accept", validator=in_(("accept", "refuse")))
    faults: Faults = attrs.field(factory=Faults, converter=_to_faults)
    ids: Ids | None = None
    epoch: float | None = None
    max_stored: int = attrs.field(default=1024, validator=ge(0))
    max_message_size: int = attrs.field(default=16 * 1024 * 1024, validator=gt(0))
    max_queued_bytes: int = attrs.field(default=32 * 1024 * 1024, validator=gt(0))
    handshake_timeout: float = attrs.field(default=10.0, validator=gt(0))
    send_timeout: float = attrs.field(default=60.0, validator=gt(0))
    close_timeout: float = attrs.field(default=1.0, validator=gt(0))
    catalog: Catalog = attrs.field(init=False, repr=False, default=attrs.Factory(_catalog, takes_self=True))

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
        requests: messages received over WebSockets.
        requests_refused: those of them answered with an `error` event.
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
        self.counters = _Counters()
        self.traffic = Traffic()
        self._epoch_offset: float | None = None

    def now(self) -> int:
        """Return the time in whole seconds since the epoch, as trio's clock has it."""
        if self._epoch_offset is None:
            epoch = time.time() if self.options.epoch is None else self.options.epoch
            self._epoch_offset = epoch - trio.current_time()
        return int(self._epoch_offset + trio.current_time())

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
