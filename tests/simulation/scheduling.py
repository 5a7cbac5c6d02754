"""In which order do tasks run? As a seed says, and whoever draws random numbers draws them from it too."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def scheduled(seed: int | str) -> Iterator[None]:
    """Make every `trio.run` in the block take its tasks in an order that follows from `seed` alone.

    Trio shuffles the tasks that can run. Its own plugin for Hypothesis makes that repeatable through these two private
    names; there are no public ones: https://github.com/python-trio/trio/blob/v0.35.0/src/trio/_core/_run.py#L109-L130

    Masks and pings of WebSockets are random as well, as are the keys of upgrades. They come from the seed in here.
    """
    run = trio._core._run
    before = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate(), random.getstate(), os.urandom
    # The standard library's `secrets` has a reference of its own.
    secret_bytes = random._urandom
    run._ALLOW_DETERMINISTIC_SCHEDULING = True
    run._r.seed(f"order {seed}")
    random.seed(f"numbers {seed}")
    os.urandom = random._urandom = random.Random(f"bytes {seed}").randbytes
    try:
        yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING, order, numbers, os.urandom = before
        random._urandom = secret_bytes
        run._r.setstate(order)
        random.setstate(numbers)
