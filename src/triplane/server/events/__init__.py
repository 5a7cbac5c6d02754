"""From what a model says to the events and items of the Responses API. No I/O.

A step that is an item of its own is translated by one small function; the table `ITEMS` says by which. Steps about the
message that is open are translated by `MessageWriter`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from triplane.server import steps

from .calls import (
    apply_patch_call,
    computer_call,
    custom_tool_call,
    function_call,
    local_shell_call,
    shell_call,
    tool_search_call,
)
from .hosted import audio, code_interpreter, file_search, hosted_shell_call, image_generation, web_search
from .mcp import mcp_approval_request, mcp_call, mcp_list_tools
from .message import MessageWriter
from .reasoning import any_item, compaction, program, program_output, reasoning
from .writer import Event, EventWriter, OutOfTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["ITEMS", "Event", "EventWriter", "MessageWriter", "OutOfTokens"]

ITEMS: Final[Mapping[type[Any], Callable[[Any, EventWriter], Iterator[Event | steps.Wait]]]] = {
    steps.FunctionCall: function_call,
    steps.CustomToolCall: custom_tool_call,
    steps.ToolSearchCall: tool_search_call,
    steps.ShellCall: shell_call,
    steps.LocalShellCall: local_shell_call,
    steps.ApplyPatchCall: apply_patch_call,
    steps.ComputerCall: computer_call,
    steps.WebSearch: web_search,
    steps.FileSearch: file_search,
    steps.CodeInterpreter: code_interpreter,
    steps.ImageGeneration: image_generation,
    steps.HostedShellCall: hosted_shell_call,
    steps.Audio: audio,
    steps.McpListTools: mcp_list_tools,
    steps.McpCall: mcp_call,
    steps.McpApprovalRequest: mcp_approval_request,
    steps.Reasoning: reasoning,
    steps.Compaction: compaction,
    steps.Program: program,
    steps.ProgramOutput: program_output,
    steps.AnyItem: any_item,
}
"""How each step that stands for itself is written: yields its events, and waits between them."""
