"""Tools in groups, and what the API is told of tools: one definition for each group, and for each of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from triplane.core.errors import ConfigError

from .tool import Namespace, by_name, check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .tool import Tool


def namespace(name: str, description: str, tools: Iterable[Tool]) -> tuple[Tool, ...]:
    """The same tools as members of a namespace, under whose name the model calls them.

    Tools of different namespaces may have the same name: ``tools=[*namespace("crm", …), *namespace("mail", …)]``. In
    events and records a tool of a namespace is called ``crm.find``. The server has to know namespaces (models from GPT-5.4
    on do, OpenAI tool search guide); one that does not refuses the request.

    Args:
        name: What the model calls it.
        description: What the model is told about it. Of tools that are loaded later it is all that the model knows.
        tools: Its tools: functions and custom tools.

    Raises:
        ConfigError: One of them cannot be in a namespace, or has the namespace's own name, which stands for no namespace.
    """
    group = Namespace(check_name(name), description)
    if not isinstance(description, str) or not description:
        raise ConfigError(f"the namespace {name!r} needs a description")
    members = tuple(by_name(tools).values())
    if not members:
        raise ConfigError(f"the namespace {name!r} has no tools")
    for tool in members:
        if tool.kind not in ("function_call", "custom_tool_call"):
            raise ConfigError(
                f"the tool {tool.name!r} cannot be in the namespace {name!r}: it is no function"
            )
        if tool.namespace is not None:
            raise ConfigError(f"the tool {tool.full_name!r} is in a namespace already")
        if tool.name == name:
            raise ConfigError(f"the tool {name!r} has the name of its namespace; rename one of them")
    return tuple(attrs.evolve(tool, namespace=group) for tool in members)


def definitions(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """The definitions of tools as the API takes them, in order; a namespace stands where its first tool does."""
    found: list[dict[str, Any]] = []
    groups: dict[Namespace, dict[str, Any]] = {}
    for tool in tools:
        group = tool.namespace
        if group is None:
            found.append(tool.definition())
        elif group in groups:
            groups[group]["tools"].append(tool.definition())
        else:
            groups[group] = {
                "type": "namespace",
                "name": group.name,
                "description": group.description,
                "tools": [tool.definition()],
            }
            found.append(groups[group])
    return found


def needs_namespaces(tools: Iterable[Tool]) -> Tool | None:
    """The first tool that only a server takes which has namespaces and the search for tools; None if there is none."""
    for tool in tools:
        if tool.namespace is not None or tool.defer_loading or tool.kind == "tool_search_call":
            return tool
    return None


def check_together(tools: Iterable[Tool]) -> None:
    """Check that tools make sense in one request.

    Raises:
        ConfigError: Two namespaces have the same name, or tools would never be loaded.
    """
    described: dict[str, Namespace] = {}
    tools = tuple(tools)
    for group in filter(None, (tool.namespace for tool in tools)):
        if described.setdefault(group.name, group) != group:
            raise ConfigError(
                f"there are two namespaces {group.name!r}; give all of its tools to one namespace(…)"
            )
    deferred = [tool.full_name for tool in tools if tool.defer_loading]
    if deferred and all(tool.kind != "tool_search_call" for tool in tools):
        raise ConfigError(
            f"the tool {deferred[0]!r} has defer_loading=True, and nothing would ever load it; give the agent"
            " tool_search(…) as well"
        )
