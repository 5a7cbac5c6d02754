"""Where the ids of responses, items and calls come from."""

from __future__ import annotations

import itertools
import secrets

__all__ = ["Ids"]


class Ids:
    """A counter behind a seed: `resp_<seed><number>`.

    Args:
        seed: what all ids of this source begin with. The default is random, so that an id of one server is unknown
            to the next one even though both count from one. A fixed seed makes every id predictable.
    """

    def __init__(self, seed: str | None = None) -> None:
        self._seed = secrets.token_hex(6) if seed is None else seed
        self._numbers = itertools.count(1)

    def new(self, prefix: str) -> str:
        """Return an id that this source has not given out before, such as "msg_1f0c24b7a9e1000007"."""
        return f"{prefix}_{self._seed}{next(self._numbers):06x}"
