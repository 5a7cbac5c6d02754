"""The Responses API over HTTP: the same responses, models and storage as over WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import attrs
import trio

from triplane.server.errors import Refused
from triplane.server.model import Model
from triplane.server.requests import Create, parse_create
from triplane.server.store import StoredResponse
from triplane.server.stream import ResponseStream
from triplane.server.usage import tokens
from triplane.server.websocket.state import ConnectionCache, Resolved

from .background import BackgroundResponse
from .compaction import compacted
from .delivery import EventAnswer, WholeAnswer, deliver
from .input_items import page, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triplane.server.options import Shared

    from .exchange import Exchange

__all__ = ["HttpResponses"]

_Work: TypeAlias = Callable[["Exchange"], Awaitable[None]]

# What `response.create` has on a WebSocket only.
_SOCKET_ONLY: Final = ("generate", "stream_id")


@final
class HttpResponses:
    """What can be done to responses over HTTP. Each method answers one request.

    All of them raise `Refused` or `BadRequest` for what is to be answered with an error, and `ClientGone` when there is
    nobody to answer.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._options = shared.options
        self._counters = shared.counters

    async def create(self, exchange: Exchange) -> None:
        """Make a response: as events with `stream`, later with `background`, and otherwise whole."""
        body = await exchange.json()
        self._counters.requests += 1
        try:
            request = self._request(body)
            work = self._later(request) if request.background else self._at_once(request)
        except Refused:
            self._counters.requests_refused += 1
            raise
        await exchange.connection.watched(partial(work, exchange))

    def _at_once(self, request: _Request) -> _Work:
        return partial(self._respond, request=request, stream=self._stream(request, self._shared.now))

    def _later(self, request: _Request) -> _Work:
        background = self._begin_background(request)
        if request.streams:
            return partial(_follow, background=background, start=0)
        return lambda exchange: exchange.reply(200, background.response)

    async def _respond(self, exchange: Exchange, *, request: _Request, stream: ResponseStream) -> None:
        answer = EventAnswer(exchange) if request.streams else WholeAnswer(exchange)
        faults = self._shared.faults.of_response(model=request.create.model)
        committed = False

        def before_event() -> None:
            nonlocal committed
            if stream.continuable and not committed:
                committed = True
                self._commit(request, stream, stream.response)

        await trio.sleep(self._options.latency)
        await deliver(stream.play(), faults, answer, before_event=before_event)

    async def retrieve(self, exchange: Exchange, response_id: str) -> None:
        """Show a response, or with `stream=true` the events of a background response."""
        background = self._shared.store.get_background(response_id)
        query = exchange.head.query
        if query.get("stream") == "true":
            if background is None:
                self._find(response_id)
                raise Refused(
                    "Only responses that were made with background: true can be streamed.", param="stream"
                )
            start = _starting_after(query)
            await exchange.connection.watched(partial(_follow, exchange, background=background, start=start))
        elif background is not None:
            await exchange.reply(200, background.response)
        else:
            await exchange.reply(200, self._find(response_id).response)

    async def delete(self, exchange: Exchange, response_id: str) -> None:
        """Forget a response. A WebSocket on which it is the latest one of its lane still knows it."""
        if not self._shared.store.delete(response_id):
            self._find(response_id)
        await exchange.reply(200, {"id": response_id, "object": "response", "deleted": True})

    async def cancel(self, exchange: Exchange, response_id: str) -> None:
        """Cancel a background response; one that has ended stays as it is."""
        background = self._shared.store.get_background(response_id)
        if background is None:
            self._find(response_id)
            raise Refused("Cannot cancel a synchronous response.")
        background.cancel()
        await exchange.reply(200, background.response)

    async def input_items(self, exchange: Exchange, response_id: str) -> None:
        """Show the input items of a response, in pages."""
        background = self._shared.store.get_background(response_id)
        items = background.input_items if background is not None else self._find(response_id).input_items
        await exchange.reply(200, page(shown(response_id, items), exchange.head.query))

    async def compact(self, exchange: Exchange) -> None:
        """Compact a conversation."""
        body = await exchange.json()
        request = self._request(body)
        now = self._shared.now()
        await exchange.reply(200, compacted(request.resolved, ids=self._shared.ids, now=now))

    async def input_tokens(self, exchange: Exchange) -> None:
        """Count the tokens of a request."""
        body = await exchange.json()
        # The one request that need not name a model; then any will do.
        request = self._request(
            {**body, "model": body.get("model") or next(iter(self._options.catalog.models))}
        )
        resolved = request.resolved
        count = tokens(resolved.create.settings_bytes + resolved.conversation.size)
        await exchange.reply(200, {"object": "response.input_tokens", "input_tokens": count})

    def _request(self, body: Mapping[str, Any]) -> _Request:
        for name in _SOCKET_ONLY:
            if body.get(name) is not None:
                raise Refused(f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
        create = parse_create(body, unsupported=())
        background, streams = _flag(body, "background"), _flag(body, "stream")
        if background and not create.store:
            raise Refused("Background responses need store: true.", code="invalid_value", param="store")
        model = self._options.catalog.pick(create.model)
        # Nothing is remembered between requests but what is stored.
        cache = ConnectionCache(self._shared.store, self._shared.conversations)
        return _Request(create, model, cache, cache.resolve(create), background, streams)

    def _stream(self, request: _Request, now: Callable[[], int]) -> ResponseStream:
        stream = ResponseStream(
            request.resolved, request.model, ids=self._shared.ids, now=now, pace=self._shared.pace()
        )
        self._counters.responses_created += 1
        return stream

    def _begin_background(self, request: _Request) -> BackgroundResponse:
        def end(background: BackgroundResponse) -> None:
            if background.stream.continuable:
                self._commit(request, background.stream, background.response)

        background = BackgroundResponse(
            partial(self._stream, request),
            request.create.items,
            clock=self._shared.time,
            delay=self._options.latency,
            on_ended=end,
        )
        self._shared.store.put_background(background)
        return background

    def _commit(self, request: _Request, stream: ResponseStream, response: Mapping[str, Any]) -> None:
        """Make the response known before its last event is sent: a client may continue as soon as it has read it."""
        ended = StoredResponse(stream.conversation, response, request.create.items)
        request.cache.commit(stream.id, ended, store=request.create.store, resolved=request.resolved)
        if stream.status == "completed":
            self._counters.responses_completed += 1
            self._counters.turns += request.create.generate

    def _find(self, response_id: str) -> StoredResponse:
        stored = self._shared.store.get(response_id)
        if stored is None:
            raise Refused(f"Response with id '{response_id[:100]}' not found.", status=404)
        return stored


@attrs.frozen
class _Request:
    """A request for a response, checked."""

    create: Create
    model: Model
    cache: ConnectionCache
    resolved: Resolved
    background: bool
    streams: bool


async def _follow(exchange: Exchange, *, background: BackgroundResponse, start: int) -> None:
    """Send the events of a background response, from the one at `start` to the last, as they come to be."""
    sent = start
    while True:
        background.catch_up()
        for event in background.events[sent:]:
            await exchange.event(event)
        sent = max(sent, len(background.events))
        await exchange.flush()
        if background.ended:
            break
        await background.wait()
    await exchange.finish()


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise Refused(f"Invalid type for '{name}': expected a boolean.", code="invalid_type", param=name)


def _starting_after(query: Mapping[str, str]) -> int:
    """Return the place of the first event wanted; events are numbered from 0."""
    text = query.get("starting_after")
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused(
            "Invalid 'starting_after': it must be the sequence number of an event.",
            code="invalid_value",
            param="starting_after",
        )
    return int(text) + 1
