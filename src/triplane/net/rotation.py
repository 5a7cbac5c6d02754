"""When a connection makes way for a younger one, and how many are kept open beyond need.

A replacement is opened first, and until it is there everybody goes on using the old connection. Then that one takes
nothing new: it is closed at the first moment at which nobody waits for an answer on it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, final

import trio

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from triplane.core.options import EngineOptions

    from .lanes import Lanes
    from .place import Place

# By how much of its greatest age a connection may be retired too early, so that connections never go all at once.
_JITTER: Final = 0.1
# How much longer than that it may take until the replacement is there.
_PATIENCE: Final = 0.02


@final
class Rotation:
    """Keeps the connections of a pool young.

    Args:
        options: `spare_connections` and `rewarm`.
        rng: For the jitter.
        dial: Opens one more connection, and returns what is set once that has succeeded or failed.
    """

    def __init__(
        self, options: EngineOptions, rng: random.Random, dial: Callable[[Place], trio.Event]
    ) -> None:
        self._options = options
        self._rng = rng
        self._dial = dial

    async def retire_when_old(self, place: Place, lanes: Lanes) -> None:
        """Return once a connection that is open now is retired for its age. Cancelled when it is over before."""
        max_age = place.endpoint.max_age
        if max_age is None:
            return
        await trio.sleep(max_age * (1 - _JITTER * self._rng.random()))
        if lanes.connection.is_usable and self._is_missed(place, lanes):
            replaced = self._dial(place)
            with trio.move_on_after(max_age * _PATIENCE):
                await replaced.wait()
        lanes.retire()

    def missing(self, place: Place) -> int:
        """How many connections are to be opened so that there are `spare_connections` that nobody needs."""
        if not self._options.spare_connections or trio.current_time() < place.spares_not_before:
            return 0
        usable = place.usable()
        room = self._options.max_connections - len(usable) - place.dialling
        wanted = self._options.spare_connections - max(0, place.dialling - len(place.queue))
        if room <= 0 or wanted <= 0:
            return 0
        # No more are looked at than are wanted: this is asked whenever a lane changes hands. And no more than there are:
        # `islice` takes no number as large as an option may be.
        most = min(wanted, len(usable))
        idle = sum(1 for _ in islice((lanes for lanes in usable if lanes.is_idle), most))
        return min(room, wanted - idle)

    def _is_missed(self, place: Place, lanes: Lanes) -> bool:
        """Whether somebody will want another connection when this one is gone."""
        if not lanes.is_idle:
            return True
        spares = sum(each.is_idle for each in place.usable()) - 1
        return spares < self._options.spare_connections or (self._options.rewarm and bool(lanes.warm_for()))
