"""How a tool of one of the API's own kinds is made, and what its calls say."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

import attrs

from triplane.core.errors import ConfigError
from triplane.core.outcome import CallKind
from triplane.protocol import UnknownItem, item_from_wire
from triplane.tools.arguments import InvalidArgumentsError, json_value
from triplane.tools.options import checked
from triplane.tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triplane.tools.arguments import ReadsArguments
    from triplane.tools.kinds import Producer

T = TypeVar("T")

ACTION: Final = "action"


@final
@attrs.frozen
class ReadsAction:
    """Turns what a call says into the typed form of its item.

    Attributes:
        kind: The type of the item.
        key: Under which key of the item it stands; None if it is several keys.
        expected: What should be there, in words for the model.
        take: What a producer gets of the item.
    """

    kind: CallKind
    key: str | None
    expected: str
    take: Callable[[Any], Any]

    @property
    def context(self) -> str | None:
        """Producers get it with the rest."""
        return None

    def structure(self, text: str) -> dict[str, Any]:
        """See `ReadsArguments`."""
        said = json_value(text)
        if self.key is not None:
            said = {self.key: said}
        elif not isinstance(said, dict):
            said = {}
        item = item_from_wire({"type": self.kind, "call_id": "", **said})
        action = None if isinstance(item, UnknownItem) else self.take(item)
        if action is None:
            raise InvalidArgumentsError([f"expected {self.expected}, got {text[:80]}"])
        return {ACTION: action}


def declared(
    kind: CallKind,
    name: str,
    wire: Mapping[str, Any],
    arguments: ReadsArguments,
    producer: Producer,
    options: Mapping[str, Any],
    *,
    description: str = "",
) -> Tool:
    """A tool whose definition is the API's own.

    Raises:
        ConfigError: An option does not make sense.
    """
    if options.get("async_") or options.get("defer_loading"):
        raise ConfigError(
            f"async_ and defer_loading are for functions and custom tools, and not for {name!r}"
        )
    return Tool(
        name=name,
        description=description,
        parameters={},
        strict=False,
        arguments=arguments,
        producer=producer,
        kind=kind,
        wire=wire,
        **checked(name, options),
    )


def checked_handler(name: str, handler: T) -> T:
    """The handler, if it is an async function.

    Raises:
        ConfigError: It is not.
    """
    if not inspect.iscoroutinefunction(handler) and not inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004  (it may be an object)
    ):
        raise ConfigError(f"the handler of tool {name!r} must be an async function, not {handler!r}")
    return handler
