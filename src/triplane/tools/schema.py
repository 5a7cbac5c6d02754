"""JSON schemas for tools: from types and docstrings, in the strict subset wherever the types allow it.

The strict subset is what OpenAI's API takes with ``"strict": true``: every object lists all its properties as
required and allows no others, so what may be left out has to be nullable instead. Outside of the subset (a
``dict[str, int]`` has no fixed properties) a tool is declared with ``"strict": false``.
"""

from __future__ import annotations

import inspect
import re
import typing
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from triplane.core.errors import ConfigError

from .extra import parameter_descriptions
from .schema_unions import REFERENCE, Unions
from .signature import NO_DEFAULT, annotated_text, bare, text_type
from .values import UnserialisableError, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .signature import Signature

Schema = dict[str, Any]

# https://platform.openai.com/docs/guides/structured-outputs#supported-schemas: anything else is an HTTP 400
# for the whole request, so what is not known to be allowed is taken to be forbidden.
_STRICT_KEYWORDS = frozenset(
    (
        "$defs", "$ref", "additionalProperties", "anyOf", "const", "description", "enum", "exclusiveMaximum",
        "exclusiveMinimum", "format", "items", "maxItems", "maximum", "minItems", "minimum", "multipleOf",
        "pattern", "properties", "required", "title", "type",
    )
)  # fmt: skip
_STRICT_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
)


class _NotStrictError(Exception):
    pass


def first_paragraph(doc: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(re.split(r"\n\s*\n", inspect.cleandoc(doc or ""), maxsplit=1)[0].split())


def build_schema(signature: Signature, *, tool: str) -> tuple[Schema, bool]:
    """The schema of a tool's parameters, and whether it is strict.

    Raises:
        ConfigError: The extra ``triplane[tools]`` is not installed, or a type has no JSON schema.
    """
    root: Schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    if not signature.parameters:
        return root, True
    try:
        unions = Unions(signature.classes)
        types = [unions.split(parameter.type) for parameter in signature.parameters]
        schemas, definitions = unions.components([*types, *map(unions.split, signature.classes)])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the parameters of tool {tool!r} have no JSON schema: {error}") from error
    except KeyError as error:  # msgspec looks for the annotation of each field
        raise ConfigError(
            f"in a class that tool {tool!r} takes, the field {error.args[0]!r} has no annotation; say which type it takes"
        ) from error
    for cls, reference in zip(signature.classes, schemas[len(types) :], strict=True):
        _complete(definitions[reference["$ref"].removeprefix(REFERENCE)], cls)
    for parameter, schema in zip(signature.parameters, schemas, strict=False):
        _describe(schema, parameter.type, parameter.description)
        if parameter.is_secret and parameter.has_default:
            # Not for the model to see.
            schema.pop("default", None)
        elif parameter.has_default:
            default = _as_json(parameter.default)
            if default is not NO_DEFAULT:
                schema["default"] = default
        else:
            root["required"].append(parameter.name)
        root["properties"][parameter.name] = schema
    if definitions:
        root["$defs"] = definitions
    root = _tidy(root)
    try:
        return _strict(root), True
    except _NotStrictError:
        return root, False


def given_schema(parameters: Mapping[str, Any], *, tool: str) -> tuple[Schema, bool]:
    """A copy of a schema that the user wrote, and whether it is strict as it stands.

    Raises:
        ConfigError: It is not JSON, or not the schema of an object.
    """
    try:
        schema = orjson.loads(orjson.dumps(dict(parameters)))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"parameters of tool {tool!r} must be a JSON schema: {error}") from error
    if schema.get("type") != "object":
        raise ConfigError(
            f'parameters of tool {tool!r} must be the schema of an object: {{"type": "object", ...}}'
        )
    try:
        return schema, _strict(schema) == schema
    except (_NotStrictError, TypeError, AttributeError):  # the latter two: not a valid schema at all
        return schema, False


def _as_json(value: Any) -> Any:
    try:
        return orjson.loads(to_json(value))
    except UnserialisableError:
        return NO_DEFAULT


def _complete(definition: Schema, cls: type) -> None:
    """Say in the schema of a class what msgspec does not read off it."""
    if "description" in definition:
        definition["description"] = first_paragraph(cls.__doc__)
    fields = attrs.fields_dict(cls) if attrs.has(cls) else getattr(cls, "__dataclass_fields__", {})
    for name, field in fields.items():
        if not field.init:
            definition["properties"].pop(name, None)
    hints = typing.get_type_hints(cls, include_extras=True)
    documented = parameter_descriptions(cls.__doc__ if "description" in definition else None)
    for name, schema in definition["properties"].items():
        _describe(schema, hints[name], annotated_text(hints[name]) or documented.get(name, ""))


def _describe(schema: Schema, annotation: Any, text: str) -> None:
    """Say what a value means: in the user's words, or else how to write it."""
    written = text_type(bare(annotation))
    if not text and written is not None and schema.get("format") not in _STRICT_FORMATS:
        words = written[0]
        text = f"{words[0].upper()}{words[1:]}."
    if text:
        schema.setdefault("description", text)


def _strict(schema: Schema) -> Schema:
    """The same schema in the strict subset, or `_NotStrictError`."""
    if not schema:
        raise _NotStrictError  # anything goes
    strict = dict(schema)
    notes: list[str] = []
    _say_lengths(strict, notes)
    if strict.get("format") not in _STRICT_FORMATS:
        strict.pop("format", None)
    if not strict.keys() <= _STRICT_KEYWORDS:
        raise _NotStrictError
    if "enum" in strict and "type" not in strict:
        found = list(dict.fromkeys(map(_json_type, strict["enum"])))
        strict["type"] = found[0] if len(found) == 1 else found
    if not strict.keys() & {"type", "anyOf", "$ref"}:
        raise _NotStrictError
    kinds = _kinds(strict)
    if "object" in kinds:
        _close(strict)
    if "array" in kinds:
        if not isinstance(strict.get("items"), dict):
            raise _NotStrictError
        strict["items"] = _strict(strict["items"])
    if "anyOf" in strict:
        strict["anyOf"] = [_strict(member) for member in strict["anyOf"]]
    if "$defs" in strict:
        strict["$defs"] = {name: _strict(definition) for name, definition in strict["$defs"].items()}
    if "$ref" in strict and len(strict) > 1:  # a reference may have no neighbours
        strict["anyOf"] = [{"$ref": strict.pop("$ref")}]
    _add(strict, *notes)
    return strict


def _add(schema: Schema, *notes: str) -> None:
    """Put sentences behind the description."""
    text = schema.get("description", "")
    for note in filter(None, notes):
        end = "." if text and text[-1].isalnum() else ""
        text = f"{text}{end} {note}".lstrip()
    if text:
        schema["description"] = text


def _close(strict: Schema) -> None:
    """Make an object's schema list all its properties as required, and allow no others."""
    if "properties" not in strict or strict.get("additionalProperties"):
        raise _NotStrictError
    required = strict.get("required", [])
    properties: Schema = {}
    for name, loose in strict["properties"].items():
        default = loose.get("default", NO_DEFAULT)
        schema = _strict({key: value for key, value in loose.items() if key != "default"})
        if name not in required:
            schema = _nullable(schema)
            if default is NO_DEFAULT:
                note = "Null leaves it out."
            elif default is None:
                note = ""
            else:
                note = f"Null means the default, {orjson.dumps(default).decode()}."
            _add(schema, note)
        properties[name] = schema
    strict["properties"] = properties
    if set(required) != set(properties):
        strict["required"] = list(properties)
    strict["additionalProperties"] = False


def _nullable(schema: Schema) -> Schema:
    if "anyOf" in schema:
        members = schema["anyOf"]
        return schema if {"type": "null"} in members else {**schema, "anyOf": [*members, {"type": "null"}]}
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if "null" in _kinds(schema):
        return schema
    schema = {**schema, "type": [*_kinds(schema), "null"]}
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema


def _kinds(schema: Schema) -> list[str]:
    kinds = schema.get("type", [])
    return kinds if isinstance(kinds, list) else [kinds]


def _say_lengths(schema: Schema, notes: list[str]) -> None:
    """Turn the keywords that strict schemas may not have into words; arguments are still checked for them."""
    shortest, longest = schema.pop("minLength", None), schema.pop("maxLength", None)
    if shortest is not None:
        notes.append(f"At least {shortest} characters.")
    if longest is not None:
        notes.append(f"At most {longest} characters.")
    if schema.pop("uniqueItems", False):
        notes.append("No item twice.")


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    return "string" if isinstance(value, str) else "integer"


def _tidy(schema: Schema) -> Schema:
    """The same schema without titles (they repeat the names), its objects closed."""
    tidy = {key: value for key, value in schema.items() if key != "title"}
    for key in ("properties", "$defs"):
        if key in tidy:
            tidy[key] = {name: _tidy(inner) for name, inner in tidy[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(tidy.get(key), dict):
            tidy[key] = _tidy(tidy[key])
    for key in ("anyOf", "prefixItems"):
        if key in tidy:
            tidy[key] = [_tidy(inner) for inner in tidy[key]]
    if "properties" in tidy:
        tidy["additionalProperties"] = False
    return tidy
