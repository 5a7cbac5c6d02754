"""From what an MCP server says about its tools to tools: their names, schemas, options and effects."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import attrs

from triplane.core.errors import ConfigError
from triplane.tools.options import ToolOptions, checked
from triplane.tools.schema import given_schema
from triplane.tools.tool import Tool, check_name

from .arguments import JsonArguments

if TYPE_CHECKING:
    import mcp_types

    from triplane.tools.kinds import Producer

LONGEST_NAME = 64
_LONGEST_DESCRIPTION = 8 * 1024

_logger = logging.getLogger("triplane.tools.mcp")


@attrs.frozen(kw_only=True)
class Choice:
    """Which of a server's tools there are to be, and how.

    Attributes:
        prefix: Stands before each name.
        allow: Patterns of names, as the server has them; None for all.
        deny: Patterns of those that there are not to be.
        options: For all of them.
        overrides: For those whose names match a pattern, in the order given; the later one counts.
    """

    prefix: str
    allow: Collection[str] | None
    deny: Collection[str]
    options: ToolOptions
    overrides: Mapping[str, ToolOptions]

    def __attrs_post_init__(self) -> None:
        """Show at once what cannot work with any tool."""
        for what in ("allow", "deny"):
            if isinstance(getattr(self, what), str):
                raise ConfigError(f"{what}= of an MCP server takes a list of names, not a text")
        if self.prefix:
            check_name(self.prefix)
        effect: ToolOptions = {"effect": "read"}
        for pattern, options in (("*", self.options), *self.overrides.items()):
            # What the effect will be is for the server to say; this is the one that goes with everything.
            checked(pattern, {**effect, **options})

    def names(self, name: str) -> bool:
        """Whether there is to be a tool of this name."""
        allowed = self.allow is None or _matches(name, self.allow)
        return allowed and not _matches(name, self.deny)

    def settings(self, tool: mcp_types.Tool, name: str) -> dict[str, Any]:
        """The options of one tool: what the server hints at, unless something else was said.

        Raises:
            ConfigError: They do not go together.
        """
        given: dict[str, Any] = {"effect": _effect(tool), **self.options}
        for pattern, options in self.overrides.items():
            if fnmatchcase(tool.name, pattern):
                given |= options
        return checked(name, given)

    def unused(self, names: Collection[str]) -> list[str]:
        """The patterns that match none of the names."""
        patterns = (*(self.allow or ()), *self.deny, *self.overrides)
        return [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]


def build_tools(
    listed: Iterable[mcp_types.Tool],
    choice: Choice,
    producer: Callable[[str], Producer],
    *,
    is_first: bool,
    server: str,
) -> dict[str, Tool]:
    """The tools, by the names that the server has for them.

    Args:
        listed: What the server says.
        choice: Which, and how.
        producer: Makes what calls the tool of a name.
        is_first: Whether somebody waits who can be told what does not fit. Else that tool is left out, with a warning.
        server: The server's name, for messages.

    Raises:
        ConfigError: A pattern matches nothing, or the options of a tool do not go together; only if `is_first`.
    """
    all_of_them: dict[str, mcp_types.Tool] = {}
    for tool in listed:
        # A name twice is the server's mistake; the first one counts.
        all_of_them.setdefault(tool.name, tool)
    if is_first and (unused := choice.unused(all_of_them)):
        raise ConfigError(
            f"the MCP server {server!r} has no tool {unused[0]!r}; its tools are: {', '.join(sorted(all_of_them)) or 'none'}"
        )
    chosen = [tool for tool in all_of_them.values() if choice.names(tool.name)]
    names = function_names([tool.name for tool in chosen], choice.prefix)
    made: dict[str, Tool] = {}
    for tool in chosen:
        if tool.execution is not None and tool.execution.task_support == "required":
            _logger.warning("the tool %r of the MCP server %r runs as a task only", tool.name, server)
            continue
        try:
            settings = choice.settings(tool, names[tool.name])
        except ConfigError as error:
            if is_first:
                raise
            _logger.warning("a tool of the MCP server %r is left out: %s", server, error)
            continue
        try:
            made[tool.name] = _build(tool, names[tool.name], settings, producer(tool.name))
        except ConfigError as error:
            _logger.warning("a tool of the MCP server %r is left out: %s", server, error)
    return made


def _build(tool: mcp_types.Tool, name: str, settings: dict[str, Any], producer: Producer) -> Tool:
    # The endpoint refuses an object's schema without these, which servers leave out where there is nothing to say.
    schema, strict = given_schema({"type": "object", "properties": {}, **tool.input_schema}, tool=name)
    return Tool(
        name=name,
        description=_cut(tool.description or tool.title or ""),
        parameters=schema,
        strict=strict,
        arguments=JsonArguments(schema),
        producer=producer,
        **settings,
    )


def _effect(tool: mcp_types.Tool) -> str:
    hints = tool.annotations
    if hints is not None and hints.read_only_hint:
        return "read"
    return "idempotent" if hints is not None and hints.idempotent_hint else "write"


def function_names(names: Collection[str], prefix: str) -> dict[str, str]:
    """What the model calls each of them: 1 to 64 letters, digits, underscores and dashes, no two the same.

    A name that has to be changed, and then is another one's or too long, ends in a digest of itself. So a tool keeps its name
    as long as it is there, in whatever order tools are listed.
    """
    whole = {name: re.sub(r"[^A-Za-z0-9_-]", "_", prefix + name) for name in names}
    taken = {prefix + name for name in names}
    counts: dict[str, int] = {}
    for made in whole.values():
        counts[made] = counts.get(made, 0) + 1
    found: dict[str, str] = {}
    for name, made in whole.items():
        is_its_own = made == prefix + name or (counts[made] == 1 and made not in taken)
        if is_its_own and 0 < len(made) <= LONGEST_NAME:
            found[name] = made
        else:
            digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
            found[name] = f"{made[: LONGEST_NAME - 9]}_{digest}"
    return found


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_DESCRIPTION else f"{text[:_LONGEST_DESCRIPTION]}…"
