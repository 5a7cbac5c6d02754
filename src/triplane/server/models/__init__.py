"""The rule-based models that come with the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .directive import Directive
from .echo import Echo
from .mender import Mender
from .surveyor import Surveyor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triplane.server.model import Model

__all__ = ["Directive", "Echo", "Mender", "Surveyor", "builtin_models"]


def builtin_models() -> Mapping[str, Model]:
    """Return the models every server has, by name."""
    models: tuple[Model, ...] = (Directive(), Surveyor(), Mender(), Echo())
    return {model.name: model for model in models}
