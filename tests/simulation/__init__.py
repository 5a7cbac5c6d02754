"""Deterministic simulation: whole engines against the local server, in one process, from one number.

Everything that a run of the simulation does follows from a `Scenario`, and a scenario can be drawn from a seed: what is
asked of the engine, what goes wrong, how long things take, and in which order tasks run. The same scenario makes the
same bytes, so whatever was found can be looked at again.

* `scenario` says what can happen, as data; `drawing` makes a scenario of a seed.
* `scheduling` makes Trio's scheduler and everybody's random numbers follow a seed.
* `network` is what lies between engine and server, and breaks on request.
* `workload` is what a program does with the engine, and the tools that it has.
* `world` puts these together, runs them and says what came of it.
* `invariants` is what must hold after every step. It hears from three sources that know nothing of each other: the
  frames that the server saw (`server_side`), the effects that tools had (`effects_side`) and the runs' logs
  (`log_side`); and from the pool (`pool_side`).
* `shrinking` makes a failing scenario small, and tells its story.
* `seeds` keeps what was found.

``nox -s simulate -- --seeds 2000`` runs many; ``nox -s simulate -- --seed 7`` runs one again.
"""
