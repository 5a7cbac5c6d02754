"""What every server event has."""

from collections.abc import Mapping
from typing import ClassVar

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire

from ._catalogue import CLASS_OF_TYPE


@attrs.frozen(eq=False, repr=False)
class ServerEvent(Wire):
    """One message of the server. Base of all event classes.

    Tell events apart with ``match`` on their classes, or by ``type``. A type that this version does not know
    arrives as `UnknownEvent`; it is meant to be passed over, not to fail (OpenAI WebSocket-mode guide).
    """

    type: ClassVar[str]
    family: ClassVar[Family] = Family(CLASS_OF_TYPE, "events:UnknownEvent")

    sequence_number: int | None = attrs.field(default=None, kw_only=True)
    """Counts the events of one response from 0. Absent on errors of requests that were rejected."""
    stream_id: str | None = attrs.field(default=None, kw_only=True)
    """The lane, if the ``response.create`` named one."""

    @property
    def agent_name(self) -> str | None:
        """The agent that the event belongs to, such as ``/root/research`` (multi-agent beta)."""
        agent = self.extra.get("agent")
        name = agent.get("agent_name") if isinstance(agent, Mapping) else None
        return name if isinstance(name, str) else None


@attrs.frozen(eq=False, repr=False)
class UnknownEvent(ServerEvent):
    """An event of a type that this version does not know: a vendor's, or a newer one.

    All of it is in ``extra``.
    """

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]
