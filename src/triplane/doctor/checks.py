"""What the doctor says: one check for each thing that can work or not, and the report of them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import attrs

Status = Literal["ok", "failed", "skipped"]
Name = Literal[
    "url",
    "dns",
    "tcp",
    "proxy",
    "tls",
    "upgrade",
    "auth",
    "ping",
    "turn",
    "continuation",
    "warm-up",
    "lanes",
    "http",
    "age limit",
]


@attrs.frozen
class Check:
    """What became of one check.

    Attributes:
        name: What was checked.
        status: ``"ok"``; ``"failed"``; or ``"skipped"``, when it could not be tried or there is nothing to try.
        found: What was found, or why it was skipped, in a few words. May hold words of the server.
        advice: What to do about it, else empty.
        seconds: How long it took, where that says something, else None.
        facts: The same for programs, as JSON can hold it.
    """

    name: Name
    status: Status
    found: str
    advice: str = ""
    seconds: float | None = None
    facts: Mapping[str, Any] = attrs.field(factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The check as one JSON object."""
        return {
            "check": self.name,
            "status": self.status,
            "found": self.found,
            "advice": self.advice or None,
            "seconds": None if self.seconds is None else round(self.seconds, 6),
            "facts": dict(self.facts),
        }


# In the order in which they are made, which is the way to a turn and then what else the endpoint can do.
NAMES: Final[tuple[Name, ...]] = get_args(Name)


@attrs.frozen
class Report:
    """All checks of one examination, in the order in which they are made.

    Attributes:
        url: What was examined.
        checks: One for each name.
    """

    url: str
    checks: tuple[Check, ...]

    @classmethod
    def stopped_at(cls, name: Name, why: str, *, url: str = "") -> Report:
        """A report of what never began, since something that was given cannot work."""
        checks = [Check(each, "skipped", "not reached") for each in NAMES if each != name]
        checks.insert(NAMES.index(name), Check(name, "failed", why))
        return cls(url, tuple(checks))

    @property
    def is_healthy(self) -> bool:
        """Whether nothing failed."""
        return all(check.status != "failed" for check in self.checks)

    def __getitem__(self, name: Name) -> Check:
        return next(check for check in self.checks if check.name == name)

    def as_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        return {
            "url": self.url,
            "healthy": self.is_healthy,
            "checks": [check.as_json() for check in self.checks],
        }
