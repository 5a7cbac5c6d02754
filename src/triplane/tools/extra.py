"""What the extra ``triplane[tools]`` brings: imported when a tool is declared that needs it, never before."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from triplane.core.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType


def load_extra(module: str) -> ModuleType:
    """Import a module of the extra.

    Raises:
        ConfigError: The extra is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            "reading a tool's schema off its function needs an extra: python -m pip install 'triplane[tools]', "
            "or pass parameters=<JSON schema> to tool(...)"
        ) from error


def parameter_descriptions(doc: str | None) -> dict[str, str]:
    """What a docstring (Google, NumPy or Sphinx) says about each parameter or attribute.

    Raises:
        ConfigError: The extra is not installed.
    """
    if not doc:
        return {}
    parser = load_extra("docstring_parser")
    try:
        parsed = parser.parse(doc)
    except Exception:  # noqa: BLE001  (besides its ParseError there is an IndexError for ": :")
        # Prose that happens to look like a section.
        return {}
    return {
        # Sphinx lets the type stand before the name, and NumPy several names before one description.
        name.split()[-1]: " ".join(param.description.split())
        for param in parsed.params
        if param.description
        for name in param.arg_name.split(",")
        if name.strip()
    }
