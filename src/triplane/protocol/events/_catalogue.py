"""Which event type is which class, in which module of this package.

The one list of event types. It is data so that a class is only made when its type first occurs.
"""

from collections.abc import Mapping
from typing import Final

MODULES: Final[Mapping[str, Mapping[str, str]]] = {
    "lifecycle": {
        "response.completed": "ResponseCompleted",
        "response.created": "ResponseCreated",
        "response.in_progress": "ResponseInProgress",
        "response.failed": "ResponseFailed",
        "response.incomplete": "ResponseIncomplete",
        "response.queued": "ResponseQueued",
    },
    "output": {
        "response.content_part.added": "ResponseContentPartAdded",
        "response.content_part.done": "ResponseContentPartDone",
        "response.output_item.added": "ResponseOutputItemAdded",
        "response.output_item.done": "ResponseOutputItemDone",
    },
    "text": {
        "response.refusal.delta": "ResponseRefusalDelta",
        "response.refusal.done": "ResponseRefusalDone",
        "response.output_text.delta": "ResponseOutputTextDelta",
        "response.output_text.done": "ResponseOutputTextDone",
        "response.output_text.annotation.added": "ResponseOutputTextAnnotationAdded",
    },
    "reasoning": {
        "response.reasoning_summary_part.added": "ResponseReasoningSummaryPartAdded",
        "response.reasoning_summary_part.done": "ResponseReasoningSummaryPartDone",
        "response.reasoning_summary_text.delta": "ResponseReasoningSummaryTextDelta",
        "response.reasoning_summary_text.done": "ResponseReasoningSummaryTextDone",
        "response.reasoning_text.delta": "ResponseReasoningTextDelta",
        "response.reasoning_text.done": "ResponseReasoningTextDone",
    },
    "calls": {
        "response.function_call_arguments.delta": "ResponseFunctionCallArgumentsDelta",
        "response.function_call_arguments.done": "ResponseFunctionCallArgumentsDone",
        "response.custom_tool_call_input.delta": "ResponseCustomToolCallInputDelta",
        "response.custom_tool_call_input.done": "ResponseCustomToolCallInputDone",
    },
    "shell": {
        "response.shell_call_command.added": "ResponseShellCallCommandAdded",
        "response.shell_call_command.delta": "ResponseShellCallCommandDelta",
        "response.shell_call_command.done": "ResponseShellCallCommandDone",
        "response.shell_call_output_content.delta": "ResponseShellCallOutputContentDelta",
        "response.shell_call_output_content.done": "ResponseShellCallOutputContentDone",
    },
    "mcp": {
        "response.mcp_call_arguments.delta": "ResponseMcpCallArgumentsDelta",
        "response.mcp_call_arguments.done": "ResponseMcpCallArgumentsDone",
        "response.mcp_call.completed": "ResponseMcpCallCompleted",
        "response.mcp_call.failed": "ResponseMcpCallFailed",
        "response.mcp_call.in_progress": "ResponseMcpCallInProgress",
        "response.mcp_list_tools.completed": "ResponseMcpListToolsCompleted",
        "response.mcp_list_tools.failed": "ResponseMcpListToolsFailed",
        "response.mcp_list_tools.in_progress": "ResponseMcpListToolsInProgress",
    },
    "hosted": {
        "response.code_interpreter_call_code.delta": "ResponseCodeInterpreterCallCodeDelta",
        "response.code_interpreter_call_code.done": "ResponseCodeInterpreterCallCodeDone",
        "response.code_interpreter_call.completed": "ResponseCodeInterpreterCallCompleted",
        "response.code_interpreter_call.in_progress": "ResponseCodeInterpreterCallInProgress",
        "response.code_interpreter_call.interpreting": "ResponseCodeInterpreterCallInterpreting",
        "response.compaction.compacting": "ResponseCompactionCompacting",
        "response.file_search_call.completed": "ResponseFileSearchCallCompleted",
        "response.file_search_call.in_progress": "ResponseFileSearchCallInProgress",
        "response.file_search_call.searching": "ResponseFileSearchCallSearching",
        "response.web_search_call.completed": "ResponseWebSearchCallCompleted",
        "response.web_search_call.in_progress": "ResponseWebSearchCallInProgress",
        "response.web_search_call.searching": "ResponseWebSearchCallSearching",
        "response.image_generation_call.completed": "ResponseImageGenerationCallCompleted",
        "response.image_generation_call.generating": "ResponseImageGenerationCallGenerating",
        "response.image_generation_call.in_progress": "ResponseImageGenerationCallInProgress",
        "response.image_generation_call.partial_image": "ResponseImageGenerationCallPartialImage",
    },
    "audio": {
        "response.audio.delta": "ResponseAudioDelta",
        "response.audio.done": "ResponseAudioDone",
        "response.audio.transcript.delta": "ResponseAudioTranscriptDelta",
        "response.audio.transcript.done": "ResponseAudioTranscriptDone",
    },
    "steering": {
        "response.steer.accepted": "ResponseSteerAccepted",
        "response.steer.pending": "ResponseSteerPending",
        "response.steer.failed": "ResponseSteerFailed",
    },
    "agents": {
        "response.inject.created": "ResponseInjectCreated",
        "response.inject.failed": "ResponseInjectFailed",
    },
    "failure": {
        "error": "ErrorEvent",
        "response.error": "ResponseErrorEvent",
    },
}
"""``{module: {type: class}}``."""

CLASS_OF_TYPE: Final[Mapping[str, str]] = {
    kind: f"events.{module}:{name}" for module, classes in MODULES.items() for kind, name in classes.items()
}

EXTRA_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "failure": ("UntypedErrorEvent",),
    "shell": ("ShellOutputDelta",),
    "steering": ("RequiredInput", "Steer"),
}
"""Public classes in the same modules that are no types of events."""
