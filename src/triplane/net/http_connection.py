"""The way of requests over HTTP: to the pool a connection like another, on which one request at a time is made."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar, Final, final

import httpcore2
import trio

from triplane.core.errors import (
    CloseInfo,
    ConnectFailed,
    ConnectionLost,
    ProtocolViolation,
    Stalled,
    TriplaneError,
)
from triplane.core.lifecycle import ConnectionState, next_connection_state
from triplane.protocol import excerpt

from .connection import ConnectionStatistics
from .http_answer import as_error_event, as_http_body
from .http_exchange import HttpExchange
from .http_network import DialledNetwork
from .refusal import refused
from .sse import EventStreamParser, EventTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from triplane.core.lifecycle import ConnectionInput
    from triplane.core.options import EngineOptions
    from triplane.core.transport import Transport

    from .credentials import Credentials
    from .dial import Dialler
    from .endpoint import Endpoint

_MAX_REDIRECTS: Final = 5
# Those that ask for the same again elsewhere. A 303 asks for something else.
_REDIRECTS: Final = (301, 302, 307, 308)
_FOR_GOOD: Final = (301, 308)
# How much of the body of an error is read.
_MAX_ERROR_BODY: Final = 64 * 1024
# What follows the last event is the end of the body, which comes at once or never.
_END_WITHIN: Final = 0.25
# Seconds for which a connection is kept between two requests. Many servers close theirs after 5.
_KEEP_ALIVE: Final = 5.0
# Ours for each request; an endpoint's own headers do not replace them.
_OWN_HEADERS: Final = {"content-type", "accept", "accept-encoding"}


@final
class HttpConnection:
    """Requests to an endpoint over HTTP, one at a time; the events of each answer come as frames.

    `run` is its whole life, driven by one task of the pool, and all HTTP happens in that task: whoever holds the lane
    asks by `send` and takes by `receive`, and cancelling either leaves nothing half-done in the HTTP library. Between
    requests its TCP connection may come and go; that is nobody's business. There is no heartbeat, and the server
    remembers nothing here but what it stores.

    Attributes:
        on_retired: Never called: between requests no server says anything.
        is_retired: Whether it was to make way for a younger one.
    """

    transport: ClassVar[Transport] = "http"

    def __init__(self, name: str, endpoint: Endpoint, options: EngineOptions) -> None:
        self.name = name
        self.endpoint = endpoint
        self.state: ConnectionState = "dialling"
        self.fault: TriplaneError | None = None
        self.on_retired: Callable[[], object] = self.retire
        self.is_retired = False
        self._options = options
        self._resource = endpoint.resource
        self._network: DialledNetwork | None = None
        self._credentials: Credentials
        # For what the latest request was made with: the key may be a fresh one.
        self._mask = endpoint.mask
        self._opened_at: float | None = None
        self._requests = 0
        self._busy = False
        self._exchange: HttpExchange | None = None
        self._asked = trio.Event()
        self._closing = False

    def __repr__(self) -> str:
        return f"<HttpConnection {self.name} to {self.endpoint.authority}: {self.state}>"

    @property
    def is_usable(self) -> bool:
        """Whether a new request may be sent on it."""
        return self.state == "open"

    def statistics(self) -> ConnectionStatistics:
        """What is known now. Bytes are those of all its TCP connections; there is no round trip to be measured."""
        now = trio.current_time()
        network = self._network
        return ConnectionStatistics(
            name=self.name,
            state=self.state,
            age=0.0 if self._opened_at is None else now - self._opened_at,
            silence=network.silence(now) if network else 0.0,
            round_trip=None,
            requests=self._requests,
            bytes_up=network.bytes_up if network else 0,
            bytes_down=network.bytes_down if network else 0,
        )

    async def run(self, dialler: Dialler, *, on_open: Callable[[], None]) -> None:
        """Open the first TCP connection, call `on_open`, carry out requests, and return once it is closed.

        Raises:
            ConnectFailed: It could not be opened. Once it was open, nothing but bugs raises.
        """
        network = self._network = DialledNetwork(dialler, self.endpoint)
        self._credentials = dialler.approach(self.endpoint).credentials
        try:
            await network.dial_ahead()
            try:
                # TLS is in the streams already, so what is spoken over them is plain HTTP.
                async with httpcore2.AsyncConnectionPool(
                    network_backend=network, max_connections=None, keepalive_expiry=_KEEP_ALIVE
                ) as http:
                    self._opened_at = trio.current_time()
                    self._become("opened")
                    on_open()
                    await self._carry_out_all(http)
            finally:
                await network.aclose()
        finally:
            if self._exchange is not None:
                # One that came at the very moment of closing was never begun.
                self._exchange.end(self._exchange.fault or ConnectionLost("the connection is closed"))
            self._become("dial_failed" if self.state == "dialling" else "closed")

    async def _carry_out_all(self, http: httpcore2.AsyncConnectionPool) -> None:
        while True:
            await self._asked.wait()
            if self._closing:
                return
            self._asked = trio.Event()
            assert self._exchange is not None, "somebody has asked"
            await self._carry_out(http, self._exchange)

    async def _carry_out(self, http: httpcore2.AsyncConnectionPool, exchange: HttpExchange) -> None:
        """Make a request and pass its answer on. Whatever becomes of it is a value."""
        fault: TriplaneError | None = ConnectionLost("the request was given up")
        try:
            with exchange.scope:
                fault = await self._post(http, exchange)
        except ConnectFailed as failure:
            # There is no connection, or no key. The pool knows how to try again, and when.
            fault = failure
            self.poison(failure)
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            # What a library says of our own bytes may quote them, credentials included.
            ours = isinstance(error, httpcore2.LocalProtocolError)
            words = "" if ours else f": {self._mask.text(str(error))}"[:200]
            fault = ConnectionLost(f"the HTTP connection broke off{words}", connection=self.name)
        finally:
            exchange.end(fault)

    async def _post(
        self, http: httpcore2.AsyncConnectionPool, exchange: HttpExchange
    ) -> TriplaneError | None:
        body = as_http_body(exchange.request)
        redirects = 0
        resource = self._resource
        may_renew = self.endpoint.refresh_key is not None
        assert self._network is not None, "running"
        self._network.on_write = exchange.connected.set
        while True:
            asker = await self._credentials.current()
            self._mask = asker.mask
            async with http.stream(
                "POST",
                # Where that is, the network and the Host header say.
                httpcore2.URL(scheme=b"http", host=b"endpoint", port=None, target=resource.encode()),
                headers=_headers(asker, len(body)),
                content=exchange.upload(body),
            ) as response:
                exchange.answered()
                status = response.status
                values = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                target = None
                if status in _REDIRECTS and "location" in values and redirects < _MAX_REDIRECTS:
                    target = self.endpoint.redirected(values["location"])
                renews = may_renew and status in (401, 403)
                if target is None and not renews:
                    return await self._read(response, values, exchange, asker)
                content = await _beginning_of(response, asker)
            if target is not None:
                resource = target
                redirects += 1
                # Another kind of redirect is for this request alone, and the next one may be led elsewhere.
                if status in _FOR_GOOD:
                    self._resource = target
            if renews:
                may_renew = False
                refusal = refused(self.endpoint.url, status, response.headers, content)
                await self._credentials.renewed(asker.api_key, refusal)

    async def _read(
        self, response: httpcore2.Response, headers: dict[str, str], exchange: HttpExchange, asker: Endpoint
    ) -> TriplaneError | None:
        status = response.status
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if 200 <= status < 300 and kind == "text/event-stream":
            if headers.get("content-encoding", "identity").strip().lower() != "identity":
                return ProtocolViolation("the server compressed the events, which it was asked not to do")
            return await self._read_events(response, exchange)
        content = await _beginning_of(response, asker)
        if 200 <= status < 300:
            return ProtocolViolation(
                f"the server at {self.endpoint.url} answered with {kind or 'something without a type'} and status"
                f" {status} instead of a stream of events",
                excerpt=excerpt(content),
            )
        await exchange.put((as_error_event(status, headers, content),))
        return None

    async def _read_events(
        self, response: httpcore2.Response, exchange: HttpExchange
    ) -> TriplaneError | None:
        parser = EventStreamParser(max_size=self._options.max_message_size)
        try:
            async with aclosing(response.aiter_stream()) as chunks:
                async for chunk in chunks:
                    if frames := parser.feed(chunk):
                        await exchange.put([self._mask.frame(frame) for frame in frames])
        except EventTooLarge:
            words = f"an event is larger than {self._options.max_message_size:,} bytes"
            return ConnectionLost(
                f"{words}; raise max_message_size to accept it",
                close=CloseInfo(1009, words, "us"),
                connection=self.name,
            )
        except UnicodeDecodeError:
            return ProtocolViolation("the server sent an event that is not text")
        return None

    def begin_use(self) -> None:
        """From now on the caller asks. Not a checkpoint."""

    def end_use(self) -> None:
        """The caller has read everything that it had asked for. Not a checkpoint."""
        if self._exchange is not None:
            self._exchange.finish_within(_END_WITHIN)

    async def send(self, text: str) -> None:
        """Make a request of the text of a ``response.create``. If that is cancelled or fails, this is poisoned.

        Returns once the request is written; the server's refusal is read like an answer, as an ``error`` event.

        Raises:
            ConnectFailed: There was no connection any more and no new one could be opened; nothing was sent.
            ConnectionLost: The connection is over, or was poisoned.
            Stalled: The server did not take the bytes within `send_timeout`.
            trio.BusyResourceError: Another task is using the connection.
        """
        self._check_open()
        self._occupy()
        whole = False
        try:
            if self._exchange is not None:
                self._exchange.finish_within(_END_WITHIN)
                await self._exchange.over.wait()
                self._check_open()
            exchange = self._exchange = HttpExchange(text)
            self._asked.set()
            await exchange.connected.wait()
            with trio.move_on_after(self._options.send_timeout):
                await exchange.written.wait()
                whole = True
        finally:
            self._busy = False
            if not whole:
                self.poison(ConnectionLost("a request was interrupted half-way", connection=self.name))
        if not whole:
            raise Stalled(
                f"the server did not take a request of {len(text)} characters within"
                f" {self._options.send_timeout:g} s (option send_timeout)",
                phase="send",
                silence=self._options.send_timeout,
            )
        if isinstance(exchange.fault, ConnectFailed):
            raise exchange.fault.again()
        if self.fault is not None:
            raise self.verdict()
        self._requests += 1

    async def receive(self) -> tuple[str, ...]:
        """The next events of the answer, at least one. Cancelling it loses nothing.

        Raises:
            ConnectFailed: The server refused the key, and no fresh one could be had.
            ConnectionLost: The answer broke off, or there is none.
            ProtocolViolation: It is not a stream of events.
            trio.BusyResourceError: Another task is using the connection.
        """
        self._occupy()
        try:
            frames = () if self._exchange is None else await self._exchange.take()
        finally:
            self._busy = False
        if frames:
            return frames
        fault = None if self._exchange is None else self._exchange.fault
        if isinstance(fault, ConnectFailed) or (fault is not None and self.fault is None):
            raise fault.again()
        if self.fault is not None or self._exchange is None:
            raise self.verdict()
        words = "the answer ended before the response did"
        raise ConnectionLost(words, close=CloseInfo(1006, words, "peer"), connection=self.name)

    def poison(self, fault: TriplaneError) -> None:
        """Give up what is under way and take nothing more. Not a checkpoint."""
        if self.fault is None:
            self.fault = fault
        if self.state not in ("closed", "dialling"):
            self._become("poison")
        self._close(fault)

    def retire(self) -> None:
        """Take nothing new; what is under way may end. Not a checkpoint."""
        if self.is_usable:
            self._become("drain")
            self.is_retired = True

    def close(self) -> None:
        """Ask `run` to return; an answer that is under way is given up. Not a checkpoint."""
        if self.is_usable:
            self._become("drain")
        self._close(None)

    def _close(self, fault: TriplaneError | None) -> None:
        self._closing = True
        self._asked.set()
        if self._exchange is not None:
            reason = "the connection is closing" if fault is None else f"given up: {fault}"
            self._exchange.scope.cancel(reason=reason)

    def close_info(self) -> CloseInfo:
        """How it ended, in the words of WebSockets, or how the last answer did."""
        fault = self.fault
        if fault is None and self._exchange is not None:
            fault = self._exchange.fault
        return fault.close if isinstance(fault, ConnectionLost) else CloseInfo()

    def _check_open(self) -> None:
        if self._closing or self.state not in ("open", "draining"):
            raise self.verdict()

    def _occupy(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(f"another task is using {self.name}")
        if self.fault is not None:
            raise self.verdict()
        self._busy = True

    def verdict(self) -> TriplaneError:
        """A fresh error with the facts of the fault: one exception object must not be raised in several tasks."""
        fault = self.fault
        if isinstance(fault, (Stalled, ConnectionLost)):
            return fault.again()
        words = "the connection is closed" if fault is None else str(fault)
        return ConnectionLost(words, close=self.close_info(), connection=self.name)

    def _become(self, what: ConnectionInput) -> None:
        self.state = next_connection_state(self.state, what)


def _headers(asker: Endpoint, length: int) -> list[tuple[bytes, bytes]]:
    theirs = [
        (name, value) for name, value in asker.upgrade_headers() if name.decode().lower() not in _OWN_HEADERS
    ]
    return [
        (b"Host", asker.authority.encode()),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", str(length).encode()),
        (b"Accept", b"text/event-stream"),
        (b"Accept-Encoding", b"identity"),
        *theirs,
    ]


async def _beginning_of(response: httpcore2.Response, asker: Endpoint) -> bytes:
    """As much of a body as is worth having; usually all of it, which leaves a connection that can be used again."""
    content = bytearray()
    async with aclosing(response.aiter_stream()) as chunks:
        async for chunk in chunks:
            content += chunk
            if len(content) > _MAX_ERROR_BODY:
                break
    return asker.masked(content.decode(errors="replace")).encode()
