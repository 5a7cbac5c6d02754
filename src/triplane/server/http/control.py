"""`/_triplane/`: what a test can ask of a running server, and tell it, whatever it is written in."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import attrs
import orjson

from triplane.server.errors import Refused
from triplane.server.faults.as_json import InvalidFault, fault_from_json, fault_to_json

from .head import BadRequest

if TYPE_CHECKING:
    from triplane.server.journal import JournalEntry
    from triplane.server.options import Shared

    from .exchange import Exchange

__all__ = ["Control"]

_Handler: TypeAlias = Callable[["Exchange"], Awaitable[None]]

_MAX_ENTRIES: Final = 1000


@final
class Control:
    """The resources under `/_triplane/`. They are for clients on this machine, and for those that have the key."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._resources: Mapping[str, Mapping[str, _Handler]] = {
            "faults": {"GET": self._faults, "POST": self._add_faults, "DELETE": self._clear_faults},
            "journal": {"GET": self._journal, "DELETE": self._clear_journal},
            "reset": {"POST": self._reset},
            "statistics": {"GET": self._statistics},
        }

    @property
    def names(self) -> list[str]:
        """What there is."""
        return [f"/_triplane/{name}" for name in self._resources]

    def find(self, name: str) -> Mapping[str, _Handler] | None:
        """Return what answers at `/_triplane/<name>`, by method."""
        return self._resources.get(name)

    def check(self, exchange: Exchange) -> None:
        """Check that a request may be here.

        Raises:
            BadRequest: it may not.
        """
        key = self._shared.options.api_key
        has_key = key is not None and hmac.compare_digest(exchange.head.bearer() or b"", key.encode())
        if not (exchange.peer.on_this_machine or has_key):
            raise BadRequest(
                403,
                "/_triplane/ is for clients on the same machine, and for those with the server's key.",
                code="control_not_allowed",
            )

    async def _faults(self, exchange: Exchange) -> None:
        await exchange.reply(200, {"faults": [fault_to_json(fault) for fault in self._shared.faults.faults]})

    async def _add_faults(self, exchange: Exchange) -> None:
        body = await exchange.json_value()
        given = body if isinstance(body, list) else [body]
        faults = []
        for index, data in enumerate(given):
            try:
                faults.append(fault := fault_from_json(data))
                _check_depth({"faults": [fault_to_json(fault)]})
            except InvalidFault as invalid:
                param = f"[{index}].{invalid.param}" if isinstance(body, list) else invalid.param
                raise Refused(str(invalid), code="invalid_fault", param=param) from None
        # All of them or none.
        for fault in faults:
            self._shared.faults.add(fault)
        await self._faults(exchange)

    async def _clear_faults(self, exchange: Exchange) -> None:
        self._shared.faults.clear()
        await self._faults(exchange)

    async def _journal(self, exchange: Exchange) -> None:
        query = exchange.head.query
        connection = _number(query, "connection", 0) or None
        limit = min(_number(query, "limit", _MAX_ENTRIES), _MAX_ENTRIES)
        journal = self._shared.journal
        entries = journal.after(_number(query, "after", 0), connection)
        shown = [_shown(entry) for entry in entries[:limit]]
        last = entries[: len(shown)][-1].number if shown else _number(query, "after", 0)
        await exchange.reply(
            200,
            {
                "entries": shown,
                "last": last,
                "has_more": len(entries) > limit,
                "dropped": journal.dropped,
            },
        )

    async def _clear_journal(self, exchange: Exchange) -> None:
        self._shared.journal.clear()
        await exchange.reply(200, {"entries": [], "dropped": 0})

    async def _reset(self, exchange: Exchange) -> None:
        self._shared.reset()
        await self._statistics(exchange)

    async def _statistics(self, exchange: Exchange) -> None:
        statistics: dict[str, Any] = attrs.asdict(self._shared.statistics())
        await exchange.reply(200, statistics)


def _shown(entry: JournalEntry) -> orjson.Fragment:
    try:
        return orjson.Fragment(orjson.dumps(entry.shown()))
    except orjson.JSONEncodeError:
        # orjson reads more nested levels than it writes.
        return orjson.Fragment(orjson.dumps(entry.shown(parsed=False)))


def _check_depth(value: object) -> None:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise InvalidFault("A fault is nested too deeply.", param="event") from None


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Refused(f"Invalid '{name}': {text[:100]!r} is not a number.", code="invalid_value", param=name)
    return int(text)
