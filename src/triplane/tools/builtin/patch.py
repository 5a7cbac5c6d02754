"""The tool ``apply_patch``: changes of one file each, made in a workspace or by a handler."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Unpack, final

import attrs
import trio

from triplane.core.errors import ConfigError
from triplane.protocol import CreateFile, DeleteFile, UpdateFile
from triplane.tools.workspace.files import Files
from triplane.tools.workspace.patch import operation_change
from triplane.tools.workspace.scan.confined import Confined

from .declare import ACTION, ReadsAction, checked_handler, declared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triplane.protocol import ApplyPatchCall, PatchOperation
    from triplane.tools.context import ToolContext
    from triplane.tools.kinds import Producer, Production
    from triplane.tools.options import ToolOptions
    from triplane.tools.tool import Tool


class PatchHandler(Protocol):
    """Makes the changes of patch calls somewhere else."""

    async def __call__(self, operation: PatchOperation, context: ToolContext, /) -> str:
        """Carry out a `CreateFile`, an `UpdateFile` or a `DeleteFile`, and return what to tell the model.

        Raises:
            Exception: The file is as it was; the model is told why.
        """
        ...


def apply_patch_tool(
    path: str | os.PathLike[str] | None = None,
    *,
    handler: PatchHandler | None = None,
    **options: Unpack[ToolOptions],
) -> Tool:
    """The API's ``apply_patch`` tool, which creates, updates or deletes one file in a call.

    The files are those below the directory `path`, protected as the workspace's own ``apply_patch`` is. The lines of a
    patch must be as they are in the file; if they are not, nothing is changed and the model is told where.

    Args:
        path: An existing directory.
        handler: Makes the changes instead; then there is no `path`.
        options: See `ToolOptions`.

    Raises:
        ConfigError: Neither a directory nor a handler is given, or both are.
    """
    producer: Producer
    if (path is None) == (handler is None):
        raise ConfigError("the tool 'apply_patch' takes a directory whose files it changes, or a handler=")
    if handler is not None:
        producer = Handles(checked_handler("apply_patch", handler))
    else:
        assert path is not None
        root = os.path.realpath(path)
        if not Path(root).is_dir():
            raise ConfigError(
                f"the directory {os.fspath(path)!r} of the tool 'apply_patch' is not a directory"
            )
        producer = Patches(Files(Confined(root, os.path.abspath(path))))  # noqa: PTH100  # links in it are the point
    reads = ReadsAction(
        "apply_patch_call",
        "operation",
        '{"type": "create_file", "update_file" or "delete_file", "path": a text, "diff": a text}',
        _operation,
    )
    return declared("apply_patch_call", "apply_patch", {"type": "apply_patch"}, reads, producer, options)


def _operation(item: ApplyPatchCall) -> PatchOperation | None:
    operation = item.operation
    return operation if isinstance(operation, CreateFile | UpdateFile | DeleteFile) else None


_KINDS: Final[Mapping[str, Literal["add", "update", "delete"]]] = {
    "create_file": "add",
    "update_file": "update",
    "delete_file": "delete",
}


@final
@attrs.frozen
class Patches:
    """Changes files of a workspace."""

    files: Files

    async def __call__(self, arguments: dict[str, Any], production: Production) -> str:
        """See `Producer`."""
        del production
        operation: Any = arguments[ACTION]
        diff = "" if isinstance(operation, DeleteFile) else operation.diff
        change = operation_change(_KINDS[operation.type], operation.path, diff)
        # In a thread that is not left behind: nobody would know what it still does.
        return await trio.to_thread.run_sync(functools.partial(self.files.make, [change]))


@final
@attrs.frozen
class Handles:
    """Has a handler change files."""

    handler: PatchHandler

    async def __call__(self, arguments: dict[str, Any], production: Production) -> str:
        """See `Producer`."""
        return await self.handler(arguments[ACTION], production.context)
