"""Calls that the client answers: functions, custom tools, tool search, shells, patches, the computer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

import attrs
from attrs.validators import deep_mapping, in_, instance_of, optional

from . import _checks as checks

__all__ = [
    "ApplyPatchCall",
    "ComputerCall",
    "CustomToolCall",
    "FunctionCall",
    "LocalShellCall",
    "ShellCall",
    "ToolSearchCall",
]


@final
@attrs.frozen
class FunctionCall:
    """One whole call of a client's function.

    Attributes:
        name: of the function.
        arguments: sent as they are, even when they are not JSON; a mapping is encoded.
        call_id: by which the client answers; by default a new one.
        namespace: the group of tools the function belongs to.
        asynchronous: the `async` of the item: the client may answer in a later request.
        caller: who calls, such as `{"type": "program", "caller_id": ...}`.
    """

    name: str = attrs.field(validator=checks.text)
    arguments: str = attrs.field(default="", converter=checks.to_json_text, validator=checks.text)
    call_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    namespace: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    asynchronous: bool = attrs.field(default=False, kw_only=True, validator=instance_of(bool))
    caller: Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, validator=optional(checks.json_object)
    )


@final
@attrs.frozen
class CustomToolCall:
    """One whole call of a client's custom tool, whose `input` is free text. The rest is as in `FunctionCall`."""

    name: str = attrs.field(validator=checks.text)
    input: str = attrs.field(default="", validator=checks.text)
    call_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    namespace: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    asynchronous: bool = attrs.field(default=False, kw_only=True, validator=instance_of(bool))
    caller: Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, validator=optional(checks.json_object)
    )


@final
@attrs.frozen
class ToolSearchCall:
    """A search for tools.

    Attributes:
        arguments: of the search.
        tools: what the service found, which makes it the service's own search; None leaves it to the client.
        call_id: by which a client answers; by default a new one.
    """

    arguments: Mapping[str, Any] = attrs.field(validator=checks.json_object)
    tools: tuple[Mapping[str, Any], ...] | None = attrs.field(
        default=None,
        kw_only=True,
        converter=attrs.converters.optional(checks.to_objects),
        validator=optional(checks.json_objects),
    )
    call_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))


@final
@attrs.frozen
class ShellCall:
    """Commands for the client's shell. The service's own shell is `HostedShellCall`."""

    commands: tuple[str, ...] = attrs.field(converter=checks.to_texts, validator=checks.texts)
    timeout_ms: int | None = attrs.field(default=None, kw_only=True, validator=optional(checks.count))
    max_output_length: int | None = attrs.field(default=None, kw_only=True, validator=optional(checks.count))
    call_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    caller: Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, validator=optional(checks.json_object)
    )


@final
@attrs.frozen
class LocalShellCall:
    """One command, as a list of words, for the client's shell: the older tool of the two."""

    command: tuple[str, ...] = attrs.field(converter=checks.to_texts, validator=checks.texts)
    env: Mapping[str, str] = attrs.field(
        factory=dict, kw_only=True, validator=deep_mapping(instance_of(str), instance_of(str))
    )
    timeout_ms: int | None = attrs.field(default=None, kw_only=True, validator=optional(checks.count))
    user: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    working_directory: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    call_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))


@final
@attrs.frozen
class ApplyPatchCall:
    """A change of one file, for the client to make.

    Attributes:
        operation: what is to be done with the file.
        path: of the file.
        diff: the patch; a deletion has none.
        call_id: by which the client answers; by default a new one.
        caller: who calls, if it is not the model itself.
    """

    operation: Literal["create_file", "update_file", "delete_file"] = attrs.field(
        validator=in_(("create_file", "update_file", "delete_file"))
    )
    path: str = attrs.field(validator=checks.name)
    diff: str = attrs.field(default="", validator=checks.text)
    call_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    caller: Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, validator=optional(checks.json_object)
    )


@final
@attrs.frozen
class ComputerCall:
    """Actions on the client's computer.

    Attributes:
        actions: such as `{"type": "click", "button": "left", "x": 3, "y": 4}` or `{"type": "screenshot"}`.
        pending_safety_checks: what the client has to acknowledge, such as `{"id": "check_1"}`.
        call_id: by which the client answers; by default a new one.
    """

    actions: tuple[Mapping[str, Any], ...] = attrs.field(
        converter=checks.to_objects, validator=checks.json_objects
    )
    pending_safety_checks: tuple[Mapping[str, Any], ...] = attrs.field(
        default=(), converter=checks.to_objects, validator=checks.json_objects
    )
    call_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
