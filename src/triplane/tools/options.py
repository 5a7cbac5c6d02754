"""What can be said of a tool besides its function: limits, effects, and what a failure does."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import attrs

from triplane.core.errors import ConfigError

if TYPE_CHECKING:
    from triplane.core.outcome import EffectClass

OnError = Literal["report", "raise"]
Siblings = Literal["continue", "cancel"]
ErrorText = str | Callable[[Exception], str]
NeedsApproval = bool | Callable[[dict[str, Any]], bool]

MAX_OUTPUT = 65_536
MAX_ARTIFACT = 64 * 1024 * 1024


class ToolOptions(TypedDict, total=False):
    """The options of `tool` and `process_tool`. Each is a keyword argument, and an attribute of `Tool`.

    Attributes:
        timeout: Seconds that a call may take, retries included, from when its code starts; more than 0, `math.inf` for
            no limit. Default: 60.
        max_output: Bytes of output that the model gets, at least 1. What comes beyond is cut out of the middle.
            Default: 65,536.
        max_artifact: Bytes of output that are kept as an artifact where the model does not get all of them. A
            producer that has produced so much is stopped. At 0 nothing more than `max_output` is kept, and it is
            stopped there. Of a tool with a `Secret` no artifact is kept. Default: 64 MiB.
        effect: What a call does to the world: ``"read"`` changes nothing; ``"idempotent"`` may be repeated with the
            same idempotency key; ``"write"`` must happen at most once. Default: ``"write"``.
        max_concurrency: How many calls of it may be at work at once in an engine; the others wait in the order in which
            they came. Default: `math.inf`.
        retries: How many more attempts a call gets, within the same timeout, when it raises what `retry_on` names. Only
            for tools whose effect is not ``"write"``. Default: 0.
        retry_on: Which exceptions. Default: `Exception`.
        retry_delay: Seconds before the second attempt; before each later one twice as long as before the one before,
            at most 30, times a factor between 0.75 and 1 that depends on the call. Default: 0.5.
        early: Whether a call starts as soon as it is complete, while its response goes on. Only for tools whose effect
            is ``"read"``. Default: False.
        needs_approval: Whether a call waits until a person has approved it: always, or a sync function of its
            arguments that says whether, which must be quick. The run is parked meanwhile, see `Run.approvals`. Where
            the function raises, or returns neither True nor False, the call waits. Default: False.
        on_error: What a failed or late call does: ``"report"`` tells the model; ``"raise"`` ends the run with
            `RunFailed`. Default: None, as the agent says.
        siblings: What becomes of the other calls of the same response when this one fails or is late: they
            ``"continue"``, or it is ``"cancel"``. Default: None, as the agent says.
        error_text: What the model is told instead of an exception's type and message: a sentence, or a function that
            makes one of the exception. Default: None.
        hide_errors: Exceptions of which the model learns no more than that the tool failed. Default: none.
        async_: Whether the model goes on without waiting for the output, which a later request carries. For functions and
            custom tools, where the model knows of it (GPT-6 family). Default: False.
        defer_loading: Whether the model is not told of the parameters until a search loads them; see `tool_search`. For
            functions and custom tools. Default: False.
    """

    timeout: float
    max_output: int
    max_artifact: int
    effect: EffectClass
    max_concurrency: float
    retries: int
    retry_on: type[Exception] | tuple[type[Exception], ...]
    retry_delay: float
    early: bool
    needs_approval: NeedsApproval
    on_error: OnError | None
    siblings: Siblings | None
    error_text: ErrorText | None
    hide_errors: type[Exception] | tuple[type[Exception], ...]
    async_: bool
    defer_loading: bool


@attrs.frozen
class FailurePolicy:
    """What a failed call does where its tool does not say.

    Attributes:
        on_error: See `ToolOptions`.
        siblings: See `ToolOptions`.
    """

    on_error: OnError = "report"
    siblings: Siblings = "continue"


DEFAULTS: Mapping[str, Any] = {
    "timeout": 60.0,
    "max_output": MAX_OUTPUT,
    "max_artifact": MAX_ARTIFACT,
    "effect": "write",
    "max_concurrency": math.inf,
    "retries": 0,
    "retry_on": Exception,
    "retry_delay": 0.5,
    "early": False,
    "needs_approval": False,
    "on_error": None,
    "siblings": None,
    "error_text": None,
    "hide_errors": (),
    "async_": False,
    "defer_loading": False,
}


def checked(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options, the defaults filled in.

    Args:
        name: The tool's, for messages.
        given: What was said.

    Raises:
        ConfigError: An option is not known, or does not make sense.
    """
    unknown = [option for option in given if option not in DEFAULTS]
    if unknown:
        raise ConfigError(
            f"tool {name!r} has no option {unknown[0]!r}; the options are: {', '.join(sorted(DEFAULTS))}"
        )
    options = {**DEFAULTS, **given}
    _check_numbers(name, options)
    _check_words(name, options)
    effect, retries = options["effect"], options["retries"]
    if retries and effect == "write":
        raise ConfigError(
            f"tool {name!r} has retries={retries} with effect='write', which must happen at most once; remove the "
            f"retries, or say effect='read' or effect='idempotent' if that is true"
        )
    if options["early"] and effect != "read":
        raise ConfigError(
            f"tool {name!r} has early=True with effect={effect!r}; a response that is given up would leave its effect "
            f"behind, so only a tool with effect='read' may start early"
        )
    if options["early"] and options["needs_approval"] is True:
        raise ConfigError(
            f"tool {name!r} has early=True with needs_approval=True; a call that waits for a person can never start "
            f"early, so remove one of them"
        )
    if options["async_"] and options["needs_approval"] is not False:
        raise ConfigError(
            f"tool {name!r} has async_=True with needs_approval; the run waits for the person who approves, so it can "
            f"wait for the call as well: remove one of them"
        )
    if options["early"] and options["async_"]:
        raise ConfigError(
            f"tool {name!r} has early=True and async_=True; nobody waits for an async one anyway"
        )
    options["timeout"] = float(options["timeout"])
    return options


def _check_numbers(name: str, options: Mapping[str, Any]) -> None:
    def check(option: str, *, whole: bool, least: float, above: bool = False, words: str) -> None:
        value: Any = options[option]
        kinds = (int,) if whole else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool) and _is_number(value)
        if not fits or value < least or (above and value == least):
            raise ConfigError(f"{option} of tool {name!r} is {value!r}; give {words}")

    check("timeout", whole=False, least=0, above=True, words="seconds above 0, or math.inf for no limit")
    check("max_output", whole=True, least=1, words="bytes, at least 1")
    check("max_artifact", whole=True, least=0, words="bytes, at least 0")
    check("retries", whole=True, least=0, words="a number of attempts, at least 0")
    check("retry_delay", whole=False, least=0, words="seconds, at least 0")
    calls = "a number of calls, at least 1, or math.inf for no limit"
    check("max_concurrency", whole=options["max_concurrency"] != math.inf, least=1, words=calls)


def _is_number(value: float) -> bool:
    try:
        return not math.isnan(value)
    except OverflowError:  # an int beyond all floats
        return False


def _check_words(name: str, options: Mapping[str, Any]) -> None:
    def check(option: str, choices: Sequence[Any], words: str) -> None:
        value: Any = options[option]
        if value not in choices:
            raise ConfigError(f"{option} of tool {name!r} is {value!r}; use {words}")

    check("effect", ("read", "idempotent", "write"), "'read', 'idempotent' or 'write'")
    for option in ("early", "async_", "defer_loading"):
        check(option, (True, False), "True or False")
    check("on_error", (None, "report", "raise"), "'report' or 'raise'")
    check("siblings", (None, "continue", "cancel"), "'continue' or 'cancel'")
    asks = options["needs_approval"]
    if not isinstance(asks, bool) and (not callable(asks) or inspect.iscoroutinefunction(asks)):
        raise ConfigError(
            f"needs_approval of tool {name!r} is {asks!r}; give True, False, or a function (not an async one) of the"
            f" call's arguments, a dict"
        )
    text = options["error_text"]
    if not (text is None or isinstance(text, str) or callable(text)):
        raise ConfigError(
            f"error_text of tool {name!r} is {text!r}; give a sentence, or a function that makes one of an exception"
        )
    for option in ("retry_on", "hide_errors"):
        value: Any = options[option]
        kinds = value if isinstance(value, tuple) else (value,)
        if not all(inspect.isclass(kind) and issubclass(kind, Exception) for kind in kinds):
            raise ConfigError(
                f"{option} of tool {name!r} is {value!r}; give a class of exceptions, or a tuple of them"
            )
