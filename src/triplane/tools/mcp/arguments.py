"""The arguments of a call of an MCP server's tool: passed on as the model wrote them, if they fit the server's schema."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, final

from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from triplane.tools.arguments import InvalidArgumentsError, parse

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

# Keywords whose values name schemas.
_NAMING: Final = frozenset({"properties", "$defs", "definitions", "dependentSchemas", "dependencies"})
# Keywords that may refuse more where what they hold, or what stands beside them, refuses less.
_TURNING: Final = frozenset(
    {"not", "oneOf", "if", "contains", "disallow", "unevaluatedItems", "unevaluatedProperties"}
)
_MAX_LINES = 20
_LONGEST = 200

_logger = logging.getLogger("triplane.tools.mcp")


@final
class JsonArguments:
    """Reads arguments by a JSON schema. Where that is none, the server has to judge them.

    What the schema says by regular expressions is the server's to judge as well: some take forever, and would hold up all
    that runs in Trio's thread.

    Args:
        schema: The schema. References that lead out of it are not followed.
    """

    context = None

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._validator: Validator | None = None
        self._is_valid = True

    def structure(self, text: str) -> dict[str, Any]:
        """See `ReadsArguments`."""
        try:
            given = parse(text)
            wrong = self._wrong(given)
        except RecursionError:
            raise InvalidArgumentsError(["the arguments are nested too deeply"]) from None
        if wrong:
            if len(wrong) > _MAX_LINES:
                wrong[_MAX_LINES - 1 :] = [f"… {len(wrong) - _MAX_LINES + 1} more"]
            raise InvalidArgumentsError(wrong)
        return given

    def _wrong(self, given: dict[str, Any]) -> list[str]:
        if not self._is_valid:
            return []
        try:
            if self._validator is None:
                self._validator = self._build()
            return [_line(error) for error in self._validator.iter_errors(given)]
        except (SchemaError, Unresolvable):
            _logger.debug("a schema of an MCP server's tool is none")
            self._is_valid = False
            return []

    def _build(self) -> Validator:
        schema = _looser(self._schema) if _has_expressions(self._schema) else self._schema
        kind = validator_for(schema, default=Draft202012Validator)
        kind.check_schema(schema)
        return kind(schema, registry=Registry())


def _has_expressions(schema: Any) -> bool:
    if isinstance(schema, dict):
        return (
            isinstance(schema.get("pattern"), str)
            or "patternProperties" in schema
            or any(_has_expressions(each) for each in schema.values())
        )
    return isinstance(schema, list) and any(_has_expressions(each) for each in schema)


def _looser(schema: Any, *, is_named: bool = False) -> Any:
    """A copy without regular expressions, which refuses nothing that `schema` does not.

    They go wherever they stand, since a reference can make a schema of anything. A property may be called like a keyword.
    """
    if isinstance(schema, list):
        return [_looser(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    looser: dict[str, Any] = {}
    names_all = True
    for key, value in schema.items():
        names = key in _NAMING and not is_named
        if key == "patternProperties" or (names and isinstance(value, dict) and "patternProperties" in value):
            names_all = False
        elif (key == "pattern" and isinstance(value, str)) or (key in _TURNING and not is_named):
            pass
        elif key in ("const", "enum") and not is_named:
            if not _has_expressions(value):
                looser[key] = value
        else:
            looser[key] = _looser(value, is_named=names)
    if not names_all:
        looser.pop("additionalProperties", None)
    return looser


def _line(error: ValidationError) -> str:
    path = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path
    ).removeprefix(".")
    line = f"{path}: {error.message}" if path else error.message
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
