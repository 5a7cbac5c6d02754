"""Which resource is at which path, and who may ask for it."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from triplane.server.errors import Refused

from .control import Control
from .head import BadRequest, Head
from .responses import HttpResponses

if TYPE_CHECKING:
    from triplane.server.faults.catalogue import UpgradeFault
    from triplane.server.options import Shared

    from .exchange import Exchange

__all__ = ["Routes"]

_CONTROL: Final = "_triplane"
_WITH_KEY: Final = ("responses", "models")

_Handler: TypeAlias = Callable[["Exchange"], Awaitable[None]]
_Resource: TypeAlias = Mapping[str, _Handler]


@final
class Routes:
    """Finds the resource that a request asks for and has it answer."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._responses = HttpResponses(shared)
        self._control = Control(shared) if shared.options.control else None
        self._names = ["/v1/responses", "/v1/models", "/healthz"]
        if self._control is not None:
            self._names += self._control.names

    def is_upgrade(self, head: Head) -> bool:
        """Tell whether `head` asks for a WebSocket where there is one."""
        return head.method == "GET" and head.segments() == ["responses"] and head.wants_upgrade()

    def upgrade(self, head: Head) -> bytes | UpgradeFault:
        """Return the key of an upgrade that is to be accepted, or the fault that happens to it instead.

        Raises:
            BadRequest: it is refused.
        """
        self._check_key(head)
        key = head.websocket_key()
        counters = self._shared.counters
        counters.upgrades += 1
        fault = self._shared.faults.of_upgrade()
        if fault is not None:
            counters.upgrades_refused += 1
            return fault
        return key

    async def answer(self, exchange: Exchange) -> None:
        """Answer a request that is no upgrade.

        Raises:
            BadRequest: the answer is an error.
            ClientGone: the connection is lost.
            HangUp: a fault ends it.
        """
        head = exchange.head
        if head.method == "OPTIONS" and b"origin" in head.headers:
            # A browser asks whether its page may ask; what it may is in the headers.
            await exchange.reply(200, {})
            return
        segments = head.segments()
        resource = (
            self._control_resource(exchange, segments[1:])
            if segments[0] == _CONTROL
            else self._find(segments)
        )
        if resource is None:
            raise BadRequest(
                404, f"There is nothing at {head.path[:100]}. There are {', '.join(self._names)}."
            )
        if segments[0] in _WITH_KEY:
            self._check_key(head)
            exchange.headers["x-request-id"] = self._shared.ids.new("req")
        handler = resource.get("GET" if head.method == "HEAD" else head.method)
        if handler is None:
            allowed = [*resource, "HEAD"] if "GET" in resource else [*resource]
            raise BadRequest(
                405, f"{head.method} is not allowed here.", headers={"Allow": ", ".join(allowed)}
            )
        try:
            await handler(exchange)
        except Refused as refused:
            raise BadRequest.of(refused) from None

    def _control_resource(self, exchange: Exchange, names: list[str]) -> _Resource | None:
        if self._control is None or len(names) != 1:
            return None
        # Whoever looks at the journal should not see that.
        exchange.off_the_record()
        self._control.check(exchange)
        return self._control.find(names[0])

    def _find(self, segments: list[str]) -> _Resource | None:
        responses = self._responses
        match segments:
            case ["healthz"]:
                return {"GET": lambda exchange: exchange.reply(200, {"status": "ok"})}
            case ["models"]:
                return {"GET": self._models}
            case ["models", *parts] if parts[0]:
                # The names of some models have slashes in them.
                return {"GET": partial(self._model, name="/".join(parts))}
            case ["responses"]:
                return {"GET": _needs_upgrade, "POST": responses.create}
            case ["responses", "compact"]:
                return {"POST": responses.compact}
            case ["responses", "input_tokens"]:
                return {"POST": responses.input_tokens}
            case ["responses", response_id] if response_id:
                return {
                    "GET": partial(responses.retrieve, response_id=response_id),
                    "DELETE": partial(responses.delete, response_id=response_id),
                }
            case ["responses", response_id, "cancel"]:
                return {"POST": partial(responses.cancel, response_id=response_id)}
            case ["responses", response_id, "input_items"]:
                return {"GET": partial(responses.input_items, response_id=response_id)}
        return None

    def _check_key(self, head: Head) -> None:
        wanted = self._shared.options.api_key
        if wanted is not None and not hmac.compare_digest(head.bearer() or b"", wanted.encode()):
            raise BadRequest(
                401,
                "Incorrect API key provided.",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _models(self, exchange: Exchange) -> None:
        data = [self._shown(name) for name in sorted(self._shared.options.catalog.models)]
        await exchange.reply(200, {"object": "list", "data": data})

    async def _model(self, exchange: Exchange, name: str) -> None:
        self._shared.options.catalog.pick(name)
        await exchange.reply(200, self._shown(name))

    def _shown(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._shared.now(), "owned_by": "triplane"}


async def _needs_upgrade(_exchange: Exchange) -> None:
    raise BadRequest(
        426,
        "For GET this is a WebSocket endpoint: connect with an upgrade, and send response.create events.",
        headers={"Upgrade": "websocket"},
    )
