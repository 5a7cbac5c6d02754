"""What a rule-based model knows of the calls it made, and how it makes one fit the tool that it is offered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import orjson

from triplane.server.conversation import Item, item_text

Arguments: TypeAlias = dict[str, Any]


@attrs.frozen
class Call:
    """A call that was made and what came back; None if it was not answered."""

    name: str
    arguments: Mapping[str, Any]
    output: str | None

    @property
    def lines(self) -> list[str]:
        """The lines that came back."""
        return (self.output or "").splitlines()


# What stands for a required property that nothing is known of but its type.
_FILLERS: Final[Mapping[str, Any]] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "array": [],
    "object": {},
}


def fit(wanted: Arguments, tool: Item) -> str:
    """Return `wanted` as the arguments of a call of `tool`: no property it lacks, every property it requires."""
    schema = tool.get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(schema, dict) or not isinstance(properties, dict):
        return orjson.dumps(wanted).decode()
    arguments = {name: value for name, value in wanted.items() if name in properties}
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if isinstance(name, str) and name not in arguments:
            arguments[name] = _filler(properties.get(name))
    return orjson.dumps(arguments).decode()


def _filler(schema: object) -> Any:
    if not isinstance(schema, dict):
        return None
    if "default" in schema:
        return schema["default"]
    choices, kind = schema.get("enum"), schema.get("type")
    if isinstance(choices, list) and choices:
        return choices[0]
    return _FILLERS.get(kind) if isinstance(kind, str) else None


def made_calls(items: Sequence[Item]) -> list[Call]:
    """The function calls among `items`, in their order, with what came back."""
    outputs = {
        item["call_id"]: item_text(item) for item in items if item.get("type") == "function_call_output"
    }
    calls: list[Call] = []
    for item in items:
        if item.get("type") == "function_call":
            try:
                arguments = orjson.loads(item.get("arguments", ""))
            except orjson.JSONDecodeError:
                arguments = {}
            if not isinstance(arguments, dict):
                arguments = {}
            calls.append(Call(str(item.get("name")), arguments, outputs.get(item["call_id"])))
    return calls
