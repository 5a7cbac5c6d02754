r"""The `directive` model does what the lines of the last user message say.

| line | what it does |
|---|---|
| `CALL <tool> <arguments>` | calls the tool; the arguments are passed on as they stand, JSON or not |
| `REPEAT <n> CALL <tool> <arguments>` | the same single call in `n` consecutive turns |
| `ASYNC <tool> <arguments>` | calls the tool and does not wait for its output |
| `CUSTOM <tool> <input>` | calls the custom tool |
| `SHELL <command>` | calls the client's shell |
| `APPROVE <server> <tool> <arguments>` | asks for the approval of a call of an MCP server's tool |
| `SAY <n> <text>` | a message of `n` deltas, each of them `text` |
| `REFUSE <text>` | a refusal |
| `REASON <text>` | a reasoning item with this summary |
| `THINK <text>` | a reasoning item with this text, which only some models show |
| `STEP <name> <json>` | whatever else a model can say, by its name: `STEP web_search {"query": "rivers"}` |
| `WAIT <milliseconds>` | delays whatever comes next |
| `INCOMPLETE <reason>` | ends the response as incomplete: `content_filter`, `max_output_tokens`, `max_messages` |
| `FAIL <code> <message>` | ends the response as failed |
| `ERROR <code> <message>` | breaks the response off with an `error` event; the code `null` is none |
| `REJECT <status> <code> <message>` | turns the request down, so that there is no response |

Every other line is ignored, but a `STEP` that does not exist is refused. A line ends at `\n`. Neighbouring calls, of
whatever kind, are parallel calls of one response (one after the other when the request says
`parallel_tool_calls: false`); what is said or repeated after a call belongs to the next turn, so `SAY` then `CALL` is
commentary and a call in one response, and `CALL` then `SAY` are two turns. What ends a response belongs to the turn
it stands in, and ends it.

When nothing is left to do and the conversation ends in answers to calls, the answer is `RESULT: ` and the outputs of
the last turn, each as compact JSON, in the order in which they were given, joined by `; `. In all other cases it is
`echo: ` and the last 60 characters of the user's message. The tools need not be among those offered, so that a
client can be tested for calls of unknown tools.

Where the program stands is read off the conversation: the calls since the last user message are the calls made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import orjson

from triplane.server.conversation import Conversation, Item, is_output
from triplane.server.errors import Refused
from triplane.server.steps import (
    ApplyPatchCall,
    ComputerCall,
    CustomToolCall,
    Fail,
    FunctionCall,
    Incomplete,
    LocalShellCall,
    McpApprovalRequest,
    NewMessage,
    Reasoning,
    Refusal,
    ShellCall,
    Step,
    StreamError,
    Text,
    ToolSearchCall,
    Wait,
)
from triplane.server.steps.vocabulary import step_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from triplane.server.model import ModelRequest

__all__ = ["Directive"]

# `[^\S\n]` is white space inside a line. Nine digits keep a count far from Python's limit on int().
_WORD: Final = re.compile(r"[A-Z]+(?!\S)")
_REST: Final = re.compile(r"[A-Z]+(?:[^\S\n](?P<rest>.*))?", re.DOTALL)
_TOKEN: Final = re.compile(r"[A-Z]+[^\S\n]+(?P<first>\S+)(?:[^\S\n](?P<rest>.*))?", re.DOTALL)
_TOKENS: Final = re.compile(
    r"[A-Z]+[^\S\n]+(?P<first>\S+)[^\S\n]+(?P<second>\S+)(?:[^\S\n](?P<rest>.*))?", re.DOTALL
)
_REPEAT: Final = re.compile(r"REPEAT[^\S\n]+(?P<count>[0-9]{1,9})[^\S\n]+(?P<call>CALL\s.*)", re.DOTALL)
_SAY: Final = re.compile(r"SAY[^\S\n]+(?P<count>[0-9]{1,9})(?:[^\S\n](?P<text>.*))?", re.DOTALL)
_WAIT: Final = re.compile(r"WAIT[^\S\n]+(?P<milliseconds>[0-9]{1,9})\s*")

_ECHO_CHARACTERS: Final = 60
_DELTA_CHARACTERS: Final = 24

# What joins an answer to its call.
_JOINTS: Final = frozenset({"type", "id", "call_id", "approval_request_id", "output"})

_ENDINGS: Final = (Fail, StreamError, Incomplete)
_CALLS: Final = (
    FunctionCall,
    CustomToolCall,
    ShellCall,
    LocalShellCall,
    ApplyPatchCall,
    ComputerCall,
    McpApprovalRequest,
)


@attrs.frozen
class _Say:
    count: int
    text: str


@attrs.frozen
class _Reject:
    """Not a step: it is what comes instead of them."""

    refused: Refused


_Action: TypeAlias = Step | _Say | _Reject


@attrs.define
class _Turn:
    """What one response does, `repeat` times over. Only the last turn of a program has no calls."""

    actions: list[_Action] = attrs.Factory(list)
    calls: int = 0
    repeat: int = 1


@attrs.define
class _Program:
    turns: list[_Turn]
    final_waits: list[Wait]

    def after(self, calls_made: int) -> tuple[_Turn | None, int]:
        """Return the turn that is due once `calls_made` calls were made, and the calls of the turn before it."""
        last_calls = 0
        for turn in self.turns:
            if calls_made <= 0 or not turn.calls:
                return turn, last_calls
            last_calls = turn.calls
            # A response that made some of a turn's calls has had its turn.
            turns_made = min(turn.repeat, -(-calls_made // turn.calls))
            if turns_made < turn.repeat:
                return turn, last_calls
            calls_made -= turns_made * turn.calls
        return None, last_calls


def _is_call(action: _Action) -> bool:
    """Tell whether the client has to answer it."""
    return isinstance(action, _CALLS) or (isinstance(action, ToolSearchCall) and action.tools is None)


def _call(match: re.Match[str]) -> _Action:
    return FunctionCall(match["first"], match["rest"] or "")


def _async(match: re.Match[str]) -> _Action:
    return FunctionCall(match["first"], match["rest"] or "", asynchronous=True)


def _custom(match: re.Match[str]) -> _Action:
    return CustomToolCall(match["first"], match["rest"] or "")


def _shell(match: re.Match[str]) -> _Action:
    return ShellCall([match["rest"] or ""])


def _approve(match: re.Match[str]) -> _Action:
    return McpApprovalRequest(match["first"], match["second"], match["rest"] or "{}")


def _say(match: re.Match[str]) -> _Action:
    return _Say(int(match["count"]), match["text"] or "")


def _refuse(match: re.Match[str]) -> _Action:
    return Refusal(match["rest"] or "")


def _reason(match: re.Match[str]) -> _Action:
    return Reasoning([match["rest"] or ""])


def _think(match: re.Match[str]) -> _Action:
    return Reasoning(text=match["rest"] or "")


def _step(match: re.Match[str]) -> _Action:
    return step_of(match["first"], orjson.loads(match["rest"]) if match["rest"] else None)


def _incomplete(match: re.Match[str]) -> _Action:
    return step_of("incomplete", (match["rest"] or "").strip() or None)


def _fail(match: re.Match[str]) -> _Action:
    return Fail(match["first"], match["rest"] or "")


def _error(match: re.Match[str]) -> _Action:
    return StreamError(None if match["first"] == "null" else match["first"], match["rest"] or "")


def _reject(match: re.Match[str]) -> _Action:
    return _Reject(Refused(match["rest"] or "", code=match["second"], status=int(match["first"])))


_LINES: Final[Mapping[str, tuple[re.Pattern[str], Callable[[re.Match[str]], _Action]]]] = {
    "CALL": (_TOKEN, _call),
    "ASYNC": (_TOKEN, _async),
    "CUSTOM": (_TOKEN, _custom),
    "SHELL": (_REST, _shell),
    "APPROVE": (_TOKENS, _approve),
    "SAY": (_SAY, _say),
    "REFUSE": (_REST, _refuse),
    "REASON": (_REST, _reason),
    "THINK": (_REST, _think),
    "STEP": (_TOKEN, _step),
    "INCOMPLETE": (_REST, _incomplete),
    "FAIL": (_TOKEN, _fail),
    "ERROR": (_TOKEN, _error),
    "REJECT": (_TOKENS, _reject),
}


def _action(line: str) -> _Action | None:
    """Return what `line` says, if it says anything.

    Raises:
        Refused: it says what cannot be.
    """
    word = _WORD.match(line)
    known = word and _LINES.get(word[0])
    match = known and known[0].fullmatch(line)
    if not known or not match:
        return None
    try:
        return known[1](match)
    except ValueError as exc:
        raise Refused(f"The line '{line[:200]}' cannot be obeyed: {exc}", param="input") from exc


def _parse(text: str, *, parallel: bool) -> _Program:
    turns: list[_Turn] = []
    waits: list[Wait] = []
    current = _Turn()

    def close() -> None:
        nonlocal current
        if current.actions:
            turns.append(current)
        current = _Turn()

    def add(action: _Action) -> None:
        current.actions += waits
        current.actions.append(action)
        current.calls += _is_call(action)
        waits.clear()

    for raw in text.split("\n"):
        line = raw.removesuffix("\r").lstrip()
        if match := _WAIT.fullmatch(line):
            waits.append(Wait(int(match["milliseconds"]) / 1000))
        elif match := _REPEAT.fullmatch(line):
            call = _action(match["call"])
            count = int(match["count"])
            if call is None or not count:
                continue
            # What was said before goes with the first of these turns, and not with all of them.
            for repeat in (1, count - 1):
                if current.calls:
                    close()
                if repeat:
                    add(call)
                    current.repeat = repeat
            close()
        elif (action := _action(line)) is not None:
            if isinstance(action, (*_ENDINGS, _Reject)):
                add(action)
                close()
                continue
            if current.calls and not (parallel and _is_call(action)):
                close()
            add(action)
    close()
    return _Program(turns, waits)


@attrs.frozen
class Directive:
    """Obeys the directives of the last user message. See the module's docstring for its language."""

    name: str = "directive"

    def respond(self, request: ModelRequest) -> Iterator[Step]:
        """Yield the steps of the turn that is due; a pure function of the conversation.

        Raises:
            Refused: a line says so, or says what cannot be.
        """
        conversation = request.conversation
        text = conversation.user_text
        program = _parse(text, parallel=request.parallel_tool_calls)
        turn, last_calls = program.after(conversation.calls_since_user)
        if turn is not None and (turn.calls or not _answered(conversation)):
            yield from _perform(turn)
            return
        yield from program.final_waits
        if outputs := _last_outputs(conversation, last_calls):
            yield from _message("RESULT: " + "; ".join(orjson.dumps(output).decode() for output in outputs))
        else:
            yield from _message("echo: " + text[-_ECHO_CHARACTERS:])


def _answered(conversation: Conversation) -> bool:
    """Tell whether the assistant spoke last, so that nothing is left to say."""
    for item in reversed(conversation):
        if is_output(item) or item.get("role") == "user":
            return False
        if item.get("role") == "assistant":
            return True
    return False


def _last_outputs(conversation: Conversation, last_calls: int) -> list[object]:
    """Return the outputs this conversation ends in, oldest first.

    A client that keeps its own history may write call, output, call, output where the server has call, call,
    output, output. Knowing how many calls the last turn made gives both the same answer.
    """
    outputs: list[object] = []
    for item in reversed(conversation):
        if is_output(item):
            outputs.append(_output(item))
        elif not outputs or len(outputs) >= last_calls or "role" in item:
            break
    return outputs[::-1]


def _output(item: Item) -> Any:
    """Return what a client's answer says; some have no `output`."""
    if item.get("output") is not None:
        return item["output"]
    return {key: value for key, value in item.items() if key not in _JOINTS}


def _perform(turn: _Turn) -> Iterator[Step]:
    for action in turn.actions:
        if isinstance(action, _Reject):
            raise attrs.evolve(action.refused)
    for action in turn.actions:
        if isinstance(action, _Say):
            yield NewMessage("commentary" if turn.calls else "final_answer")
            delta = Text(action.text)
            for _ in range(action.count):
                yield delta
        elif not isinstance(action, _Reject):
            yield action


def _message(text: str) -> Iterator[Step]:
    yield NewMessage()
    for start in range(0, len(text), _DELTA_CHARACTERS):
        yield Text(text[start : start + _DELTA_CHARACTERS])
