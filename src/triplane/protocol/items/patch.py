"""Patches that the model wants applied to the client's files."""

from typing import ClassVar

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire

from ._base import Item
from .calls import Caller


@attrs.frozen(eq=False, repr=False)
class PatchOperation(Wire):
    """What to do to one file. Base of the operation classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "create_file": "items.patch:CreateFile",
            "update_file": "items.patch:UpdateFile",
            "delete_file": "items.patch:DeleteFile",
        },
        "items.patch:UnknownPatchOperation",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownPatchOperation(PatchOperation):
    """An operation of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class CreateFile(PatchOperation):
    """Make a file from a diff against nothing."""

    type: ClassVar[str] = "create_file"
    path: str
    diff: str


@attrs.frozen(eq=False, repr=False)
class UpdateFile(PatchOperation):
    """Apply a diff to a file."""

    type: ClassVar[str] = "update_file"
    path: str
    diff: str


@attrs.frozen(eq=False, repr=False)
class DeleteFile(PatchOperation):
    """Delete a file."""

    type: ClassVar[str] = "delete_file"
    path: str


@attrs.frozen(eq=False, repr=False)
class ApplyPatchCall(Item):
    """Apply this patch."""

    type: ClassVar[str] = "apply_patch_call"
    call_id: str
    operation: PatchOperation
    status: str | None = None
    caller: Caller | None = None
    created_by: str | None = None


@attrs.frozen(eq=False, repr=False)
class ApplyPatchCallOutput(Item):
    """Whether a patch could be applied: ``status`` is completed or failed, ``output`` text for the model."""

    type: ClassVar[str] = "apply_patch_call_output"
    call_id: str
    status: str
    output: str | None = None
    caller: Caller | None = None
    created_by: str | None = None
