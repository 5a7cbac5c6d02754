"""The arguments of a call of an MCP server's tool: passed on as the model wrote them, if they fit the server's schema."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, final

from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from triplane.tools.arguments import InvalidArgumentsError, parse

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_MAX_LINES = 20
_LONGEST = 200

_logger = logging.getLogger("triplane.tools.mcp")


@final
class JsonArguments:
    """Reads arguments by a JSON schema. Where that is none, the server has to judge them.

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
        kind = validator_for(self._schema, default=Draft202012Validator)
        kind.check_schema(self._schema)
        return kind(self._schema, registry=Registry())


def _line(error: ValidationError) -> str:
    path = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path
    ).removeprefix(".")
    line = f"{path}: {error.message}" if path else error.message
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
