"""Agents that the server runs beside each other (multi-agent beta).

Replay these items unchanged; the client executes none.
"""

from typing import ClassVar

import attrs

from triplane.protocol.content import ContentPart

from ._base import Item


@attrs.frozen(eq=False, repr=False)
class AgentMessage(Item):
    """A message from one agent to another, both named by paths such as ``/root/research``."""

    type: ClassVar[str] = "agent_message"
    author: str
    recipient: str
    content: tuple[ContentPart, ...]


@attrs.frozen(eq=False, repr=False)
class MultiAgentCall(Item):
    """An agent manages others.

    ``action`` is spawn_agent, send_message, followup_task, wait_agent, interrupt_agent or list_agents.
    """

    type: ClassVar[str] = "multi_agent_call"
    call_id: str
    action: str
    arguments: str


@attrs.frozen(eq=False, repr=False)
class MultiAgentCallOutput(Item):
    """What came of a `MultiAgentCall`."""

    type: ClassVar[str] = "multi_agent_call_output"
    call_id: str
    action: str
    output: tuple[ContentPart, ...]
