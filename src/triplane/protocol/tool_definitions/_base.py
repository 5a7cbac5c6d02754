"""The base of tool definitions, and the list of their types."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire

MODULES: Final[Mapping[str, Mapping[Any, str]]] = {
    "client": {
        "function": "FunctionTool",
        "custom": "CustomTool",
        "namespace": "NamespaceTool",
        "tool_search": "ToolSearchTool",
        "programmatic_tool_calling": "ProgrammaticToolCallingTool",
        "shell": "ShellTool",
        "local_shell": "LocalShellTool",
        "apply_patch": "ApplyPatchTool",
        "computer": "ComputerTool",
        "computer_use_preview": "ComputerUsePreviewTool",
    },
    "mcp": {
        "mcp": "McpTool",
    },
    "hosted": {
        "file_search": "FileSearchTool",
        "web_search": "WebSearchTool",
        "web_search_2025_08_26": "WebSearchTool20250826",
        "web_search_preview": "WebSearchPreviewTool",
        "web_search_preview_2025_03_11": "WebSearchPreviewTool20250311",
        "code_interpreter": "CodeInterpreterTool",
        "image_generation": "ImageGenerationTool",
    },
}
"""``{module: {type: class}}``."""

EXTRA_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "client": ("CustomFormat", "GrammarFormat", "TextInputFormat", "UnknownCustomFormat"),
    "mcp": ("McpApprovalFilter", "McpToolFilter"),
    "hosted": (
        "CodeInterpreterContainer",
        "ComparisonFilter",
        "CompoundFilter",
        "HybridSearch",
        "ImageMask",
        "RankingOptions",
        "SvgOptions",
        "UserLocation",
        "WebSearchFilters",
    ),
}
"""Public classes in the same modules that are no types of tools."""


@attrs.frozen(eq=False, repr=False)
class ToolDefinition(Wire):
    """A tool that the model may call. Base of the definition classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            kind: f"tool_definitions.{module}:{name}"
            for module, kinds in MODULES.items()
            for kind, name in kinds.items()
        },
        "tool_definitions:UnknownTool",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownTool(ToolDefinition):
    """A tool of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]
