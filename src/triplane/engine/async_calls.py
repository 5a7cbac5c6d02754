"""The calls of one run that its model does not wait for: they go on while turns come and go.

Such a call is ``async`` (OpenAI, GPT-6 family): the model goes on without its output, which any later request of the
chain may carry, under the call's own id. So it runs in the background of the run; its outcome, once recorded, is input
for the next request, by the fold and not by the engine; and the run ends when none is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

from triplane.core.errors import TriplaneError
from triplane.tools import CallRun, ToolFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from triplane.core.outcome import ToolCall
    from triplane.core.reducer import RunReducer
    from triplane.tools import FailurePolicy, Setting, Tool


@final
class AsyncCalls:
    """Runs them, and knows when there is something new.

    Args:
        run: The run, whose book says which there are.
        setting: What its calls have in common.
        policy: What a failed call does where its tool does not say. Calls of the same response are not its siblings
            here: they may have ended long before.
    """

    def __init__(self, run: RunReducer, setting: Setting, policy: FailurePolicy) -> None:
        self._run = run
        self._setting = setting
        self._policy = policy
        self._begun: set[str] = set()
        self._running = 0
        self._failure: TriplaneError | ToolFailedError | None = None
        self._has_ended = False
        self._news: trio.Event | None = None

    def start(self, nursery: trio.Nursery, tools: Mapping[str, Tool]) -> None:
        """Start those that have not begun. Not a checkpoint."""
        for call in self._run.calls.outstanding:
            if call.call_id not in self._begun:
                self._begin(nursery, call, CallRun(call, tools, self._setting))

    def take_over(
        self, nursery: trio.Nursery, call: ToolCall, earlier: CallRun, hand_over: Callable[[], object]
    ) -> None:
        """Give a call the outcome of one that runs already, in a task of somebody else's. Not a checkpoint.

        Args:
            nursery: Where it is waited for.
            call: Who gets the outcome.
            earlier: Whose it is.
            hand_over: Records it for the call, once it is there.
        """
        self._begin(nursery, call, earlier, hand_over)

    def has_begun(self, call: ToolCall) -> bool:
        """Whether a call was started here."""
        return call.call_id in self._begun

    def _begin(
        self,
        nursery: trio.Nursery,
        call: ToolCall,
        one: CallRun,
        hand_over: Callable[[], object] | None = None,
    ) -> None:
        self._begun.add(call.call_id)
        self._running += 1
        nursery.start_soon(self._see_to, one, hand_over, name=f"async tool {call.full_name[:64]}")

    async def _see_to(self, one: CallRun, hand_over: Callable[[], object] | None) -> None:
        """Run one call, or wait for one. What is expected to fail is a value: nothing but bugs raises into the nursery."""
        try:
            if hand_over is None:
                await one.run()
            else:
                await one.over.wait()
                hand_over()
            if one.raises(self._policy):
                assert one.outcome is not None
                self._failure = ToolFailedError(one.call, one.outcome)
                self._failure.__cause__ = one.error
        except TriplaneError as failure:
            self._failure = failure
        finally:
            self._running -= 1
            self._has_ended = True
            self.wake()

    def wake(self) -> None:
        """Have whoever waits look again. Idempotent. Not a checkpoint."""
        if self._news is not None:
            self._news.set()

    async def delivery(self, is_enough: Callable[[], bool]) -> None:
        """Return as soon as there is something to do: `is_enough` says so, or `check` has something to raise.

        It is asked again after each `wake`. A checkpoint.
        """
        await trio.lowlevel.checkpoint()
        while self._failure is None and not is_enough():
            await self._wait()

    async def drain(self) -> None:
        """Return once none is running. A checkpoint if any is."""
        while self._running:
            await self._wait()

    async def _wait(self) -> None:
        self._news = trio.Event()
        await self._news.wait()

    def check(self) -> bool:
        """Raise what ends the run, or tell whether any call has ended since the last time. Not a checkpoint.

        Raises:
            ToolFailedError: A tool failed that says ``on_error="raise"``.
            TriplaneError: What happened could not be recorded.
        """
        if self._failure is not None:
            raise self._failure
        has_ended, self._has_ended = self._has_ended, False
        return has_ended
