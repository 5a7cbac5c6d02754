"""The arguments that a model wrote: from JSON text to the keyword arguments of a function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol, final

import orjson
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError

from .messages import message_of
from .secrets import Keywords
from .values import FieldError, ItemsError, MismatchError, Structure, structurer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .signature import Parameter, Signature

MAX_ARGUMENTS = 4 * 1024 * 1024
_MAX_LINES = 20
_MAX_SHOWN = 80


class InvalidArgumentsError(Exception):
    """The arguments of a call do not fit.

    Attributes:
        lines: What is wrong, one line for each field: at most 20, each short.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines)
        self.lines = lines


class ReadsArguments(Protocol):
    """Turns what a call says into what the code of a tool takes."""

    @property
    def context(self) -> str | None:
        """The name of the argument that is to be the `ToolContext`, or None."""
        ...

    def structure(self, text: str, /) -> dict[str, Any]:
        """The arguments that `text` says, without the context: new ones each time.

        Args:
            text: What the model wrote; of a function, which should be a JSON object.

        Raises:
            InvalidArgumentsError: It does not fit.
        """
        ...


@final
class Arguments:
    """Turns the arguments of calls into keyword arguments, for one signature."""

    __slots__ = ("_by_name", "_hooks", "_secrets", "_signature")

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._by_name = {parameter.name: parameter for parameter in signature.parameters}
        self._hooks: dict[str, Structure] = {}
        self._secrets = signature.secrets

    @property
    def context(self) -> str | None:
        """The name of the parameter that takes the `ToolContext`, or None."""
        return self._signature.context

    def structure(self, text: str) -> dict[str, Any]:
        """The keyword arguments that `text` stands for, without the context.

        An empty text is an empty object, as some servers write it. A null for a parameter with a default stands
        for the default.

        Raises:
            InvalidArgumentsError: `text` is not a JSON object, is longer than 4 MiB, says a thing twice, or
                does not fit the signature.
        """
        try:
            return self._structure(parse(text))
        except RecursionError:
            raise InvalidArgumentsError(["the arguments are nested too deeply"]) from None

    def _structure(self, given: dict[str, Any]) -> dict[str, Any]:
        lines: list[str] = []
        arguments: dict[str, Any] = {}
        for name, value in given.items():
            parameter = self._by_name.get(name)
            if parameter is None:
                names = ", ".join(self._by_name) or "none"
                lines.append(f"{_shown_key(name)}: there is no such parameter; the parameters are: {names}")
            elif value is not None or not parameter.has_default:
                try:
                    arguments[name] = self._hook(parameter)(value, parameter.type)
                except Exception as error:  # noqa: BLE001  (a class's own converter may raise anything)
                    lines += _explain_secret(error, name) if parameter.is_secret else _explain(error, name)
        lines += [
            f"{parameter.name}: missing"
            for parameter in self._signature.parameters
            if not parameter.has_default and parameter.name not in given
        ]
        if lines:
            if len(lines) > _MAX_LINES:
                lines[_MAX_LINES - 1 :] = [f"… {len(lines) - _MAX_LINES + 1} more"]
            raise InvalidArgumentsError(lines)
        return Keywords(arguments, self._secrets) if self._secrets else arguments

    def _hook(self, parameter: Parameter) -> Structure:
        hook = self._hooks.get(parameter.name)
        if hook is None:
            hook = self._hooks[parameter.name] = structurer(parameter.type)
        return hook


def parse(text: str) -> dict[str, Any]:
    """The JSON object that `text` is; an empty text is an empty one.

    Raises:
        InvalidArgumentsError: It is not a JSON object, is longer than 4 MiB, or says a thing twice.
        RecursionError: It is nested too deeply.
    """
    if not text:
        return {}
    if len(text) > MAX_ARGUMENTS:
        raise InvalidArgumentsError([f"the arguments are longer than {MAX_ARGUMENTS:,} characters"])
    given = json_value(text)
    if not isinstance(given, dict):
        raise InvalidArgumentsError([f"expected a JSON object, got {_shown(given)}"])
    # orjson lets the last of two equal keys win. Every key has a colon, so with no more colons than keys there
    # is no second one; only a colon elsewhere, inside a string, needs the slower parser to tell.
    if text.count(":") != _count_keys(given):
        json.loads(text, object_pairs_hook=_refuse_twice)
    return given


def json_value(text: str) -> Any:
    """What `text` is in JSON.

    Raises:
        InvalidArgumentsError: It is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidArgumentsError([f"not valid JSON: {error}"]) from None


def _count_keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_count_keys, value.values()))
    return sum(map(_count_keys, value)) if isinstance(value, list) else 0


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = dict(pairs)
    if len(seen) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidArgumentsError([f"{_shown_key(twice)}: given twice"])
    return seen


def _explain(error: BaseException, path: str) -> Iterator[str]:
    """One line for each thing that is wrong: where, and what was expected."""
    if isinstance(error, ClassValidationError):
        noted, others = error.group_exceptions()
        for inner, note in noted:
            yield from _explain(inner, f"{path}.{note.name}")
        for inner in others:
            yield from _explain(inner, path)
    elif isinstance(error, ItemsError):
        for index, inner in error.errors:
            step = f"[{index}]" if isinstance(index, int) else f".{_shown_key(index)}"
            yield from _explain(inner, path + step)
    elif isinstance(error, MismatchError):
        yield f"{path}: expected {error.expected}, got {_shown(error.value)}"
    elif isinstance(error, ForbiddenExtraKeysError):
        for name in sorted(error.extra_fields):
            yield f"{path}.{_shown_key(name)}: there is no such field"
    elif isinstance(error, KeyError) and error.args and path.endswith(f".{message_of(error)[1:-1]}"):
        yield f"{path}: missing"
    elif isinstance(error, FieldError):
        yield f"{path}: {error}"
    else:
        yield f"{path}: {_cut(f'{type(error).__name__}: {message_of(error)}', 200)}"


def _explain_secret(error: Exception, path: str) -> Iterator[str]:
    """The same of a value that must not be shown, nor anything that was made of it."""
    yield (
        f"{path}: expected {error.expected}"
        if isinstance(error, MismatchError)
        else f"{path}: not as expected"
    )


def _shown(value: Any) -> str:
    try:
        return _cut(orjson.dumps(value).decode(), _MAX_SHOWN)
    except TypeError:  # something that a converter made of it
        return _cut(repr(value), _MAX_SHOWN)


def _shown_key(name: str) -> str:
    return name if name.isidentifier() and len(name) <= _MAX_SHOWN else _shown(name)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
