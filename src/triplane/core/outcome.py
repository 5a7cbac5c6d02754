"""What a tool call is, and what became of it: the words that tools, records and engine share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

EffectClass = Literal["read", "idempotent", "write"]
OutcomeKind = Literal["ok", "failed", "timed_out", "truncated", "denied", "cancelled", "interrupted"]
# The types of the items by which a model calls what the client runs.
CallKind = Literal[
    "function_call",
    "custom_tool_call",
    "computer_call",
    "shell_call",
    "local_shell_call",
    "apply_patch_call",
    "tool_search_call",
]
FailureReason = Literal["unknown_tool", "invalid_arguments", "exception", "invalid_result"]


@attrs.frozen
class ToolCall:
    """One finished call of the model, waiting for its output.

    Attributes:
        call_id: The id that pairs the call with its output; unique in a run.
        name: The tool's name as the model wrote it; it may name no tool at all. For kinds of calls that name none, the
            type of their tool, such as ``"shell"``.
        arguments: The arguments as the model wrote them: JSON text, perhaps malformed; for a custom tool free text. For
            kinds of calls that have none, what is to be done, as JSON text.
        kind: The wire type of the call item.
        namespace: The group of tools that the name is from, None if the call named none.
        caller: Who made the call, as wire data: the model or a program of its. None if it does not say.
        is_async: Whether the model goes on without waiting for the output, which any later request may carry.
    """

    call_id: str
    name: str
    arguments: str
    kind: CallKind = "function_call"
    namespace: str | None = attrs.field(default=None, kw_only=True)
    caller: Mapping[str, Any] | None = attrs.field(default=None, kw_only=True, eq=False)
    is_async: bool = attrs.field(default=False, kw_only=True)

    @property
    def full_name(self) -> str:
        """What tells its tool from all others: the name, behind that of its namespace and a dot if it has one.

        A tool without a namespace that was loaded by a search comes back in one of its own name (OpenAI tool search
        guide).
        """
        return self.name if self.namespace in (None, self.name) else f"{self.namespace}.{self.name}"


@attrs.frozen
class ToolOutcome:
    """What became of a tool call.

    Attributes:
        kind: ``"ok"``; ``"failed"`` (see `reason`); ``"timed_out"``; ``"truncated"``, which is a success whose
            output was cut; ``"denied"``; ``"cancelled"``; ``"interrupted"``, when it is not known whether the
            effect happened.
        output: What the model is told: the tool's output, or one clear sentence.
        reason: For ``"failed"``, why: ``"unknown_tool"``, ``"invalid_arguments"``, ``"exception"`` or
            ``"invalid_result"``; else None.
        seconds: How long the call ran, 0 when it never started.
        bytes_produced: UTF-8 bytes the tool produced before it ended or was stopped.
        bytes_kept: How many of them are in `output`, markers not counted.
        queue_seconds: How long it had waited for others before it ran.
        attempts: How often its code was started.
        artifact: Where more of the output is kept than the model was given, else None; see `ArtifactStore`.
        content: What the model is given instead of `output` if that is more than text: parts as wire data, such as images
            and files, what each command of a shell call did, or the tools that were found. `output` then says the same
            in words.
    """

    kind: OutcomeKind
    output: str
    reason: FailureReason | None = None
    seconds: float = 0.0
    bytes_produced: int = 0
    bytes_kept: int = 0
    queue_seconds: float = attrs.field(default=0.0, kw_only=True)
    attempts: int = attrs.field(default=0, kw_only=True)
    artifact: str | None = attrs.field(default=None, kw_only=True)
    content: tuple[Mapping[str, Any], ...] | None = attrs.field(default=None, kw_only=True)

    @property
    def answer(self) -> str | tuple[Mapping[str, Any], ...]:
        """What goes into the item that answers the call: `content` if there is any, else `output`."""
        return self.output if self.content is None else self.content

    @property
    def succeeded(self) -> bool:
        """Whether the tool did its work, even if its output was cut."""
        return self.kind in ("ok", "truncated")
