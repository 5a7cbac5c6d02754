"""What a tool call is, and what became of it: the words that tools, records and engine share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

EffectClass = Literal["read", "idempotent", "write"]
OutcomeKind = Literal["ok", "failed", "timed_out", "truncated", "denied", "cancelled", "interrupted"]
FailureReason = Literal["unknown_tool", "invalid_arguments", "exception", "invalid_result"]


@attrs.frozen
class ToolCall:
    """One finished call of the model, waiting for its output.

    Attributes:
        call_id: The id that pairs the call with its output; unique in a run.
        name: The tool's name as the model wrote it; it may name no tool at all.
        arguments: The arguments as the model wrote them: JSON text, perhaps malformed.
        kind: The wire type of the call item.
        namespace: The group of tools that the name is from, None if the call named none.
        caller: Who made the call, as wire data: the model or a program of its. None if it does not say.
    """

    call_id: str
    name: str
    arguments: str
    kind: Literal["function_call", "custom_tool_call"] = "function_call"
    namespace: str | None = attrs.field(default=None, kw_only=True)
    caller: Mapping[str, Any] | None = attrs.field(default=None, kw_only=True, eq=False)

    def answer(self, output: str | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The item that answers the call, as wire data.

        Who made it and in which namespace goes back with the answer (openai-python 3.52.0).

        Args:
            output: Text, or a list of ``input_text``, ``input_image`` and ``input_file`` parts.
        """
        said = output if isinstance(output, str) else list(output)
        answer: dict[str, Any] = {"type": f"{self.kind}_output", "call_id": self.call_id, "output": said}
        if self.namespace is not None and self.kind == "function_call":
            answer["namespace"] = self.namespace
        if self.caller is not None:
            answer["caller"] = self.caller
        return answer


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
        content: What the model is given instead of `output` if that is more than text: parts as wire data, images and
            files among them. `output` then says the same in words.
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
