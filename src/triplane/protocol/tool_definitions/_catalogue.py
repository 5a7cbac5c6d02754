"""Which type of tool is which class, in which module of this package.

The one list of them. It is data so that a class is only made when it is first needed.
"""

from collections.abc import Mapping
from typing import Any, Final

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
