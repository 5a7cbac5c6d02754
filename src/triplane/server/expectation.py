"""What a request is expected to be, and how it differs. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, final

import attrs

from .model import ModelRequest

__all__ = ["Expect", "Matcher", "to_expect"]

Matcher: TypeAlias = str | re.Pattern[str] | Callable[[Any], bool] | None
"""What a value has to be: equal to a string, found by a pattern, accepted by a function. None is anything."""

_SHOWN = 200


@final
@attrs.frozen(kw_only=True)
class Expect:
    """What a request is expected to be; what is left out may be anything.

    Attributes:
        text: the text of the last user message.
        first_text: the text of the first one.
        model: the name the client sent.
        instructions: of the request; those that are missing are "".
        tools: names of tools that are offered, whatever others there are; those without a name go by their type.
        outputs: what the request answers to calls: a mapping from the name of a tool to the text of its output, or a
            list of the texts in order. It has to be all of them, and an empty one means that there are none.
        previous_response_id: whether the request continues a response, or which one.
        settings: what the response will show of the request, such as `{"tool_choice": "required"}`.
        where: a function that looks at the `ModelRequest` itself.
    """

    text: Matcher = None
    first_text: Matcher = None
    model: Matcher = None
    instructions: Matcher = None
    tools: Sequence[str] | None = None
    outputs: Mapping[str, Matcher] | Sequence[Matcher] | None = None
    previous_response_id: bool | str | None = None
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    where: Callable[[ModelRequest], bool] | None = None

    def differences(self, request: ModelRequest) -> list[str]:
        """Return how `request` differs, each difference as a phrase; none if it is what was expected."""
        return list(self._differences(request))

    def _differences(self, request: ModelRequest) -> Iterator[str]:
        for name in ("text", "first_text", "model", "instructions"):
            matcher: Matcher = getattr(self, name)
            if matcher is not None:
                yield from _differs(name, matcher, getattr(request, name) or "")
        if self.tools is not None and (
            missing := [name for name in self.tools if name not in request.tool_names]
        ):
            yield f"tools: expected {', '.join(missing)} among them, came {', '.join(request.tool_names) or 'none'}"
        if self.outputs is not None:
            yield from self._differing_outputs(self.outputs, request)
        came = request.previous_response_id
        match self.previous_response_id:
            case bool() as wanted if wanted != (came is not None):
                yield f"previous_response_id: expected {'one' if wanted else 'none'}, came {came}"
            case str() as wanted if wanted != came:
                yield f"previous_response_id: expected {wanted}, came {came}"
        for name, wanted in self.settings.items():
            if (setting := request.setting(name)) != wanted:
                yield f"{name}: expected {_shown(wanted)}, came {_shown(setting)}"
        if self.where is not None and not self.where(request):
            yield f"where: {_name(self.where)} did not accept it"

    @staticmethod
    def _differing_outputs(
        wanted: Mapping[str, Matcher] | Sequence[Matcher], request: ModelRequest
    ) -> Iterator[str]:
        came = [(output.name, output.text) for output in request.outputs]
        if isinstance(wanted, Mapping):
            if sorted(wanted) != sorted(name for name, _ in came):
                names = ", ".join(name for name, _ in came)
                yield f"outputs: expected those of {', '.join(wanted) or 'none'}, came those of {names or 'none'}"
                return
            pairs = [(name, wanted[name], text) for name, text in came]
        else:
            if len(wanted) != len(came):
                yield f"outputs: expected {len(wanted)}, came {len(came)}"
                return
            pairs = [
                (str(index), matcher, text)
                for index, (matcher, (_, text)) in enumerate(zip(wanted, came, strict=True))
            ]
        for name, matcher, text in pairs:
            if matcher is not None:
                yield from _differs(f"outputs[{name}]", matcher, text)


def to_expect(value: Expect | Mapping[str, Any] | Matcher) -> Expect:
    """Make an `Expect` of what stands for one: its fields, or what the text is, or a function of the request.

    Raises:
        TypeError: it is none of these.
    """
    match value:
        case None:
            return Expect()
        case Expect():
            return value
        case str() | re.Pattern():
            return Expect(text=value)
        case Mapping():
            return Expect(**value)
        case _ if callable(value):
            return Expect(where=value)
    raise TypeError(f"nothing that can be expected: {value!r}")


def _differs(name: str, matcher: Matcher, came: str) -> Iterator[str]:
    match matcher:
        case str():
            if came != matcher:
                yield f"{name}: expected {_shown(matcher)}, came {_shown(came)}"
        case re.Pattern():
            if not matcher.search(came):
                yield f"{name}: expected to find {_shown(matcher.pattern)}, came {_shown(came)}"
        case _ if callable(matcher):
            if not matcher(came):
                yield f"{name}: {_name(matcher)} did not accept {_shown(came)}"
        case _:
            yield f"{name}: {matcher!r} is nothing that can be expected"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", repr(function))
