"""How old a connection may become, and what happens then. No I/O: the time is an argument.

That the limit comes as an error while nothing is going on, in the middle of a response, or as the answer to the next
create, has all been seen; when the socket is closed afterwards, and with which code, is not documented. So both can be
chosen.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, final

import attrs

from triplane.server.errors import Refused, connection_limit_reached

from .wire import Close

__all__ = ["AGE_POLICIES", "AgePolicy", "Lifetime"]

AgePolicy: TypeAlias = Literal["finish", "announce", "cut", "next_create"]
"""When a client hears of the age limit; see `Lifetime`."""

AGE_POLICIES: Final[tuple[AgePolicy, ...]] = ("finish", "announce", "cut", "next_create")


@final
@attrs.define
class Lifetime:
    """The age limit of one connection. After it no response begins: a create is answered with the error.

    Attributes:
        opened_at: when the connection was opened.
        max_age: how old it may become, in seconds; infinity for ever.
        policy: when the client hears of it:

            * "finish": once nothing is in flight.
            * "announce": at once; what is in flight goes on to its end.
            * "cut": at once; what is in flight goes no further.
            * "next_create": only as the answer to its next create, which may never come.
        close_code: with which code the socket is closed once the client has heard and, except with "cut", nothing is
            in flight; None leaves it open, for clients that have to leave by themselves.
        over: whether the limit is reached.
        announced: whether the client has heard of it.
    """

    opened_at: float
    max_age: float
    policy: AgePolicy
    close_code: int | None
    over: bool = False
    announced: bool = False

    @property
    def deadline(self) -> float:
        """When the limit will be reached; never again once it is."""
        return float("inf") if self.over else self.opened_at + self.max_age

    def check(self) -> None:
        """Check that a response may begin.

        Raises:
            Refused: the limit is reached. It has to be sent.
        """
        if self.over:
            raise self._announcement()

    def due(self, in_flight: int) -> Refused | Close | None:
        """Return what to do now that `in_flight` responses are going on; to be asked until there is nothing."""
        if not self.over:
            return None
        idle = in_flight == 0
        speaks = self.policy in ("announce", "cut") or (idle and self.policy == "finish")
        if not self.announced:
            return self._announcement() if speaks else None
        if self.close_code is not None and (idle or self.policy == "cut"):
            return Close(self.close_code, "The connection has reached its age limit.")
        return None

    def _announcement(self) -> Refused:
        self.announced = True
        return connection_limit_reached(self.max_age)
