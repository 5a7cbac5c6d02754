"""Families: classes that the wire tells apart by ``type``, found by name so that rare ones are made late."""

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import attrs

from ._wire import NO_EXTRA, Wire


def _by_type(raw: Mapping[str, Any]) -> object:
    return raw.get("type")


@final
@attrs.frozen(eq=False)
class Family:
    """Which class stands for which ``type``, by name: a class is created when its type first occurs."""

    table: Mapping[Any, str]
    """``{kind: "module:Class"}``, the module relative to this package.

    A kind is a ``type``, or what `kind_of` makes of more.
    """

    unknown_class: str
    """``"module:Class"`` for what the table does not have."""

    kind_of: Callable[[Mapping[str, Any]], object] = _by_type
    """Reads the kind off a JSON object; where ``type`` alone does not tell, more than ``type``."""

    def find(self, kind: object) -> type[Wire] | None:
        """The class of a kind, or None if the family does not know it."""
        try:
            path = self.table.get(kind)
        except TypeError:  # an array or an object in the place of the type
            return None
        return None if path is None else _load(path)

    def unknown(self, raw: Mapping[str, Any]) -> Wire:
        """The unknown member that holds this object: its ``type``, and everything else in ``extra``."""
        kind = raw.get("type")
        cls: Any = _load(self.unknown_class)
        if not isinstance(kind, str) or not kind:
            unknown: Wire = cls("", extra=raw or NO_EXTRA)
        else:
            unknown = cls(kind, extra={key: value for key, value in raw.items() if key != "type"} or NO_EXTRA)
        return unknown


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), name)


def family_of(cls: type[Wire]) -> Family | None:
    """The family that ``cls`` is the base of; None for its members and for other classes."""
    family = cls.__dict__.get("family")
    assert family is None or isinstance(family, Family)
    return family


def lazy_names(
    package: str, modules: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose modules are imported when a name is first used.

    Args:
        package: its ``__name__``.
        modules: the names that each module has.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        module = module_of.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{module}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *module_of})
