"""Schemas of unions of several classes, which msgspec refuses: it could not tell them apart, and we try one by one."""

from __future__ import annotations

import pathlib
import typing
from typing import TYPE_CHECKING, Any, Final, final

from .extra import load_extra
from .signature import alternatives, bare, is_class_with_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE: Final = "#/$defs/"


@final
class Unions:
    """The unions of one tool's parameters. What msgspec sees of each is a class of its own, which stands for it."""

    def __init__(self) -> None:
        self._members: dict[type, tuple[Any, ...]] = {}
        self._definitions: dict[str, Any] = {}

    def split(self, annotation: Any) -> Any:
        """The same type as msgspec takes it: in place of each union of several classes what stands for it."""
        kind = annotation if typing.get_origin(annotation) is typing.Annotated else bare(annotation)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            inner, *extras = arguments
            seen = self.split(inner)
            return annotation if seen is inner else typing.Annotated[(seen, *extras)]
        if origin is None or origin is typing.Literal:
            return annotation
        split = tuple(each if each is Ellipsis else self.split(each) for each in arguments)
        if len(alternatives(kind)) > 1:
            if sum(is_class_with_fields(bare(member)) for member in arguments) > 1:
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
        return schemas, {**self._definitions, **definitions}

    def _other_types(self, cls: type) -> dict[str, Any]:
        members = self._members.get(cls)
        if members is None:
            assert cls is pathlib.Path, (
                "of the types that a signature may have, msgspec knows all but this one"
            )
            return {"type": "string"}
        schemas, definitions = self.components(members)
        self._definitions |= definitions
        return {"anyOf": list(schemas)}
