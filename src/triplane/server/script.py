"""Scripts: a model that says what a test wrote down, turn by turn, and objects to everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, final, get_args

import attrs

from .errors import Refused
from .expectation import Expect, Matcher, to_expect
from .model import ModelRequest
from .steps import Step, Text

__all__ = ["Script", "ScriptError", "Turn"]

_STEPS = get_args(Step)


class ScriptError(AssertionError):
    """What was asked is not what the script says: requests that matched nothing, turns that were not used."""


Saying: TypeAlias = "Step | str | Sequence[Step | str] | Callable[[ModelRequest], Iterable[Step]]"
"""What a turn says: steps, where a string is a text; or a function that makes them of the request."""


def _to_says(says: Saying) -> tuple[Step, ...] | Callable[[ModelRequest], Iterable[Step]]:
    if callable(says):
        return says
    several = says if isinstance(says, Sequence) and not isinstance(says, str) else (says,)
    return tuple(map(_to_step, several))


def _to_step(step: Step | str) -> Step:
    if isinstance(step, str):
        return Text(step)
    if not isinstance(step, _STEPS):
        raise TypeError(f"not a step: {step!r}")
    checked: Step = step
    return checked


@final
@attrs.frozen
class Turn:
    """One answer of a script.

    Attributes:
        says: the steps of the answer: one or a list of them, where a string is a text; or a function that makes them
            of the `ModelRequest`. An answer that calls nothing and is empty is `[]`.
        expect: what the request has to be: an `Expect`, a mapping of its fields, what the text is, or a function of
            the request; None accepts any.
        times: how many requests it answers, one after the other.
        name: what messages call it; by default its place in the script.
    """

    says: tuple[Step, ...] | Callable[[ModelRequest], Iterable[Step]] = attrs.field(converter=_to_says)
    expect: Expect = attrs.field(default=None, converter=to_expect)
    times: int = attrs.field(
        default=1, kw_only=True, validator=[attrs.validators.instance_of(int), attrs.validators.ge(1)]
    )
    name: str = attrs.field(default="", kw_only=True)

    def _steps(self, request: ModelRequest) -> Iterable[Step]:
        return self.says(request) if callable(self.says) else self.says


def _to_turns(turns: Iterable[Turn | Saying]) -> list[Turn]:
    return [turn if isinstance(turn, Turn) else Turn(turn) for turn in turns]


@final
class _Thread:
    """The turns of one conversation, and how far it has come."""

    def __init__(self, turns: list[Turn], match: Expect, name: str) -> None:
        self.match = match
        self.name = name
        self._turns = turns
        self._left = [turn.times for turn in turns]
        self._next = 0

    def next(self, request: ModelRequest) -> Turn:
        """Return the turn that answers `request`, which is used up by it.

        Raises:
            ScriptError: it is not what the turn expects, or there is none left.
        """
        if self._next == len(self._turns):
            raise ScriptError(f"no turn is left{self._of_name()}; there were {len(self._turns)}")
        turn = self._turns[self._next]
        if differences := turn.expect.differences(request):
            raise ScriptError(f"{self._called(self._next)} does not expect it: {'; '.join(differences)}")
        self._left[self._next] -= 1
        if not self._left[self._next]:
            self._next += 1
        return turn

    def unused(self) -> list[str]:
        """Return what is left, in words."""
        return [
            f"{self._called(at)} was not used"
            if left == self._turns[at].times
            else f"{self._called(at)} was used {self._turns[at].times - left} times and not {self._turns[at].times}"
            for at, left in enumerate(self._left)
            if left
        ]

    def _called(self, at: int) -> str:
        named = f" ({self._turns[at].name})" if self._turns[at].name else ""
        return f"turn {at + 1}{named}{self._of_name()}"

    def _of_name(self) -> str:
        return f" of {self.name}" if self.name else ""


@final
class Script:
    """A model that gives the answers of a list, one to each request, and is strict about it.

    A request that the turn which is due does not expect is refused with status 400 and the code "script_mismatch",
    saying what was expected and what came; the turn stays due. `assert_done` tells of these requests and of turns that
    were not used::

        script = Script([
            Turn(FunctionCall("look", {"at": "x"}), expect="What is at x?"),
            Turn("It is red.", expect={"outputs": {"look": "red"}}),
        ])
        ...  # run what is tested, against a server with model=script
        script.assert_done()

    Warm-ups are not answered by models and use no turn. A client that repeats a request, since its connection was
    lost, needs a turn for each time it is received: see `Turn.times`.

    When several conversations run at once, their requests come in any order. Give each its own turns by
    `conversation`.

    Not for several threads at once; a server uses it from its own.

    Args:
        turns: the answers. Something that is not a `Turn` is what one says.
        name: the name by which requests select this model.
    """

    def __init__(self, turns: Iterable[Turn | Saying] = (), *, name: str = "script") -> None:
        self.name = name
        self._threads: list[_Thread] = []
        self._mismatches: list[str] = []
        if turns := _to_turns(turns):
            self._threads.append(_Thread(turns, Expect(), ""))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {len(self.unused())} turns to go>"

    def conversation(
        self,
        turns: Iterable[Turn | Saying],
        *,
        match: Expect | Mapping[str, Any] | Matcher,
        name: str = "",
    ) -> None:
        """Add the turns of one conversation of several.

        A request belongs to the first conversation that matches it. Match by what is the same in all requests of a
        conversation and differs between them, such as `first_text`, `instructions`, or a setting like
        "prompt_cache_key".

        Args:
            turns: of the conversation, in their order.
            match: which requests belong to it, in the words of `Turn.expect`; there, a string is the first text.
            name: what messages call it; by default its place.
        """
        expect = Expect(first_text=match) if isinstance(match, str) else to_expect(match)
        name = name or f"conversation {len(self._threads) + 1}"
        self._threads.append(_Thread(_to_turns(turns), expect, name))

    def respond(self, request: ModelRequest) -> Iterable[Step]:
        """Return the steps of the turn that is due.

        Raises:
            Refused: there is none, or it expects something else.
        """
        try:
            turn = self._thread_of(request).next(request)
        except ScriptError as error:
            message = f"The script {self.name!r}: {error}."
            self._mismatches.append(message)
            raise Refused(message, code="script_mismatch") from None
        return turn._steps(request)  # noqa: SLF001 - a turn's steps are the script's business

    def _thread_of(self, request: ModelRequest) -> _Thread:
        why: list[str] = []
        for thread in self._threads:
            differences = thread.match.differences(request)
            if not differences:
                return thread
            why.append(f"not of {thread.name}, {'; '.join(differences)}")
        raise ScriptError("; ".join(["the request belongs to no conversation", *why]))

    def unused(self) -> list[str]:
        """Return the turns that are still to be used, in words."""
        return [each for thread in self._threads for each in thread.unused()]

    @property
    def mismatches(self) -> list[str]:
        """What was said about each request that was refused, oldest first."""
        return list(self._mismatches)

    def assert_done(self) -> None:
        """Check that every request was expected and every turn was used.

        Raises:
            ScriptError: it says which ones were not.
        """
        if problems := [*self._mismatches, *self.unused()]:
            raise ScriptError("\n".join([f"The script {self.name!r} did not go as written:", *problems]))
