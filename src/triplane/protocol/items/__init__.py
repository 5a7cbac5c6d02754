"""Items: the entries of a conversation, in and out.

A class is created when it is first asked for, or when an item of its type is first structured.
"""

from typing import TYPE_CHECKING

from triplane.protocol._families import lazy_names

from ._catalogue import EXTRA_NAMES, MODULES

if TYPE_CHECKING:
    from ._base import Agent as Agent
    from ._base import Item as Item
    from ._base import UnknownItem as UnknownItem
    from .agents import AgentMessage as AgentMessage
    from .agents import MultiAgentCall as MultiAgentCall
    from .agents import MultiAgentCallOutput as MultiAgentCallOutput
    from .calls import Caller as Caller
    from .calls import CustomToolCall as CustomToolCall
    from .calls import CustomToolCallOutput as CustomToolCallOutput
    from .calls import DirectCaller as DirectCaller
    from .calls import FunctionCall as FunctionCall
    from .calls import FunctionCallOutput as FunctionCallOutput
    from .calls import ProgramCaller as ProgramCaller
    from .calls import UnknownCaller as UnknownCaller
    from .computer import ClickAction as ClickAction
    from .computer import ComputerAction as ComputerAction
    from .computer import ComputerCall as ComputerCall
    from .computer import ComputerCallOutput as ComputerCallOutput
    from .computer import DoubleClickAction as DoubleClickAction
    from .computer import DragAction as DragAction
    from .computer import KeypressAction as KeypressAction
    from .computer import MoveAction as MoveAction
    from .computer import Point as Point
    from .computer import SafetyCheck as SafetyCheck
    from .computer import ScreenshotAction as ScreenshotAction
    from .computer import ScrollAction as ScrollAction
    from .computer import TypeAction as TypeAction
    from .computer import UnknownComputerAction as UnknownComputerAction
    from .computer import WaitAction as WaitAction
    from .context import Compaction as Compaction
    from .context import CompactionTrigger as CompactionTrigger
    from .context import ConfigurationUpdate as ConfigurationUpdate
    from .context import ItemReference as ItemReference
    from .context import UntypedItemReference as UntypedItemReference
    from .hosted import CodeInterpreterCall as CodeInterpreterCall
    from .hosted import CodeInterpreterImage as CodeInterpreterImage
    from .hosted import CodeInterpreterLogs as CodeInterpreterLogs
    from .hosted import CodeInterpreterOutput as CodeInterpreterOutput
    from .hosted import FileSearchCall as FileSearchCall
    from .hosted import FileSearchResult as FileSearchResult
    from .hosted import FindInPageAction as FindInPageAction
    from .hosted import ImageGenerationCall as ImageGenerationCall
    from .hosted import ImageGenerationError as ImageGenerationError
    from .hosted import ImageModerationDetails as ImageModerationDetails
    from .hosted import OpenPageAction as OpenPageAction
    from .hosted import SearchAction as SearchAction
    from .hosted import SearchSource as SearchSource
    from .hosted import SvgUsage as SvgUsage
    from .hosted import UnknownCodeInterpreterOutput as UnknownCodeInterpreterOutput
    from .hosted import UnknownWebSearchAction as UnknownWebSearchAction
    from .hosted import WebSearchAction as WebSearchAction
    from .hosted import WebSearchCall as WebSearchCall
    from .mcp import McpApprovalRequest as McpApprovalRequest
    from .mcp import McpApprovalResponse as McpApprovalResponse
    from .mcp import McpCall as McpCall
    from .mcp import McpError as McpError
    from .mcp import McpHttpError as McpHttpError
    from .mcp import McpListTools as McpListTools
    from .mcp import McpProtocolError as McpProtocolError
    from .mcp import McpToolExecutionError as McpToolExecutionError
    from .mcp import McpToolInfo as McpToolInfo
    from .mcp import UnknownMcpError as UnknownMcpError
    from .message import EasyInputMessage as EasyInputMessage
    from .message import InputMessage as InputMessage
    from .message import OutputMessage as OutputMessage
    from .patch import ApplyPatchCall as ApplyPatchCall
    from .patch import ApplyPatchCallOutput as ApplyPatchCallOutput
    from .patch import CreateFile as CreateFile
    from .patch import DeleteFile as DeleteFile
    from .patch import PatchOperation as PatchOperation
    from .patch import UnknownPatchOperation as UnknownPatchOperation
    from .patch import UpdateFile as UpdateFile
    from .programs import Program as Program
    from .programs import ProgramOutput as ProgramOutput
    from .reasoning import Reasoning as Reasoning
    from .shell import LocalShellAction as LocalShellAction
    from .shell import LocalShellCall as LocalShellCall
    from .shell import LocalShellCallOutput as LocalShellCallOutput
    from .shell import ShellAction as ShellAction
    from .shell import ShellCall as ShellCall
    from .shell import ShellCallOutput as ShellCallOutput
    from .shell import ShellExit as ShellExit
    from .shell import ShellOutcome as ShellOutcome
    from .shell import ShellOutput as ShellOutput
    from .shell import ShellTimeout as ShellTimeout
    from .shell import UnknownShellOutcome as UnknownShellOutcome
    from .tools import AdditionalTools as AdditionalTools
    from .tools import ToolSearchCall as ToolSearchCall
    from .tools import ToolSearchOutput as ToolSearchOutput
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "_base": ("Agent", "Item", "UnknownItem"),
            **{module: (*kinds.values(), *EXTRA_NAMES.get(module, ())) for module, kinds in MODULES.items()},
        },
    )
