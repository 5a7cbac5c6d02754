"""How long things take, from a seed. Pure: nothing waits here, and no clock is read."""

from __future__ import annotations

from random import Random
from typing import final

import attrs

from .usage import tokens

__all__ = ["Pace", "Physics"]


@final
@attrs.frozen(kw_only=True)
class Physics:
    """How fast models are.

    Attributes:
        first_token_delay: seconds between `response.in_progress` and what follows it.
        delta_delay: seconds before each delta.
        tokens_per_second: how fast the model writes; None for at once.
        jitter: by how much each wait may differ, as a share of it: 0.2 is up to a fifth more or less.
        seed: what decides by how much it does. The n-th response of every server with this seed takes as long.
    """

    first_token_delay: float = 0.0
    delta_delay: float = 0.0
    tokens_per_second: float | None = None
    jitter: float = 0.0
    seed: int = 0

    def pace(self, number: int) -> Pace | None:
        """Return the pace of the server's response of this number; None if it takes no time."""
        if not (self.first_token_delay or self.delta_delay or self.tokens_per_second):
            return None
        # A generator for each response: how others are scheduled makes no difference to it.
        return Pace(self, Random(f"{self.seed}/{number}"))  # noqa: S311 - nothing to guess


@final
class Pace:
    """How long one response takes. Each question draws from the generator, so the order of questions matters."""

    def __init__(self, physics: Physics, random: Random) -> None:
        self._physics = physics
        self._random = random
        self._per_token = 1 / physics.tokens_per_second if physics.tokens_per_second else 0.0

    def first(self) -> float:
        """Return the seconds before anything is said."""
        return self._jittered(self._physics.first_token_delay)

    def before(self, text: str) -> float:
        """Return the seconds that it takes to write `text`."""
        return self._jittered(self._physics.delta_delay + tokens(len(text.encode())) * self._per_token)

    def _jittered(self, seconds: float) -> float:
        jitter = self._physics.jitter
        return seconds * self._random.uniform(1 - jitter, 1 + jitter) if jitter else seconds
