"""Schemas of unions that msgspec refuses because it could not tell the members apart: we try one by one.

Where a field of a class is such a union, msgspec cannot read the class either. Then all classes of the tool are read here.
"""

from __future__ import annotations

import collections
import inspect
import pathlib
import typing
from typing import TYPE_CHECKING, Any, Final, final

import orjson

from .class_fields import fields_of
from .extra import load_extra
from .signature import ARRAYS, NO_DEFAULT, OBJECTS, alternatives, bare, is_class_with_fields
from .values import UnserialisableError, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE: Final = "#/$defs/"


@final
class Unions:
    """The unions of one tool's parameters. What msgspec sees of each is a class of its own, which stands for it.

    Args:
        classes: The attrs classes, dataclasses and TypedDicts that the parameters mention.
    """

    def __init__(self, classes: Sequence[type] = ()) -> None:
        self._members: dict[type, tuple[Any, ...]] = {}
        self._definitions: dict[str, Any] = {}
        self._names: dict[type, str] = {}
        # What msgspec sees of each class, where it cannot read them; and the other way round.
        self._stand_ins: dict[type, type] = {}
        self._classes: dict[type, type] = {}
        if any(self._holds_refused(field.type) for cls in classes for field in fields_of(cls)):
            names = collections.Counter(cls.__name__ for cls in classes)
            for cls in classes:
                if names[cls.__name__] > 1:
                    raise ValueError(f"two of its classes are named {cls.__name__}; rename one")
                stand_in = self._stand_ins[cls] = type(cls.__name__, (), {})
                self._classes[stand_in] = cls

    def split(self, annotation: Any) -> Any:
        """The same type as msgspec takes it: in place of each union that it refuses what stands for it."""
        kind = annotation if typing.get_origin(annotation) is typing.Annotated else bare(annotation)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            inner, *extras = arguments
            seen = self.split(inner)
            return annotation if seen is inner else typing.Annotated[(seen, *extras)]
        if isinstance(kind, type) and kind in self._stand_ins:
            return self._stand_ins[kind]
        if origin is None or origin is typing.Literal:
            return annotation
        split = tuple(each if each is Ellipsis else self.split(each) for each in arguments)
        if len(alternatives(kind)) > 1:
            if self._is_refused(kind):
                stand_in = type("Union", (), {})
                self._members[stand_in] = split
                return stand_in
            origin = typing.Union
        same = all(one is other for one, other in zip(split, arguments, strict=True))
        return annotation if same else origin[split]

    def components(self, types: Sequence[Any]) -> tuple[Sequence[dict[str, Any]], dict[str, Any]]:
        """The schemas of types, and those that they refer to.

        Raises:
            TypeError, ValueError: One has none.
        """
        schemas, definitions = load_extra("msgspec.json").schema_components(
            types, schema_hook=self._other_types, ref_template=f"{REFERENCE}{{name}}"
        )
        for name, definition in definitions.items():
            # Each call for members or fields names what it finds by itself.
            if self._definitions.setdefault(name, definition) != definition:
                raise ValueError(f"two of its types are named {name}; rename one")
        return schemas, self._definitions

    def _holds_refused(self, annotation: Any) -> bool:
        kind = bare(annotation)
        if self._is_refused(kind):
            return True
        return any(map(self._holds_refused, typing.get_args(kind))) if _is_composed(kind) else False

    def _is_refused(self, kind: Any) -> bool:
        """Whether msgspec refuses it as a union: of several objects, several lists, or what is no type of its own."""
        members = [each for each in map(bare, alternatives(kind)) if each is not type(None)]
        origins = [typing.get_origin(each) or each for each in members]
        objects = sum(is_class_with_fields(each) or each in OBJECTS for each in origins)
        others = sum(each is pathlib.Path or each in self._stand_ins for each in origins)
        return len(members) > 1 and bool(objects > 1 or sum(each in ARRAYS for each in origins) > 1 or others)

    def _other_types(self, cls: type) -> dict[str, Any]:
        if cls in self._classes:
            return self._defined(self._classes[cls])
        members = self._members.get(cls)
        if members is None:
            assert cls is pathlib.Path, (
                "of the types that a signature may have, msgspec knows all but this one"
            )
            return {"type": "string"}
        schemas, _ = self.components(members)
        return {"anyOf": list(schemas)}

    def _defined(self, cls: type) -> dict[str, Any]:
        """A reference to the schema of a class, which is made when it is first met, and may refer to itself."""
        name = cls.__name__
        if cls not in self._names:
            self._names[cls] = name
            definition: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
            if self._definitions.setdefault(name, definition) is not definition:
                raise ValueError(f"two of its types are named {name}; rename one")
            doc = vars(cls).get("__doc__")
            if doc and not doc.startswith(f"{name}("):  # what dataclasses write of their own
                definition["description"] = inspect.cleandoc(doc)
            fields = fields_of(cls)
            schemas, _ = self.components([self.split(field.type) for field in fields])
            for field, schema in zip(fields, schemas, strict=True):
                told = {**schema}
                default = _as_json(field.default)
                if not field.is_optional:
                    definition["required"].append(field.name)
                elif default is not NO_DEFAULT:
                    told["default"] = default
                definition["properties"][field.name] = told
        return {"$ref": f"{REFERENCE}{name}"}


def _is_composed(kind: Any) -> bool:
    origin = typing.get_origin(kind)
    return origin is not None and origin is not typing.Literal


def _as_json(value: Any) -> Any:
    """A default as the schema tells it, or `NO_DEFAULT`."""
    if value is NO_DEFAULT:
        return NO_DEFAULT
    try:
        return orjson.loads(to_json(value))
    except UnserialisableError:
        return NO_DEFAULT
