"""One run, told to a person or to a program while it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from triplane.cli.demo import CLOSE_SECONDS
from triplane.cli.failures import Failure, explain
from triplane.cli.narrator import JsonLines, Narrator
from triplane.cli.run_names import find_run_id
from triplane.cli.scopes import interruptible
from triplane.cli.units import counted
from triplane.cli.untrusted import named, one_line
from triplane.core.errors import TriplaneError
from triplane.core.options import EngineOptions
from triplane.core.records import RunParked
from triplane.engine.opening import open_engine
from triplane.engine.resumption import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from triplane.cli.narrator import Said
    from triplane.cli.screen import Screen
    from triplane.core.records import ApprovalAsked
    from triplane.core.run_state import RunState
    from triplane.engine.agent import Agent
    from triplane.engine.engine import Engine
    from triplane.engine.run import Run
    from triplane.net.endpoint import Endpoint

# The exit status of a run that somebody has to decide about.
WAITS_FOR_APPROVAL = 3


@attrs.frozen
class Resumed:
    """A run to continue.

    Attributes:
        run_id: Which, or the beginning of its id, or "last".
        allow_changes: Whether the agent may be another one than before.
        approve: The calls that may run.
        deny: Those that must not, with a reason each, perhaps an empty one.
    """

    run_id: str
    allow_changes: bool = False
    approve: Sequence[str] = ()
    deny: Mapping[str, str] = attrs.field(factory=dict)


async def run_once(
    agent: Agent,
    prompt: str | None,
    endpoint: Endpoint,
    screen: Screen,
    *,
    as_json: bool,
    ledger: Path | None = None,
    resumed: Resumed | None = None,
) -> int:
    """Run an agent once, show it, and return the exit status.

    The final text goes to standard output, or with `as_json` every event; everything else to standard error.

    Args:
        agent: Who answers.
        prompt: What it is asked; None if a run is resumed.
        endpoint: Where.
        screen: Where it is shown.
        as_json: Whether for a program.
        ledger: The file that the run's log is kept in, None for nowhere.
        resumed: The run of that file to continue instead of a new one.

    Raises:
        click.ClickException: The run to resume is not in the file, or several could be meant.
        BrokenPipeError: Nobody reads the output any more; the run was cancelled.
    """
    options = EngineOptions(max_connections=1, close_timeout=CLOSE_SECONDS, close_grace=2 * CLOSE_SECONDS)
    teller = JsonLines() if as_json else Narrator(live=screen.out_is_terminal)
    state: RunState | None = None
    failure: Failure | None = None
    waiting: Sequence[ApprovalAsked] = ()
    run_id = ""
    with interruptible() as interruption, interruption.scope:
        try:
            async with open_engine(endpoint, options=options, ledger=ledger) as engine:
                if resumed is not None and ledger is not None:
                    resumed = attrs.evolve(
                        resumed, run_id=await find_run_id(engine.ledger, ledger, resumed.run_id)
                    )
                if resumed is not None and (waiting := await _undecided(engine, resumed)):
                    run_id = resumed.run_id
                    for asked in waiting:
                        await show(teller.tell(asked), screen)
                else:
                    async with _opened(engine, agent, prompt, resumed) as run:
                        run_id = run.run_id
                        waiting = await _follow(run, teller, screen)
                        if not waiting:
                            result = run.result
                            await show(teller.end(result), screen)
                            state = result
        except TriplaneError as error:
            failure = explain(error)
    if state is not None:
        # All was said. A signal that came while the connection was being closed changes nothing.
        failure = Failure.incomplete(state.reason) if state.status != "completed" else None
    else:
        await show(teller.fresh_line(), screen)
    if ledger is not None and run_id:
        screen.say(f"recorded as {run_id} in {named(str(ledger))}", style="dim")
    if waiting and failure is None:
        for line in _how_to_go_on(run_id, waiting, ledger):
            screen.say(line)
        return WAITS_FOR_APPROVAL
    if interruption and state is None:
        screen.say("interrupted; nothing is left running")
        return interruption.exit_status
    if failure is not None:
        for line in failure.lines():
            screen.say(line)
        return 1
    return 0


async def _follow(run: Run, teller: JsonLines | Narrator, screen: Screen) -> Sequence[ApprovalAsked]:
    """Show a run to its end, or until it is parked; what it waits for then."""
    async for event in run:
        await show(teller.tell(event), screen)
        if isinstance(event, RunParked):
            return run.approvals
    return ()


async def _undecided(engine: Engine, resumed: Resumed) -> Sequence[ApprovalAsked]:
    """What a run waits for that is to be resumed without a decision."""
    if resumed.approve or resumed.deny:
        return ()
    reducer, _ = await fold(await engine.ledger.open(resumed.run_id))
    return reducer.approvals.open if reducer.status == "parked" else ()


def _how_to_go_on(run_id: str, waiting: Sequence[ApprovalAsked], ledger: Path | None) -> Iterator[str]:
    yield f"the run waits for approval of {counted(len(waiting), 'call')}:"
    for asked in waiting:
        yield f"  {one_line(asked.call_id, 80)}: {one_line(asked.name, 64)} {one_line(asked.arguments, 100)}".rstrip()
    if ledger is None:
        yield "its log was not kept, so it ends here; run it with --ledger FILE to go on after such a question"
    else:
        words = f"triplane resume {run_id} --ledger {named(str(ledger))} …"
        yield f"go on with {words} and, for each call, --approve CALL or --deny CALL[=REASON]"


def _opened(
    engine: Engine, agent: Agent, prompt: str | None, resumed: Resumed | None
) -> AbstractAsyncContextManager[Run]:
    if resumed is None:
        return engine.open_run(agent, prompt or "")
    return engine.open_resumed(
        resumed.run_id,
        agent,
        allow_changes=resumed.allow_changes,
        approve=resumed.approve,
        deny=resumed.deny,
    )


async def show(pieces: Iterable[Said], screen: Screen) -> None:
    """Write what a narrator says: the answer as it is, notes as lines of their own."""
    for said in pieces:
        if said.is_note:
            await screen.write(said.stream, f"{said.text}\n", style="dim")
        else:
            await screen.write(said.stream, said.text)
