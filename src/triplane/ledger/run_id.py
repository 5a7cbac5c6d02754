"""What can be the id of a run."""

from __future__ import annotations

from triplane.core.errors import ConfigError


def check_run_id(run_id: object) -> None:
    """Check that a run can have this id, in a new log or in one that is asked for.

    Raises:
        ConfigError: It cannot.
    """
    if not isinstance(run_id, str) or not run_id or not run_id.isprintable() or len(run_id) > 200:
        raise ConfigError(f"a run's id is 1 to 200 printable characters, not {run_id!r:.100}")
