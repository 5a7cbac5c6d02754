"""Server events: a class for each of the types that OpenAI documents, and `UnknownEvent` for all others.

A class is created when it is first asked for, or when an event of its type first arrives.
"""

from typing import TYPE_CHECKING

from triplane.protocol._families import lazy_names

from ._base import ServerEvent as ServerEvent
from ._base import UnknownEvent as UnknownEvent
from ._catalogue import EXTRA_NAMES, MODULES

if TYPE_CHECKING:
    from .agents import ResponseInjectCreated as ResponseInjectCreated
    from .agents import ResponseInjectFailed as ResponseInjectFailed
    from .audio import ResponseAudioDelta as ResponseAudioDelta
    from .audio import ResponseAudioDone as ResponseAudioDone
    from .audio import ResponseAudioTranscriptDelta as ResponseAudioTranscriptDelta
    from .audio import ResponseAudioTranscriptDone as ResponseAudioTranscriptDone
    from .calls import ResponseCustomToolCallInputDelta as ResponseCustomToolCallInputDelta
    from .calls import ResponseCustomToolCallInputDone as ResponseCustomToolCallInputDone
    from .calls import ResponseFunctionCallArgumentsDelta as ResponseFunctionCallArgumentsDelta
    from .calls import ResponseFunctionCallArgumentsDone as ResponseFunctionCallArgumentsDone
    from .failure import ErrorEvent as ErrorEvent
    from .failure import ResponseErrorEvent as ResponseErrorEvent
    from .failure import UntypedErrorEvent as UntypedErrorEvent
    from .hosted import ResponseCodeInterpreterCallCodeDelta as ResponseCodeInterpreterCallCodeDelta
    from .hosted import ResponseCodeInterpreterCallCodeDone as ResponseCodeInterpreterCallCodeDone
    from .hosted import ResponseCodeInterpreterCallCompleted as ResponseCodeInterpreterCallCompleted
    from .hosted import ResponseCodeInterpreterCallInProgress as ResponseCodeInterpreterCallInProgress
    from .hosted import ResponseCodeInterpreterCallInterpreting as ResponseCodeInterpreterCallInterpreting
    from .hosted import ResponseCompactionCompacting as ResponseCompactionCompacting
    from .hosted import ResponseFileSearchCallCompleted as ResponseFileSearchCallCompleted
    from .hosted import ResponseFileSearchCallInProgress as ResponseFileSearchCallInProgress
    from .hosted import ResponseFileSearchCallSearching as ResponseFileSearchCallSearching
    from .hosted import ResponseImageGenerationCallCompleted as ResponseImageGenerationCallCompleted
    from .hosted import ResponseImageGenerationCallGenerating as ResponseImageGenerationCallGenerating
    from .hosted import ResponseImageGenerationCallInProgress as ResponseImageGenerationCallInProgress
    from .hosted import ResponseImageGenerationCallPartialImage as ResponseImageGenerationCallPartialImage
    from .hosted import ResponseWebSearchCallCompleted as ResponseWebSearchCallCompleted
    from .hosted import ResponseWebSearchCallInProgress as ResponseWebSearchCallInProgress
    from .hosted import ResponseWebSearchCallSearching as ResponseWebSearchCallSearching
    from .lifecycle import ResponseCompleted as ResponseCompleted
    from .lifecycle import ResponseCreated as ResponseCreated
    from .lifecycle import ResponseFailed as ResponseFailed
    from .lifecycle import ResponseIncomplete as ResponseIncomplete
    from .lifecycle import ResponseInProgress as ResponseInProgress
    from .lifecycle import ResponseQueued as ResponseQueued
    from .mcp import ResponseMcpCallArgumentsDelta as ResponseMcpCallArgumentsDelta
    from .mcp import ResponseMcpCallArgumentsDone as ResponseMcpCallArgumentsDone
    from .mcp import ResponseMcpCallCompleted as ResponseMcpCallCompleted
    from .mcp import ResponseMcpCallFailed as ResponseMcpCallFailed
    from .mcp import ResponseMcpCallInProgress as ResponseMcpCallInProgress
    from .mcp import ResponseMcpListToolsCompleted as ResponseMcpListToolsCompleted
    from .mcp import ResponseMcpListToolsFailed as ResponseMcpListToolsFailed
    from .mcp import ResponseMcpListToolsInProgress as ResponseMcpListToolsInProgress
    from .output import ResponseContentPartAdded as ResponseContentPartAdded
    from .output import ResponseContentPartDone as ResponseContentPartDone
    from .output import ResponseOutputItemAdded as ResponseOutputItemAdded
    from .output import ResponseOutputItemDone as ResponseOutputItemDone
    from .reasoning import ResponseReasoningSummaryPartAdded as ResponseReasoningSummaryPartAdded
    from .reasoning import ResponseReasoningSummaryPartDone as ResponseReasoningSummaryPartDone
    from .reasoning import ResponseReasoningSummaryTextDelta as ResponseReasoningSummaryTextDelta
    from .reasoning import ResponseReasoningSummaryTextDone as ResponseReasoningSummaryTextDone
    from .reasoning import ResponseReasoningTextDelta as ResponseReasoningTextDelta
    from .reasoning import ResponseReasoningTextDone as ResponseReasoningTextDone
    from .shell import ResponseShellCallCommandAdded as ResponseShellCallCommandAdded
    from .shell import ResponseShellCallCommandDelta as ResponseShellCallCommandDelta
    from .shell import ResponseShellCallCommandDone as ResponseShellCallCommandDone
    from .shell import ResponseShellCallOutputContentDelta as ResponseShellCallOutputContentDelta
    from .shell import ResponseShellCallOutputContentDone as ResponseShellCallOutputContentDone
    from .shell import ShellOutputDelta as ShellOutputDelta
    from .steering import RequiredInput as RequiredInput
    from .steering import ResponseSteerAccepted as ResponseSteerAccepted
    from .steering import ResponseSteerFailed as ResponseSteerFailed
    from .steering import ResponseSteerPending as ResponseSteerPending
    from .steering import Steer as Steer
    from .text import ResponseOutputTextAnnotationAdded as ResponseOutputTextAnnotationAdded
    from .text import ResponseOutputTextDelta as ResponseOutputTextDelta
    from .text import ResponseOutputTextDone as ResponseOutputTextDone
    from .text import ResponseRefusalDelta as ResponseRefusalDelta
    from .text import ResponseRefusalDone as ResponseRefusalDone
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {module: (*kinds.values(), *EXTRA_NAMES.get(module, ())) for module, kinds in MODULES.items()},
    )
