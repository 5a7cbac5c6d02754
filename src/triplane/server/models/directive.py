r"""The `directive` model does what the lines of the last user message say.

| line | what it does |
|---|---|
| `CALL <tool> <arguments>` | calls the tool; the arguments are passed on as they stand, JSON or not |
| `REPEAT <n> CALL <tool> <arguments>` | the same single call in `n` consecutive turns |
| `SAY <n> <text>` | a message of `n` deltas, each of them `text` |
| `WAIT <milliseconds>` | delays whatever comes next |

Every other line is ignored. A line ends at `\n`. Neighbouring `CALL` lines are parallel calls of one response
(one after the other when the request says `parallel_tool_calls: false`); a `SAY` or `REPEAT` after a call belongs
to the next turn, so `SAY` then `CALL` is commentary and a call in one response, and `CALL` then `SAY` are two turns.

When nothing is left to do and the conversation ends in tool outputs, the answer is `RESULT: ` and the outputs of
the last turn, each as compact JSON, in the order in which they were given, joined by `; `. In all other cases it is
`echo: ` and the last 60 characters of the user's message. The tools need not be among those offered, so that a
client can be tested for calls of unknown tools.

Where the program stands is read off the conversation: the calls since the last user message are the calls made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import orjson

from triplane.server.conversation import Conversation, is_output
from triplane.server.model import FunctionCall, ModelRequest, NewMessage, Step, Text, Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Directive"]

# `[^\S\n]` is white space inside a line. Nine digits keep a count far from Python's limit on int().
_CALL: Final = re.compile(r"CALL[^\S\n]+(?P<tool>\S+)(?:[^\S\n](?P<arguments>.*))?", re.DOTALL)
_REPEAT: Final = re.compile(r"REPEAT[^\S\n]+(?P<count>[0-9]{1,9})[^\S\n]+(?P<call>CALL\s.*)", re.DOTALL)
_SAY: Final = re.compile(r"SAY[^\S\n]+(?P<count>[0-9]{1,9})(?:[^\S\n](?P<text>.*))?", re.DOTALL)
_WAIT: Final = re.compile(r"WAIT[^\S\n]+(?P<milliseconds>[0-9]{1,9})\s*")

_ECHO_CHARACTERS: Final = 60
_DELTA_CHARACTERS: Final = 24


@attrs.frozen
class _Say:
    count: int
    text: str


_Action: TypeAlias = FunctionCall | _Say | Wait


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


def _parse_call(line: str) -> FunctionCall | None:
    match = _CALL.fullmatch(line)
    return match and FunctionCall(match["tool"], match["arguments"] or "")


def _parse(text: str, *, parallel: bool) -> _Program:
    turns: list[_Turn] = []
    waits: list[Wait] = []
    current = _Turn()

    def close() -> None:
        nonlocal current
        if current.actions:
            turns.append(current)
        current = _Turn()

    def add(action: FunctionCall | _Say) -> None:
        current.actions += waits
        current.actions.append(action)
        current.calls += isinstance(action, FunctionCall)
        waits.clear()

    for raw in text.split("\n"):
        line = raw.removesuffix("\r").lstrip()
        if call := _parse_call(line):
            if current.calls and not parallel:
                close()
            add(call)
        elif match := _REPEAT.fullmatch(line):
            call = _parse_call(match["call"])
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
        elif match := _SAY.fullmatch(line):
            if current.calls:
                close()
            add(_Say(int(match["count"]), match["text"] or ""))
        elif match := _WAIT.fullmatch(line):
            waits.append(Wait(int(match["milliseconds"]) / 1000))
    close()
    return _Program(turns, waits)


@attrs.frozen
class Directive:
    """Obeys the directives of the last user message. See the module's docstring for its language."""

    name: str = "directive"

    def respond(self, request: ModelRequest) -> Iterator[Step]:
        """Yield the steps of the turn that is due; a pure function of the conversation."""
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
            outputs.append(item.get("output"))
        elif not outputs or len(outputs) >= last_calls or "role" in item:
            break
    return outputs[::-1]


def _perform(turn: _Turn) -> Iterator[Step]:
    for action in turn.actions:
        if isinstance(action, _Say):
            yield NewMessage("commentary" if turn.calls else "final_answer")
            delta = Text(action.text)
            for _ in range(action.count):
                yield delta
        else:
            yield action


def _message(text: str) -> Iterator[Step]:
    yield NewMessage()
    for start in range(0, len(text), _DELTA_CHARACTERS):
        yield Text(text[start : start + _DELTA_CHARACTERS])
