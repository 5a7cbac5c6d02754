"""What a tool may know about the call that it serves."""

from __future__ import annotations

from typing import Any, Protocol

import attrs
import trio


class AgentRunner(Protocol):
    """Whatever can run an agent: in a program, the engine that runs the calling tool."""

    async def run(self, agent: Any, run_input: Any, /) -> Any:
        """Run `agent` on `run_input` to its end and return the result."""
        ...


@attrs.frozen(kw_only=True)
class ToolContext:
    """The facts of one call, for the tool that asks for them.

    A tool asks by annotating a parameter with `ToolContext`; the model never sees that parameter.

    Attributes:
        run_id: The run whose model made the call.
        call_id: The id that the model gave the call.
        tool: The tool's name.
        idempotency_key: The same for every attempt at this call, in this process or a later one, and for
            no other call: hand it to whatever refuses to do a thing twice.
        deadline: When the call is cut off, in seconds of Trio's clock; `math.inf` for never.
        engine: Runs another agent, as a child of this call: cancelling the call cancels it.
    """

    run_id: str
    call_id: str
    tool: str
    idempotency_key: str
    deadline: float
    engine: AgentRunner

    def seconds_left(self) -> float:
        """How many seconds are left until the deadline: 0 when it has passed, `math.inf` without one.

        Callable from the tool's task and, in a sync tool, from its thread.

        Raises:
            trio.Cancelled: Nobody waits for this thread any longer.
        """
        try:
            now = trio.current_time()
        except RuntimeError:  # not in Trio's thread
            now = trio.from_thread.run_sync(trio.current_time)
        return max(0.0, self.deadline - now)
