"""The package's names, and when the things behind them are made."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
from protocol_samples import class_name

import triplane.protocol as tp
from triplane.protocol import events, items, tool_definitions
from triplane.protocol.events._catalogue import MODULES as EVENT_MODULES
from triplane.protocol.items._catalogue import MODULES as ITEM_MODULES

PACKAGES = [tp, events, items, tool_definitions]


def names_for_type_checkers(package: ModuleType) -> set[str]:
    """The names that the package's source imports as public, under `TYPE_CHECKING` or not."""
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names if alias.asname == alias.name}


def public_classes() -> dict[str, type]:
    """The wire classes of all modules, private bases of events and modules included only if public."""
    return {
        name: value
        for info in pkgutil.walk_packages(tp.__path__, "triplane.protocol.")
        for name, value in vars(importlib.import_module(info.name)).items()
        if isinstance(value, type) and issubclass(value, tp.Wire) and value.__module__ == info.name
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_and_python_see_the_same_names(package: ModuleType) -> None:
    names = names_for_type_checkers(package)

    assert names <= set(dir(package))
    assert all(
        getattr(package, name).__name__ == name for name in names if isinstance(getattr(package, name), type)
    )
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        package.Nonsense  # noqa: B018


def test_every_class_is_exported() -> None:
    shapes = {
        c
        for c in public_classes().values()
        if c.__module__.startswith("triplane.protocol.events.") and not hasattr(c, "type")
    }

    assert set(public_classes()) - {c.__name__ for c in shapes} <= names_for_type_checkers(tp)
    assert {getattr(tp, name) for name in names_for_type_checkers(tp)} >= set(
        public_classes().values()
    ) - shapes


@pytest.mark.parametrize("modules", [EVENT_MODULES, ITEM_MODULES])
def test_tables_agree_with_the_classes(modules: dict[str, dict[Any, str]]) -> None:
    for kinds in modules.values():
        for kind, name in kinds.items():
            cls = getattr(tp, name)
            assert cls.type == (kind if isinstance(kind, str) else kind[0])
            if (
                name not in {"ErrorEvent", "ResponseErrorEvent"}
                and "message" not in kind
                and isinstance(kind, str)
            ):
                assert class_name(kind) == name


def test_families_agree_with_the_classes() -> None:
    bases = [c for c in public_classes().values() if "family" in vars(c)]
    for base in bases:
        members = [base.family.find(kind) for kind in base.family.table]  # type: ignore[attr-defined]
        for kind, cls in zip(base.family.table, members, strict=True):  # type: ignore[attr-defined]
            assert issubclass(cls, base)
            assert cls.type == (kind if isinstance(kind, str) else kind[0])
        unknown = base.family.unknown({"type": "new", "x": 1})  # type: ignore[attr-defined]
        assert isinstance(unknown, base)
        assert unknown == type(unknown)("new", extra={"x": 1})

    assert len(bases) > 15


def test_classes_are_frozen_slotted_and_documented() -> None:
    for cls in public_classes().values():
        check_class(cls)


def check_class(cls: type[tp.Wire]) -> None:
    assert attrs.has(cls)
    assert "__slots__" in vars(cls)
    assert (cls.__doc__ or "").strip()
    assert cls.__setattr__ is not object.__setattr__
    defaults = {
        a.name: a.default for a in attrs.fields(cls) if a.default is not attrs.NOTHING and a.name != "extra"
    }
    assert {name for name, default in defaults.items() if default is not None} <= {"role"}, "absent is None"


def run(code: str) -> str:
    """Run code in a fresh interpreter, with this package but without the rest of the project."""
    stub = f"import sys, types; t = sys.modules['triplane'] = types.ModuleType('triplane'); t.__path__ = {[str(Path(tp.__file__).parents[1])]!r}\n"
    return subprocess.run(
        [sys.executable, "-c", stub + code], capture_output=True, text=True, check=True
    ).stdout


def test_import_creates_no_class_that_is_not_asked_for() -> None:
    """Two hundred attrs classes take a quarter of a second."""
    loaded = run(
        "import triplane.protocol; print(*sorted(m for m in sys.modules if m.startswith('triplane.protocol.')))"
    )

    assert set(loaded.split()) <= {
        "triplane.protocol." + name
        for name in (
            "_compile",
            "_families",
            "_wire",
            "addressing",
            "codec",
            "errors",
            "events",
            "events._base",
            "events._catalogue",
            "items",
            "items._catalogue",
            "limits",
            "redaction",
            "settings",
            "tool_definitions",
            "tool_definitions._catalogue",
        )
    }


def test_text_needs_no_class_of_tools_or_responses() -> None:
    loaded = run(
        "import triplane.protocol as tp\n"
        'tp.decode_event(\'{"type":"response.created","response":{"id":"r"}}\').raw_response\n'
        'tp.decode_event(\'{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"x"}\')\n'
        "print(*sorted(m for m in sys.modules if m.startswith('triplane.protocol.')))"
    )

    assert "triplane.protocol.events.text" in loaded
    assert "triplane.protocol.response" not in loaded
    assert "triplane.protocol.tool_definitions.client" not in loaded


def test_protocol_does_no_io() -> None:
    loaded = run(
        "import triplane.protocol as tp\n[getattr(tp, n) for n in dir(tp)]\nprint(*sys.modules)",
    ).split()

    assert not {"trio", "asyncio", "socket", "ssl", "wsproto"} & set(loaded)
