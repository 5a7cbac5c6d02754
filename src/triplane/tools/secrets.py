"""Arguments that nobody but the tool is to see: how they are marked, and what stands for them everywhere else.

The model writes such an argument, so what comes from the server holds it. Before anything of that is recorded, a *mask*
takes its place (see `masked_arguments`), and a run's `Vault` knows what each mask stands for, in memory alone. So the
log, the state, events, and what is sent to the model again have the mask; the tool gets the value. A model that is shown
a mask of its own may use it again: it means what it meant. A process that comes later has no vault, and says so.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final, final

import attrs
import orjson

from . import masked_text
from .masked_arguments import MaskedArguments

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from .tool import Tool

_MASK: Final = re.compile(r"\[secret (?:[0-9a-f]+\.)?\d+\]")
# Shorter texts stand in too many other words to be looked for.
_SHORTEST: Final = 4
_MOST_KEPT: Final = 1_000


@attrs.frozen
class Secret:
    """Marks a tool's parameter whose value must not be recorded: ``Annotated[str, triplane.Secret()]``.

    The tool gets what the model wrote. Logs, events, states, errors and exports have a mask instead, such as
    ``[secret 3fa94c.1]``, and so has the conversation when it is sent again. Of the tool's outputs no artifact is kept.
    `docs/tools.md` says what is protected by that, and what is not. For secrets that the program has itself this is the
    wrong way: the model need not know them at all.
    """


class UnknownSecretError(Exception):
    """A mask stands for nothing that this process knows; the message is the mask."""


@final
class Vault:
    """The secrets that a run was told, by their masks. One for a run and its forks; it dies with the process.

    A conversation may hold masks of other vaults: of an earlier process, or of the run that its run is a fork of, or was
    begun with the words of. So that none of them is given out again, masks begin with digits of this vault's own.

    Args:
        run_id: The run. Default: none, for calls without a run, whose masks have no such digits.
        token: That of the claim to its log: each process that takes the run up has another.
    """

    def __init__(self, run_id: str = "", token: int = 1) -> None:
        whose = f"{token} {run_id}".encode(errors="surrogatepass")
        self._prefix = f"{hashlib.blake2b(whose, digest_size=3).hexdigest()}." if run_id else ""
        self._masks: dict[bytes, str] = {}
        self._values: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Vault: {len(self._values)} secrets>"

    def __len__(self) -> int:
        return len(self._values)

    def hide(self, value: Any) -> str:
        """What stands for a value: the same for the same one. A mask stands for itself."""
        if _is_mask(value):
            return str(value)
        key = json.dumps(value, sort_keys=True).encode()
        mask = self._masks.get(key)
        if mask is None:
            mask = self._masks[key] = f"[secret {self._prefix}{len(self._masks) + 1}]"
            self._values[mask] = value
        return mask

    def mask(self, shown: Container[str]) -> MaskedArguments:
        """What masks the arguments of a call.

        Args:
            shown: The names of the parameters that are no secrets.
        """
        return MaskedArguments(shown, self.hide)

    def revealed(self, arguments: str, shown: Container[str]) -> str:
        """The arguments of a call as the model wrote them.

        Args:
            arguments: Masked.
            shown: As for `mask`.

        Raises:
            UnknownSecretError: They hold a mask that this process has not made.
        """
        return MaskedArguments(shown, self._reveal).feed(arguments)

    def _reveal(self, value: Any) -> Any:
        if not _is_mask(value):
            return value
        if value not in self._values:
            raise UnknownSecretError(value)
        return self._values[value]

    def masked(self, text: str, arguments: str) -> str:
        """A text without the secrets of a call, as far as they stand there as they are, or quoted.

        Args:
            text: What a tool said, whole or cut to its budget.
            arguments: The call's, masked. What is looked for are the texts and numbers in its secrets, from four
                characters on.
        """
        forms = {
            form: mask
            for mask in dict.fromkeys(_MASK.findall(arguments))
            for leaf in _leaves(self._values.get(mask))
            for form in _forms(leaf)
            if len(form) >= _SHORTEST
        }
        return masked_text.masked(text, forms)


@final
class Vaults:
    """The vaults of runs that have no result yet, such as those that wait for approval: they may go on in this process."""

    def __init__(self) -> None:
        self._vaults: dict[str, Vault] = {}

    def keep(self, run_id: str, vault: Vault) -> None:
        """Keep a run's vault, if there is something in it. Of very many, those that were kept longest are forgotten."""
        if len(vault):
            self._vaults[run_id] = vault
            while len(self._vaults) > _MOST_KEPT:
                del self._vaults[next(iter(self._vaults))]

    def take(self, run_id: str) -> Vault | None:
        """The vault of a run that goes on, if it is kept."""
        return self._vaults.pop(run_id, None)


def structured(tool: Tool, arguments: str, vault: Vault) -> dict[str, Any]:
    """What a tool's function is given for the masked arguments of a call, without the context.

    Raises:
        InvalidArgumentsError: They do not fit.
        UnknownSecretError: They hold a mask that this process has not made.
    """
    return tool.arguments.structure(vault.revealed(arguments, tool.shown) if tool.secrets else arguments)


def _is_mask(value: object) -> bool:
    return isinstance(value, str) and _MASK.fullmatch(value) is not None


def _forms(leaf: str) -> Iterator[str]:
    yield leaf
    for quoted in (json.dumps(leaf), orjson.dumps(leaf).decode(), repr(leaf), ascii(leaf)):
        yield quoted[1:-1]


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


@final
class Keywords(dict[str, Any]):
    """Keyword arguments whose secrets do not show in a traceback that prints local variables.

    Args:
        arguments: All of them.
        secrets: The names of those that must not show.
    """

    def __init__(self, arguments: dict[str, Any], secrets: frozenset[str]) -> None:
        super().__init__(arguments)
        self._secrets = secrets

    def __repr__(self) -> str:
        return repr({name: "[secret]" if name in self._secrets else value for name, value in self.items()})

    def copy(self) -> Keywords:
        """As a dict's."""
        return Keywords(self, self._secrets)
