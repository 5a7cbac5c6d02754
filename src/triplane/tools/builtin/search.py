"""The search for tools: of those that are not loaded from the start, by the server or by the client."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, final

import attrs
import orjson
import trio

from triplane.core.errors import ConfigError
from triplane.tools.arguments import InvalidArgumentsError, json_value
from triplane.tools.kinds import WrongPieceError
from triplane.tools.namespace import definitions
from triplane.tools.tool import Tool, by_name

from .declare import ACTION, declared

if TYPE_CHECKING:
    from triplane.tools.kinds import Production
    from triplane.tools.options import ToolOptions

Search = Callable[[Mapping[str, Any], Sequence[Tool]], Sequence[Tool]]

_MOST_FOUND: Final = 10
_WORD: Final = re.compile(r"[^\W_]+")
_DESCRIPTION: Final = "Search for tools by words of what they do, and load them."
_PARAMETERS: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "Words of what the tool should do."}},
    "required": ["query"],
    "additionalProperties": False,
}


def tool_search(
    tools: Iterable[Tool],
    *,
    execution: Literal["server", "client"] = "server",
    search: Search | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    **options: Unpack[ToolOptions],
) -> tuple[Tool, ...]:
    """The API's ``tool_search`` tool, and `tools` as such that the model loads by it before it calls them.

    ::

        agent = triplane.Agent("gpt-5.5", tools=[*tool_search(namespace("crm", "Customers and orders.", [find, change]))])

    With ``execution="server"`` the tools go up marked with ``defer_loading``; the server searches, and the model knows
    no more of them beforehand than their names and descriptions, of those in a namespace than its own. With
    ``"client"`` they do not go up at all: `search` finds them here, and what it finds is sent as the answer.

    Args:
        tools: Functions and custom tools, perhaps in namespaces.
        execution: Who searches.
        search: For ``"client"``: gets what the model wrote, as the object of `parameters`, and all tools, and returns some
            of them. It must be quick, and may be async. Default: those that share most words with the model's
            ``query``, at most 10.
        description: For ``"client"``: what the model is told about the search, and about what can be found.
        parameters: For ``"client"``: the JSON schema of what the model writes. Default: a text, ``query``.
        options: For ``"client"``: see `ToolOptions`. The default of `effect` is ``"read"``.

    Raises:
        ConfigError: There are no tools, one cannot be loaded later, or an option does not make sense.
    """
    members = tuple(by_name(tools).values())
    if not members:
        raise ConfigError("tool_search takes the tools that can be found")
    for each in members:
        if each.kind not in ("function_call", "custom_tool_call"):
            raise ConfigError(f"the tool {each.name!r} cannot be searched for: it is no function")
    if execution not in ("server", "client"):
        raise ConfigError(f"execution of the tool search is {execution!r}; use 'server' or 'client'")
    if execution == "server" and (search, description, parameters, dict(options)) != (None, None, None, {}):
        raise ConfigError("the server searches by itself; say execution='client' to do it here")
    if search is not None and not callable(search):
        raise ConfigError(f"search= of the tool search is {search!r}; give a function")
    wire: dict[str, Any] = {"type": "tool_search"}
    if execution == "client":
        wire |= {
            "execution": "client",
            "description": _DESCRIPTION if description is None else description,
            "parameters": dict(_PARAMETERS if parameters is None else parameters),
        }
    options.setdefault("effect", "read")
    deferred = tuple(
        attrs.evolve(each, defer_loading=True, is_offered=execution == "server") for each in members
    )
    finder = declared(
        "tool_search_call",
        "tool_search",
        wire,
        ReadsObject(),
        Finds(deferred, by_words if search is None else search),
        options,
    )
    return (finder, *deferred)


@final
@attrs.frozen
class ReadsObject:
    """Takes the JSON object that a search call has for its arguments."""

    @property
    def context(self) -> str | None:
        """None: a search needs none."""
        return None

    def structure(self, text: str) -> dict[str, Any]:
        """See `ReadsArguments`."""
        said = json_value(text)
        if isinstance(said, str):  # some servers write it as they write the arguments of functions
            try:
                said = orjson.loads(said)
            except orjson.JSONDecodeError:
                said = {"query": said}
        if not isinstance(said, dict):
            raise InvalidArgumentsError([f"expected a JSON object, got {text[:80]}"])
        return {ACTION: said}


@final
@attrs.frozen
class Finds:
    """Answers a search with the definitions of what it found."""

    tools: Sequence[Tool]
    search: Search

    async def __call__(self, arguments: dict[str, Any], production: Production) -> str:
        """See `Producer`."""
        found: Any = self.search(arguments[ACTION], self.tools)
        if inspect.isawaitable(found):
            found = await found
        await trio.lowlevel.checkpoint()
        if not isinstance(found, Sequence) or any(each not in self.tools for each in found):
            raise WrongPieceError("it found something else than some of its tools; return a list of those")
        fitting: list[Tool] = []
        size = 0
        for each in found:
            size += len(orjson.dumps(each.definition()))
            if size > production.output.max_output and fitting:
                break
            fitting.append(each)
        production.content.extend(definitions(fitting))
        left_out = (
            f", and {len(found) - len(fitting)} more, which are too much" if len(fitting) < len(found) else ""
        )
        return f"found: {', '.join(each.full_name for each in fitting) or 'nothing'}{left_out}"


def by_words(said: Mapping[str, Any], tools: Sequence[Tool]) -> Sequence[Tool]:
    """The tools that share most words with what the model wrote, the best first."""
    wanted = _words(" ".join(value for value in said.values() if isinstance(value, str)))
    scores = {each: len(wanted & _words(_text_of(each))) for each in tools}
    best = sorted((each for each in tools if scores[each]), key=lambda each: -scores[each])
    return best[:_MOST_FOUND]


def _text_of(tool: Tool) -> str:
    group = "" if tool.namespace is None else f"{tool.namespace.name} {tool.namespace.description}"
    return f"{tool.name} {tool.description} {group} {' '.join(tool.parameters.get('properties', ()))}"


def _words(text: str) -> frozenset[str]:
    # An s at the end makes no difference: "orders" finds "order".
    return frozenset(word.rstrip("s") for word in _WORD.findall(text.casefold()))
