"""The wire as types: events, items, requests, errors, and the codec between them and JSON text.

Nothing here does I/O or looks at a clock. Classes are named after the wire: ``response.output_text.delta`` is
`ResponseOutputTextDelta`, an item ``function_call`` is `FunctionCall`. Importing this package creates hardly any
of the three hundred classes; each is created when its name is first asked for or its type first arrives.
"""

from typing import TYPE_CHECKING

from ._families import lazy_names
from ._wire import Wire as Wire
from .addressing import Address as Address
from .addressing import address_of as address_of
from .addressing import without_stream_id as without_stream_id
from .codec import decode_event as decode_event
from .codec import encode as encode
from .codec import item_from_wire as item_from_wire
from .codec import request_from_wire as request_from_wire
from .codec import response_from_wire as response_from_wire
from .codec import to_wire as to_wire
from .errors import DecodeError as DecodeError
from .errors import EncodeError as EncodeError
from .errors import ErrorDetail as ErrorDetail
from .errors import normalise_error as normalise_error
from .errors import retry_delay as retry_delay
from .limits import DEFAULT_LIMITS as DEFAULT_LIMITS
from .limits import Limits as Limits
from .redaction import excerpt as excerpt
from .redaction import redact as redact

if TYPE_CHECKING:
    from .content import Annotation as Annotation
    from .content import ComputerScreenshot as ComputerScreenshot
    from .content import ContainerFileCitation as ContainerFileCitation
    from .content import ContentPart as ContentPart
    from .content import EncryptedContent as EncryptedContent
    from .content import FileCitation as FileCitation
    from .content import FilePath as FilePath
    from .content import InputFile as InputFile
    from .content import InputImage as InputImage
    from .content import InputText as InputText
    from .content import Logprob as Logprob
    from .content import OutputText as OutputText
    from .content import PlainText as PlainText
    from .content import PromptCacheBreakpoint as PromptCacheBreakpoint
    from .content import ReasoningText as ReasoningText
    from .content import Refusal as Refusal
    from .content import SummaryText as SummaryText
    from .content import TopLogprob as TopLogprob
    from .content import UnknownAnnotation as UnknownAnnotation
    from .content import UnknownPart as UnknownPart
    from .content import UrlCitation as UrlCitation
    from .environments import ContainerAuto as ContainerAuto
    from .environments import ContainerReference as ContainerReference
    from .environments import DomainSecret as DomainSecret
    from .environments import Environment as Environment
    from .environments import InlineSkill as InlineSkill
    from .environments import InlineSkillSource as InlineSkillSource
    from .environments import LocalEnvironment as LocalEnvironment
    from .environments import LocalSkill as LocalSkill
    from .environments import NetworkAllowlist as NetworkAllowlist
    from .environments import NetworkDisabled as NetworkDisabled
    from .environments import NetworkPolicy as NetworkPolicy
    from .environments import Skill as Skill
    from .environments import SkillReference as SkillReference
    from .environments import UnknownEnvironment as UnknownEnvironment
    from .environments import UnknownNetworkPolicy as UnknownNetworkPolicy
    from .environments import UnknownSkill as UnknownSkill
    from .events import ErrorEvent as ErrorEvent
    from .events import RequiredInput as RequiredInput
    from .events import ResponseAudioDelta as ResponseAudioDelta
    from .events import ResponseAudioDone as ResponseAudioDone
    from .events import ResponseAudioTranscriptDelta as ResponseAudioTranscriptDelta
    from .events import ResponseAudioTranscriptDone as ResponseAudioTranscriptDone
    from .events import ResponseCodeInterpreterCallCodeDelta as ResponseCodeInterpreterCallCodeDelta
    from .events import ResponseCodeInterpreterCallCodeDone as ResponseCodeInterpreterCallCodeDone
    from .events import ResponseCodeInterpreterCallCompleted as ResponseCodeInterpreterCallCompleted
    from .events import ResponseCodeInterpreterCallInProgress as ResponseCodeInterpreterCallInProgress
    from .events import ResponseCodeInterpreterCallInterpreting as ResponseCodeInterpreterCallInterpreting
    from .events import ResponseCompactionCompacting as ResponseCompactionCompacting
    from .events import ResponseCompleted as ResponseCompleted
    from .events import ResponseContentPartAdded as ResponseContentPartAdded
    from .events import ResponseContentPartDone as ResponseContentPartDone
    from .events import ResponseCreated as ResponseCreated
    from .events import ResponseCustomToolCallInputDelta as ResponseCustomToolCallInputDelta
    from .events import ResponseCustomToolCallInputDone as ResponseCustomToolCallInputDone
    from .events import ResponseErrorEvent as ResponseErrorEvent
    from .events import ResponseFailed as ResponseFailed
    from .events import ResponseFileSearchCallCompleted as ResponseFileSearchCallCompleted
    from .events import ResponseFileSearchCallInProgress as ResponseFileSearchCallInProgress
    from .events import ResponseFileSearchCallSearching as ResponseFileSearchCallSearching
    from .events import ResponseFunctionCallArgumentsDelta as ResponseFunctionCallArgumentsDelta
    from .events import ResponseFunctionCallArgumentsDone as ResponseFunctionCallArgumentsDone
    from .events import ResponseImageGenerationCallCompleted as ResponseImageGenerationCallCompleted
    from .events import ResponseImageGenerationCallGenerating as ResponseImageGenerationCallGenerating
    from .events import ResponseImageGenerationCallInProgress as ResponseImageGenerationCallInProgress
    from .events import ResponseImageGenerationCallPartialImage as ResponseImageGenerationCallPartialImage
    from .events import ResponseIncomplete as ResponseIncomplete
    from .events import ResponseInjectCreated as ResponseInjectCreated
    from .events import ResponseInjectFailed as ResponseInjectFailed
    from .events import ResponseInProgress as ResponseInProgress
    from .events import ResponseMcpCallArgumentsDelta as ResponseMcpCallArgumentsDelta
    from .events import ResponseMcpCallArgumentsDone as ResponseMcpCallArgumentsDone
    from .events import ResponseMcpCallCompleted as ResponseMcpCallCompleted
    from .events import ResponseMcpCallFailed as ResponseMcpCallFailed
    from .events import ResponseMcpCallInProgress as ResponseMcpCallInProgress
    from .events import ResponseMcpListToolsCompleted as ResponseMcpListToolsCompleted
    from .events import ResponseMcpListToolsFailed as ResponseMcpListToolsFailed
    from .events import ResponseMcpListToolsInProgress as ResponseMcpListToolsInProgress
    from .events import ResponseOutputItemAdded as ResponseOutputItemAdded
    from .events import ResponseOutputItemDone as ResponseOutputItemDone
    from .events import ResponseOutputTextAnnotationAdded as ResponseOutputTextAnnotationAdded
    from .events import ResponseOutputTextDelta as ResponseOutputTextDelta
    from .events import ResponseOutputTextDone as ResponseOutputTextDone
    from .events import ResponseQueued as ResponseQueued
    from .events import ResponseReasoningSummaryPartAdded as ResponseReasoningSummaryPartAdded
    from .events import ResponseReasoningSummaryPartDone as ResponseReasoningSummaryPartDone
    from .events import ResponseReasoningSummaryTextDelta as ResponseReasoningSummaryTextDelta
    from .events import ResponseReasoningSummaryTextDone as ResponseReasoningSummaryTextDone
    from .events import ResponseReasoningTextDelta as ResponseReasoningTextDelta
    from .events import ResponseReasoningTextDone as ResponseReasoningTextDone
    from .events import ResponseRefusalDelta as ResponseRefusalDelta
    from .events import ResponseRefusalDone as ResponseRefusalDone
    from .events import ResponseShellCallCommandAdded as ResponseShellCallCommandAdded
    from .events import ResponseShellCallCommandDelta as ResponseShellCallCommandDelta
    from .events import ResponseShellCallCommandDone as ResponseShellCallCommandDone
    from .events import ResponseShellCallOutputContentDelta as ResponseShellCallOutputContentDelta
    from .events import ResponseShellCallOutputContentDone as ResponseShellCallOutputContentDone
    from .events import ResponseSteerAccepted as ResponseSteerAccepted
    from .events import ResponseSteerFailed as ResponseSteerFailed
    from .events import ResponseSteerPending as ResponseSteerPending
    from .events import ResponseWebSearchCallCompleted as ResponseWebSearchCallCompleted
    from .events import ResponseWebSearchCallInProgress as ResponseWebSearchCallInProgress
    from .events import ResponseWebSearchCallSearching as ResponseWebSearchCallSearching
    from .events import ServerEvent as ServerEvent
    from .events import ShellOutputDelta as ShellOutputDelta
    from .events import Steer as Steer
    from .events import UnknownEvent as UnknownEvent
    from .events import UntypedErrorEvent as UntypedErrorEvent
    from .items import AdditionalTools as AdditionalTools
    from .items import Agent as Agent
    from .items import AgentMessage as AgentMessage
    from .items import ApplyPatchCall as ApplyPatchCall
    from .items import ApplyPatchCallOutput as ApplyPatchCallOutput
    from .items import Caller as Caller
    from .items import ClickAction as ClickAction
    from .items import CodeInterpreterCall as CodeInterpreterCall
    from .items import CodeInterpreterImage as CodeInterpreterImage
    from .items import CodeInterpreterLogs as CodeInterpreterLogs
    from .items import CodeInterpreterOutput as CodeInterpreterOutput
    from .items import Compaction as Compaction
    from .items import CompactionTrigger as CompactionTrigger
    from .items import ComputerAction as ComputerAction
    from .items import ComputerCall as ComputerCall
    from .items import ComputerCallOutput as ComputerCallOutput
    from .items import ConfigurationUpdate as ConfigurationUpdate
    from .items import CreateFile as CreateFile
    from .items import CustomToolCall as CustomToolCall
    from .items import CustomToolCallOutput as CustomToolCallOutput
    from .items import DeleteFile as DeleteFile
    from .items import DirectCaller as DirectCaller
    from .items import DoubleClickAction as DoubleClickAction
    from .items import DragAction as DragAction
    from .items import EasyInputMessage as EasyInputMessage
    from .items import FileSearchCall as FileSearchCall
    from .items import FileSearchResult as FileSearchResult
    from .items import FindInPageAction as FindInPageAction
    from .items import FunctionCall as FunctionCall
    from .items import FunctionCallOutput as FunctionCallOutput
    from .items import ImageGenerationCall as ImageGenerationCall
    from .items import ImageGenerationError as ImageGenerationError
    from .items import ImageModerationDetails as ImageModerationDetails
    from .items import InputMessage as InputMessage
    from .items import Item as Item
    from .items import ItemReference as ItemReference
    from .items import KeypressAction as KeypressAction
    from .items import LocalShellAction as LocalShellAction
    from .items import LocalShellCall as LocalShellCall
    from .items import LocalShellCallOutput as LocalShellCallOutput
    from .items import McpApprovalRequest as McpApprovalRequest
    from .items import McpApprovalResponse as McpApprovalResponse
    from .items import McpCall as McpCall
    from .items import McpError as McpError
    from .items import McpHttpError as McpHttpError
    from .items import McpListTools as McpListTools
    from .items import McpProtocolError as McpProtocolError
    from .items import McpToolExecutionError as McpToolExecutionError
    from .items import McpToolInfo as McpToolInfo
    from .items import MoveAction as MoveAction
    from .items import MultiAgentCall as MultiAgentCall
    from .items import MultiAgentCallOutput as MultiAgentCallOutput
    from .items import OpenPageAction as OpenPageAction
    from .items import OutputMessage as OutputMessage
    from .items import PatchOperation as PatchOperation
    from .items import Point as Point
    from .items import Program as Program
    from .items import ProgramCaller as ProgramCaller
    from .items import ProgramOutput as ProgramOutput
    from .items import Reasoning as Reasoning
    from .items import SafetyCheck as SafetyCheck
    from .items import ScreenshotAction as ScreenshotAction
    from .items import ScrollAction as ScrollAction
    from .items import SearchAction as SearchAction
    from .items import SearchSource as SearchSource
    from .items import ShellAction as ShellAction
    from .items import ShellCall as ShellCall
    from .items import ShellCallOutput as ShellCallOutput
    from .items import ShellExit as ShellExit
    from .items import ShellOutcome as ShellOutcome
    from .items import ShellOutput as ShellOutput
    from .items import ShellTimeout as ShellTimeout
    from .items import SvgUsage as SvgUsage
    from .items import ToolSearchCall as ToolSearchCall
    from .items import ToolSearchOutput as ToolSearchOutput
    from .items import TypeAction as TypeAction
    from .items import UnknownCaller as UnknownCaller
    from .items import UnknownCodeInterpreterOutput as UnknownCodeInterpreterOutput
    from .items import UnknownComputerAction as UnknownComputerAction
    from .items import UnknownItem as UnknownItem
    from .items import UnknownMcpError as UnknownMcpError
    from .items import UnknownPatchOperation as UnknownPatchOperation
    from .items import UnknownShellOutcome as UnknownShellOutcome
    from .items import UnknownWebSearchAction as UnknownWebSearchAction
    from .items import UntypedItemReference as UntypedItemReference
    from .items import UpdateFile as UpdateFile
    from .items import WaitAction as WaitAction
    from .items import WebSearchAction as WebSearchAction
    from .items import WebSearchCall as WebSearchCall
    from .options import AccessPrograms as AccessPrograms
    from .options import AllowedToolsChoice as AllowedToolsChoice
    from .options import ContextManagement as ContextManagement
    from .options import Conversation as Conversation
    from .options import CustomToolChoice as CustomToolChoice
    from .options import FunctionChoice as FunctionChoice
    from .options import HostedToolChoice as HostedToolChoice
    from .options import ImageOptions as ImageOptions
    from .options import JsonObjectFormat as JsonObjectFormat
    from .options import JsonSchemaFormat as JsonSchemaFormat
    from .options import McpChoice as McpChoice
    from .options import ModerationMode as ModerationMode
    from .options import ModerationOptions as ModerationOptions
    from .options import ModerationPolicy as ModerationPolicy
    from .options import MultiAgentOptions as MultiAgentOptions
    from .options import PlainTextFormat as PlainTextFormat
    from .options import Prompt as Prompt
    from .options import PromptCacheOptions as PromptCacheOptions
    from .options import ReasoningOptions as ReasoningOptions
    from .options import StreamOptions as StreamOptions
    from .options import TextFormat as TextFormat
    from .options import TextOptions as TextOptions
    from .options import ToolChoice as ToolChoice
    from .options import UnknownTextFormat as UnknownTextFormat
    from .requests import ClientEvent as ClientEvent
    from .requests import ResponseCreate as ResponseCreate
    from .requests import ResponseInject as ResponseInject
    from .requests import ResponseSteer as ResponseSteer
    from .requests import UnknownRequest as UnknownRequest
    from .response import CachedImageTokens as CachedImageTokens
    from .response import CacheWriteDetails as CacheWriteDetails
    from .response import ImageGenerationUsage as ImageGenerationUsage
    from .response import ImageTokens as ImageTokens
    from .response import IncompleteDetails as IncompleteDetails
    from .response import InputTokensDetails as InputTokensDetails
    from .response import InputTransformation as InputTransformation
    from .response import Misalignment as Misalignment
    from .response import MisalignmentSteer as MisalignmentSteer
    from .response import Moderation as Moderation
    from .response import ModerationError as ModerationError
    from .response import ModerationOutcome as ModerationOutcome
    from .response import ModerationResult as ModerationResult
    from .response import OutputTokensDetails as OutputTokensDetails
    from .response import PromptCacheDiagnostics as PromptCacheDiagnostics
    from .response import Response as Response
    from .response import ResponseError as ResponseError
    from .response import ToolUsage as ToolUsage
    from .response import UnknownModerationOutcome as UnknownModerationOutcome
    from .response import Usage as Usage
    from .response import WebSearchUsage as WebSearchUsage
    from .settings import ModelSettings as ModelSettings
    from .settings import RequestOptions as RequestOptions
    from .tool_definitions import ApplyPatchTool as ApplyPatchTool
    from .tool_definitions import CodeInterpreterContainer as CodeInterpreterContainer
    from .tool_definitions import CodeInterpreterTool as CodeInterpreterTool
    from .tool_definitions import ComparisonFilter as ComparisonFilter
    from .tool_definitions import CompoundFilter as CompoundFilter
    from .tool_definitions import ComputerTool as ComputerTool
    from .tool_definitions import ComputerUsePreviewTool as ComputerUsePreviewTool
    from .tool_definitions import CustomFormat as CustomFormat
    from .tool_definitions import CustomTool as CustomTool
    from .tool_definitions import FileSearchTool as FileSearchTool
    from .tool_definitions import FunctionTool as FunctionTool
    from .tool_definitions import GrammarFormat as GrammarFormat
    from .tool_definitions import HybridSearch as HybridSearch
    from .tool_definitions import ImageGenerationTool as ImageGenerationTool
    from .tool_definitions import ImageMask as ImageMask
    from .tool_definitions import LocalShellTool as LocalShellTool
    from .tool_definitions import McpApprovalFilter as McpApprovalFilter
    from .tool_definitions import McpTool as McpTool
    from .tool_definitions import McpToolFilter as McpToolFilter
    from .tool_definitions import NamespaceTool as NamespaceTool
    from .tool_definitions import ProgrammaticToolCallingTool as ProgrammaticToolCallingTool
    from .tool_definitions import RankingOptions as RankingOptions
    from .tool_definitions import ShellTool as ShellTool
    from .tool_definitions import SvgOptions as SvgOptions
    from .tool_definitions import TextInputFormat as TextInputFormat
    from .tool_definitions import ToolDefinition as ToolDefinition
    from .tool_definitions import ToolSearchTool as ToolSearchTool
    from .tool_definitions import UnknownCustomFormat as UnknownCustomFormat
    from .tool_definitions import UnknownTool as UnknownTool
    from .tool_definitions import UserLocation as UserLocation
    from .tool_definitions import WebSearchFilters as WebSearchFilters
    from .tool_definitions import WebSearchPreviewTool as WebSearchPreviewTool
    from .tool_definitions import WebSearchPreviewTool20250311 as WebSearchPreviewTool20250311
    from .tool_definitions import WebSearchTool as WebSearchTool
    from .tool_definitions import WebSearchTool20250826 as WebSearchTool20250826
else:
    from . import events, items, tool_definitions

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "events": events.__dir__(),
            "items": items.__dir__(),
            "tool_definitions": tool_definitions.__dir__(),
            "content": (
                "Annotation",
                "ComputerScreenshot",
                "ContainerFileCitation",
                "ContentPart",
                "EncryptedContent",
                "FileCitation",
                "FilePath",
                "InputFile",
                "InputImage",
                "InputText",
                "Logprob",
                "OutputText",
                "PlainText",
                "PromptCacheBreakpoint",
                "ReasoningText",
                "Refusal",
                "SummaryText",
                "TopLogprob",
                "UnknownAnnotation",
                "UnknownPart",
                "UrlCitation",
            ),
            "response": (
                "CacheWriteDetails",
                "CachedImageTokens",
                "ImageGenerationUsage",
                "ImageTokens",
                "IncompleteDetails",
                "InputTokensDetails",
                "InputTransformation",
                "Misalignment",
                "MisalignmentSteer",
                "Moderation",
                "ModerationError",
                "ModerationOutcome",
                "ModerationResult",
                "OutputTokensDetails",
                "PromptCacheDiagnostics",
                "Response",
                "ResponseError",
                "ToolUsage",
                "UnknownModerationOutcome",
                "Usage",
                "WebSearchUsage",
            ),
            "requests": (
                "ClientEvent",
                "ResponseCreate",
                "ResponseInject",
                "ResponseSteer",
                "UnknownRequest",
            ),
            "settings": ("ModelSettings", "RequestOptions"),
            "options": (
                "AccessPrograms",
                "AllowedToolsChoice",
                "ContextManagement",
                "Conversation",
                "CustomToolChoice",
                "FunctionChoice",
                "HostedToolChoice",
                "ImageOptions",
                "JsonObjectFormat",
                "JsonSchemaFormat",
                "McpChoice",
                "ModerationMode",
                "ModerationOptions",
                "ModerationPolicy",
                "MultiAgentOptions",
                "PlainTextFormat",
                "Prompt",
                "PromptCacheOptions",
                "ReasoningOptions",
                "StreamOptions",
                "TextFormat",
                "TextOptions",
                "ToolChoice",
                "UnknownTextFormat",
            ),
            "environments": (
                "ContainerAuto",
                "ContainerReference",
                "DomainSecret",
                "Environment",
                "InlineSkill",
                "InlineSkillSource",
                "LocalEnvironment",
                "LocalSkill",
                "NetworkAllowlist",
                "NetworkDisabled",
                "NetworkPolicy",
                "Skill",
                "SkillReference",
                "UnknownEnvironment",
                "UnknownNetworkPolicy",
                "UnknownSkill",
            ),
        },
    )
