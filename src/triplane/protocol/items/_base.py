"""The base of items, and the list of item types."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire

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
"""``{module: {kind: class}}``. A kind is an item's ``type``; messages come in three kinds, see `kind_of`."""

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


def kind_of(raw: Mapping[str, Any]) -> object:
    """The kind of an item: its ``type``, and for messages what else tells them apart.

    A message with the role ``assistant`` and a list of parts is what a model wrote. Two input items may leave
    their ``type`` out: messages, and references, which then have nothing but an ``id``.
    """
    kind = raw.get("type")
    if kind == "message" and raw.get("role") == "assistant" and isinstance(raw.get("content"), list):
        return ("message", "assistant")
    if kind is None and "role" in raw and "content" in raw:
        return ("message", None)
    if kind is None and "id" in raw and raw.keys() <= {"id", "type"}:
        return ("item_reference", None)
    return kind


@attrs.frozen(eq=False, repr=False)
class Agent(Wire):
    """The agent that an item belongs to: a path such as ``/root/research`` (multi-agent beta)."""

    tagged: ClassVar[bool] = False
    agent_name: str


@attrs.frozen(eq=False, repr=False)
class Item(Wire):
    """One entry of a conversation: a message, a call, an output, reasoning, ... Base of all item classes.

    Output items are legal as input, unchanged. Strings such as ``status`` are open: newer servers may send
    values that are not documented.
    """

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {kind: f"items.{module}:{name}" for module, kinds in MODULES.items() for kind, name in kinds.items()},
        "items:UnknownItem",
        kind_of,
    )

    id: str | None = attrs.field(default=None, kw_only=True)
    """The server's name for the item. Not needed on input."""
    agent: Agent | None = attrs.field(default=None, kw_only=True)
    """Whose item it is (multi-agent beta)."""


@attrs.frozen(eq=False, repr=False)
class UnknownItem(Item):
    """An item of a type that this version does not know, or that does not fit its class.

    All of it is in ``extra``.
    """

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]
