"""How fast connections may be opened, so that a crowd that loses its sockets does not come back all at once."""

from __future__ import annotations

import math

import attrs

# By how much the gap after one that had to wait may be longer than the rate asks for. Several processes that lose their
# connections at the same moment drift apart by it.
_JITTER = 0.5


@attrs.define
class Pace:
    """When the next connection may be opened. Moments are seconds on any one clock.

    At most `burst` connections are opened at once, and over any stretch of `t` seconds at most ``burst + rate * t``.

    Attributes:
        rate: Connections a second, once the burst is used up.
        burst: How many may be opened at once after a rest.
    """

    rate: float
    burst: int
    # When all that was opened so far would be paid for at the rate (the "theoretical arrival time" of ATM's generic
    # cell rate algorithm), and until when the server asked for silence.
    _paid: float = attrs.field(default=-math.inf, init=False)
    _quiet_until: float = attrs.field(default=-math.inf, init=False)

    def ready_at(self) -> float:
        """The moment from which one more may be opened."""
        return max(self._paid - (self.burst - 1) / self.rate, self._quiet_until)

    def opened(self, now: float, jitter: float) -> None:
        """Note that one is opened now.

        Args:
            now: Not before `ready_at`.
            jitter: A random number from 0 to 1.
        """
        had_to_wait = now <= self.ready_at()
        self._paid = max(self._paid, now) + (1 + _JITTER * jitter * had_to_wait) / self.rate

    def keep_quiet(self, until: float) -> None:
        """Open none before a moment, since the server asked for it."""
        self._quiet_until = max(self._quiet_until, until)
