"""What a run needs of its engine."""

from __future__ import annotations

import random

import attrs

from triplane.core.options import EngineOptions
from triplane.net.pool import Pool
from triplane.tools import AgentRunner, Vaults, Workbench

from .steering import SteeringSupport


@attrs.frozen
class Surroundings:
    """The parts of an engine that its runs share.

    Attributes:
        pool: Whose lanes they use.
        options: Limits and deadlines.
        rng: For the jitter of repeated attempts.
        runner: Runs other agents for tools.
        workbench: What their tool calls share.
        support: What is known of steering.
        vaults: The secrets of runs that may go on.
    """

    pool: Pool
    options: EngineOptions
    rng: random.Random
    runner: AgentRunner
    workbench: Workbench
    support: SteeringSupport
    vaults: Vaults
