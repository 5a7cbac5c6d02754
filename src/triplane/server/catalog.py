"""Which model answers to which name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, final

import attrs

from .errors import OptionError, Refused
from .model import Model
from .models import builtin_models

__all__ = ["Catalog", "ModelChoice"]

ModelChoice: TypeAlias = str | Model | Mapping[str, str | Model] | None
"""What `serve(model=...)` takes; see `Catalog.of`."""


@final
@attrs.frozen
class Catalog:
    """The models of a server, and the one that answers to all other names, if there is one."""

    models: Mapping[str, Model]
    default: Model | None = None

    @classmethod
    def of(cls, choice: ModelChoice, *, strict: bool) -> Catalog:
        """Make the catalog for `choice`. The built-in models always answer to their own names.

        * None: nothing else; all other names are refused.
        * a name or a model: it answers to every other name as well (clients send the name of the model they were
          written for), unless `strict`.
        * a mapping: each model, or built-in model by name, answers to its key; all other names are refused.

        Raises:
            OptionError: `choice` names a model that is not built in, or is none of these.
        """
        builtin = builtin_models()

        def find(model: object) -> Model:
            if isinstance(model, str):
                if model not in builtin:
                    raise OptionError(f"no model {model!r}; the built-in ones are {', '.join(builtin)}")
                return builtin[model]
            # A class has the attributes of a model too.
            if isinstance(model, type) or not isinstance(model, Model):
                raise OptionError(f"not a model: {model!r}")
            return model

        if choice is None:
            return cls(builtin)
        if isinstance(choice, Mapping):
            return cls({**builtin, **{name: find(model) for name, model in choice.items()}})
        model = find(choice)
        return cls({**builtin, model.name: model}, None if strict else model)

    def pick(self, name: str) -> Model:
        """Return the model that answers to `name`.

        Raises:
            Refused: there is none.
        """
        model = self.models.get(name, self.default)
        if model is None:
            known = ", ".join(sorted(self.models))
            raise Refused(
                f"The model '{name}' does not exist here. There are: {known}.",
                code="model_not_found",
                param="model",
            )
        return model
