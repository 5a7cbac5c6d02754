"""Which faults strike which upgrade, connection and response. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, final

import attrs

from .catalogue import ConnectionFault, Fault, ResponseFault, UpgradeFault
from .connection import ConnectionFaults

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .chaos import Chaos

__all__ = ["FaultPlan"]

_F = TypeVar("_F", bound=Fault)


@attrs.define
class _Entry:
    fault: Fault
    seen: int = 0


@final
class FaultPlan:
    """A server's faults. They may be added and removed while it runs.

    Of several faults of an upgrade, the first of the list that applies strikes. Of connections and responses all that
    apply strike; where two strike at the same point, they do so in the order of the list, so that a `Drop` hides what
    comes after it.

    Args:
        faults: the first ones.
        chaos: a source of more.
    """

    def __init__(self, faults: Iterable[Fault] = (), chaos: Chaos | None = None) -> None:
        self._entries = [_Entry(fault) for fault in faults]
        self._chaos = chaos
        self._upgrades = self._connections = self._responses = 0

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those that may yet strike."""
        return tuple(entry.fault for entry in self._entries)

    def add(self, fault: Fault) -> None:
        """Append a fault, whose `nth` counts from now."""
        self._entries.append(_Entry(fault))

    def clear(self) -> None:
        """Remove all faults. Chaos goes on."""
        self._entries.clear()

    def of_upgrade(self) -> UpgradeFault | None:
        """Return what happens to this upgrade, the next one of the server."""
        self._upgrades += 1
        faults = self._strike(UpgradeFault)
        if not faults and self._chaos is not None:
            return self._chaos.of_upgrade(self._upgrades)
        return faults[0] if faults else None

    def of_connection(self) -> ConnectionFaults:
        """Return what is wrong with this WebSocket, the next one of the server."""
        self._connections += 1
        faults = self._strike(ConnectionFault)
        if self._chaos is not None and (fault := self._chaos.of_connection(self._connections)):
            faults += (fault,)
        return ConnectionFaults.of(self._connections, faults)

    def of_response(
        self, *, connection: int = 0, lane: str | None = None, model: str = ""
    ) -> tuple[ResponseFault, ...]:
        """Return what goes wrong with this response, the next one of the server.

        Args:
            connection: the number of its WebSocket, from 1; 0 where there is none.
            lane: the name of its lane; None is the default lane.
            model: as the request names it.
        """
        if not self._entries and self._chaos is None:
            return ()
        self._responses += 1
        faults = self._strike(ResponseFault, connection, lane or "", model)
        if self._chaos is not None and (fault := self._chaos.of_response(self._responses)):
            faults += (fault,)
        return faults

    def _strike(self, family: type[_F], *place: object) -> tuple[_F, ...]:
        striking: list[_F] = []
        spent = False
        for entry in self._entries:
            fault = entry.fault
            if not isinstance(fault, family):
                continue
            if isinstance(fault, ResponseFault):
                wanted = (fault.connection, fault.lane, fault.model)
                if any(want is not None and want != is_ for want, is_ in zip(wanted, place, strict=True)):
                    continue
            entry.seen += 1
            if fault.nth in (None, entry.seen):
                striking.append(fault)
            spent = spent or fault.nth == entry.seen
        if spent:
            self._entries = [entry for entry in self._entries if entry.fault.nth != (entry.seen or None)]
        return tuple(striking)
