"""Frames without secrets: what comes from the server, before anything of it is recorded or shown.

The arguments of calls come in pieces, then whole, then as part of an item, then of the response. In all of these, masks
take the place of what a tool marks as secret. A frame in which nothing was masked stays as it was received.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, final

import orjson

from triplane.core.outcome import ToolCall
from triplane.tools import read_artifact_tool

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from triplane.tools import MaskedArguments, Tool, Vault

_DELTA: Final = "response.function_call_arguments.delta"
_DONE: Final = "response.function_call_arguments.done"
_ADDED: Final = "response.output_item.added"
_UNREADABLE: Final = "a frame that is no event, left out since there may be a secret in it"
_NOTHING: Final[frozenset[str]] = frozenset()


@final
class MaskedFrames:
    """Masks the frames of one run.

    Args:
        tools: The run's tools, by their full names. Of a call of another one everything is taken for a secret.
        vault: Gives the masks.
    """

    def __init__(self, tools: Mapping[str, Tool], vault: Vault) -> None:
        self._shown: dict[str, frozenset[str] | None] = {read_artifact_tool().name: None}
        for full_name, tool in tools.items():
            self._shown[full_name] = tool.shown if tool.secrets else None
        self._vault = vault
        # Of the calls that are being streamed, by their place in the output.
        self._names: dict[object, str | None] = {}
        self._streams: dict[object, MaskedArguments] = {}

    def take(self, frames: tuple[str, ...]) -> tuple[str, ...]:
        """The same frames, masked. Not a checkpoint."""
        return tuple([self._take(frame) for frame in frames])

    def _take(self, frame: str) -> str:
        try:
            event = orjson.loads(frame)
        except orjson.JSONDecodeError:
            try:
                event = json.loads(frame)
            except (ValueError, RecursionError):
                return _UNREADABLE
        if not isinstance(event, dict):
            return _UNREADABLE
        try:
            if not self._mask(event):
                return frame
        except RecursionError:
            return _UNREADABLE
        try:
            return orjson.dumps(event).decode()
        except TypeError:
            return json.dumps(event)

    def _mask(self, event: dict[str, Any]) -> bool:
        """Mask an event in place, and tell whether there was something to mask."""
        kind, place = event.get("type"), _place(event)
        if kind == "response.created":
            self._names.clear()
            self._streams.clear()
        if kind == _DELTA:
            return self._replace(event, "delta", self._stream(place))
        if kind == _DONE:
            shown = self._shown_of(self._names.get(place))
            return shown is not None and self._replace(event, "arguments", self._vault.mask(shown))
        item = event.get("item")
        if kind == _ADDED and isinstance(item, dict) and item.get("type") == "function_call":
            self._names[place] = _full_name(item)
            stream = self._stream(place)
            return self._replace(item, "arguments", stream)
        return self._walk(event)

    def _walk(self, value: object) -> bool:
        if isinstance(value, list):
            return sum(map(self._walk, value)) > 0
        if not isinstance(value, dict):
            return False
        if value.get("type") == "function_call":
            shown = self._shown_of(_full_name(value))
            return shown is not None and self._replace(value, "arguments", self._vault.mask(shown))
        return sum(map(self._walk, value.values())) > 0

    def _replace(self, where: dict[str, Any], key: str, mask: MaskedArguments | None) -> bool:
        text = where.get(key)
        if mask is None or not isinstance(text, str):
            return False
        where[key] = mask.feed(text)
        return bool(where[key] != text)

    def _stream(self, place: object) -> MaskedArguments | None:
        shown = self._shown_of(self._names.get(place))
        if shown is None:
            return None
        return self._streams.setdefault(place, self._vault.mask(shown))

    def _shown_of(self, full_name: str | None) -> Container[str] | None:
        """Which arguments of a tool may be shown; None for all of them."""
        return _NOTHING if full_name is None else self._shown.get(full_name, _NOTHING)


def _full_name(item: dict[str, Any]) -> str | None:
    """Which tool a call is of; None if it does not say. Events on its arguments have no namespace, only the item has."""
    name, namespace = item.get("name"), item.get("namespace")
    if not isinstance(name, str):
        return None
    return ToolCall("", name, "", namespace=namespace if isinstance(namespace, str) else None).full_name


def _place(event: dict[str, Any]) -> object:
    place = event.get("output_index")
    return place if isinstance(place, int) else event.get("item_id")
