"""Definitions of tools: the entries of a request's ``tools``.

A tool's own function is not here; these classes only say what the model is told. Types and fields follow
openai-python 3.52.0. A class is created when it is first asked for or structured.
"""

from typing import TYPE_CHECKING

from triplane.protocol._families import lazy_names

from ._catalogue import EXTRA_NAMES, MODULES

if TYPE_CHECKING:
    from ._base import ToolDefinition as ToolDefinition
    from ._base import UnknownTool as UnknownTool
    from .client import ApplyPatchTool as ApplyPatchTool
    from .client import ComputerTool as ComputerTool
    from .client import ComputerUsePreviewTool as ComputerUsePreviewTool
    from .client import CustomFormat as CustomFormat
    from .client import CustomTool as CustomTool
    from .client import FunctionTool as FunctionTool
    from .client import GrammarFormat as GrammarFormat
    from .client import LocalShellTool as LocalShellTool
    from .client import NamespaceTool as NamespaceTool
    from .client import ProgrammaticToolCallingTool as ProgrammaticToolCallingTool
    from .client import ShellTool as ShellTool
    from .client import TextInputFormat as TextInputFormat
    from .client import ToolSearchTool as ToolSearchTool
    from .client import UnknownCustomFormat as UnknownCustomFormat
    from .hosted import CodeInterpreterContainer as CodeInterpreterContainer
    from .hosted import CodeInterpreterTool as CodeInterpreterTool
    from .hosted import ComparisonFilter as ComparisonFilter
    from .hosted import CompoundFilter as CompoundFilter
    from .hosted import FileSearchTool as FileSearchTool
    from .hosted import HybridSearch as HybridSearch
    from .hosted import ImageGenerationTool as ImageGenerationTool
    from .hosted import ImageMask as ImageMask
    from .hosted import RankingOptions as RankingOptions
    from .hosted import SvgOptions as SvgOptions
    from .hosted import UserLocation as UserLocation
    from .hosted import WebSearchFilters as WebSearchFilters
    from .hosted import WebSearchPreviewTool as WebSearchPreviewTool
    from .hosted import WebSearchPreviewTool20250311 as WebSearchPreviewTool20250311
    from .hosted import WebSearchTool as WebSearchTool
    from .hosted import WebSearchTool20250826 as WebSearchTool20250826
    from .mcp import McpApprovalFilter as McpApprovalFilter
    from .mcp import McpTool as McpTool
    from .mcp import McpToolFilter as McpToolFilter
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "_base": ("ToolDefinition", "UnknownTool"),
            **{module: (*kinds.values(), *EXTRA_NAMES.get(module, ())) for module, kinds in MODULES.items()},
        },
    )
