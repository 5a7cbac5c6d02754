"""Which item type is which class, in which module of this package.

The one list of them. It is data so that a class is only made when it is first needed.
"""

from collections.abc import Mapping
from typing import Any, Final

MODULES: Final[Mapping[str, Mapping[Any, str]]] = {
    "message": {
        "message": "InputMessage",
        ("message", "assistant"): "OutputMessage",
        ("message", None): "EasyInputMessage",
    },
    "calls": {
        "function_call": "FunctionCall",
        "function_call_output": "FunctionCallOutput",
        "custom_tool_call": "CustomToolCall",
        "custom_tool_call_output": "CustomToolCallOutput",
    },
    "reasoning": {
        "reasoning": "Reasoning",
    },
    "hosted": {
        "web_search_call": "WebSearchCall",
        "file_search_call": "FileSearchCall",
        "code_interpreter_call": "CodeInterpreterCall",
        "image_generation_call": "ImageGenerationCall",
    },
    "mcp": {
        "mcp_call": "McpCall",
        "mcp_list_tools": "McpListTools",
        "mcp_approval_request": "McpApprovalRequest",
        "mcp_approval_response": "McpApprovalResponse",
    },
    "shell": {
        "shell_call": "ShellCall",
        "shell_call_output": "ShellCallOutput",
        "local_shell_call": "LocalShellCall",
        "local_shell_call_output": "LocalShellCallOutput",
    },
    "patch": {
        "apply_patch_call": "ApplyPatchCall",
        "apply_patch_call_output": "ApplyPatchCallOutput",
    },
    "computer": {
        "computer_call": "ComputerCall",
        "computer_call_output": "ComputerCallOutput",
    },
    "tools": {
        "tool_search_call": "ToolSearchCall",
        "tool_search_output": "ToolSearchOutput",
        "additional_tools": "AdditionalTools",
    },
    "programs": {
        "program": "Program",
        "program_output": "ProgramOutput",
    },
    "context": {
        "compaction": "Compaction",
        "compaction_trigger": "CompactionTrigger",
        "item_reference": "ItemReference",
        ("item_reference", None): "UntypedItemReference",
        "configuration_update": "ConfigurationUpdate",
    },
    "agents": {
        "agent_message": "AgentMessage",
        "multi_agent_call": "MultiAgentCall",
        "multi_agent_call_output": "MultiAgentCallOutput",
    },
}
"""``{module: {kind: class}}``. A kind is an item's ``type``; messages come in three kinds, see ``kind_of`` of the base module."""

EXTRA_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "calls": ("Caller", "DirectCaller", "ProgramCaller", "UnknownCaller"),
    "computer": (
        "ClickAction",
        "ComputerAction",
        "DoubleClickAction",
        "DragAction",
        "KeypressAction",
        "MoveAction",
        "Point",
        "SafetyCheck",
        "ScreenshotAction",
        "ScrollAction",
        "TypeAction",
        "UnknownComputerAction",
        "WaitAction",
    ),
    "hosted": (
        "CodeInterpreterImage",
        "CodeInterpreterLogs",
        "CodeInterpreterOutput",
        "FileSearchResult",
        "FindInPageAction",
        "ImageGenerationError",
        "ImageModerationDetails",
        "OpenPageAction",
        "SearchAction",
        "SearchSource",
        "SvgUsage",
        "UnknownCodeInterpreterOutput",
        "UnknownWebSearchAction",
        "WebSearchAction",
    ),
    "mcp": (
        "McpError",
        "McpHttpError",
        "McpProtocolError",
        "McpToolExecutionError",
        "McpToolInfo",
        "UnknownMcpError",
    ),
    "patch": ("CreateFile", "DeleteFile", "PatchOperation", "UnknownPatchOperation", "UpdateFile"),
    "shell": (
        "LocalShellAction",
        "ShellAction",
        "ShellExit",
        "ShellOutcome",
        "ShellOutput",
        "ShellTimeout",
        "UnknownShellOutcome",
    ),
}
"""Public classes in the same modules that are no types of items."""
