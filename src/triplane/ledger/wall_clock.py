"""What a ledger's clock may say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from triplane.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


def checked(clock: Callable[[], float]) -> Callable[[], float]:
    """The same clock, which raises `ConfigError` instead of saying what is no number of seconds."""

    def now() -> float:
        said: object = clock()
        try:
            if isinstance(said, (int, float)) and math.isfinite(said):
                return float(said)
        except OverflowError:  # an int beyond all floats
            pass
        # A record that carries it could be written, and never read again.
        raise ConfigError(f"clock= must give seconds since 1970, a finite number, and not {said!r:.100}")

    return now
