"""The model of a test's server, which may be another one at every request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final, get_args

from triplane.server.errors import Refused
from triplane.server.script import Script
from triplane.server.steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from triplane.server import Model, ModelRequest

__all__ = ["Stage"]

_STEPS: Final = get_args(Step)


@final
class Stage:
    """A model that hands each request to the model that is on stage, and remembers what that raises.

    Attributes:
        scripts: those of the models so far that are one.
        errors: what models raised that was no answer. Whoever expects some removes them.
    """

    def __init__(self, model: Model) -> None:
        self._name = model.name
        self.scripts: list[Script] = []
        self.errors: list[Exception] = []
        self.put_on(model)

    def put_on(self, model: Model) -> None:
        """Let this model answer from now on."""
        self._model = model
        if isinstance(model, Script):
            self.scripts.append(model)

    @property
    def name(self) -> str:
        """The name of the first model on stage."""
        return self._name

    def respond(self, request: ModelRequest) -> Iterable[Step]:
        """See `Model.respond`."""
        try:
            steps = self._model.respond(request)
        except Refused:
            raise
        except Exception as error:
            self.errors.append(error)
            raise
        return self._remembering(iter(steps))

    def _remembering(self, steps: Iterator[Step]) -> Iterator[Step]:
        try:
            for step in steps:
                if not isinstance(step, _STEPS):
                    raise TypeError(f"not a step: {step!r}")
                yield step
        except Refused:
            raise
        except Exception as error:
            self.errors.append(error)
            raise
