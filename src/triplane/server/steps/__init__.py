"""What a model can say: one frozen class for each thing.

Steps are data. How they become items and events is a question of `triplane.server.events`.
"""

from __future__ import annotations

from typing import TypeAlias

from triplane.server.faults.catalogue import Strike

from .calls import (
    ApplyPatchCall,
    ComputerCall,
    CustomToolCall,
    FunctionCall,
    LocalShellCall,
    ShellCall,
    ToolSearchCall,
)
from .endings import AnyEvent, AnyItem, Fail, Incomplete, StreamError, Wait
from .hosted import (
    Audio,
    CodeInterpreter,
    FileSearch,
    HostedShellCall,
    ImageGeneration,
    ShellResult,
    WebSearch,
)
from .mcp import McpApprovalRequest, McpCall, McpListTools
from .reasoning import Compaction, Program, ProgramOutput, Reasoning
from .text import (
    ContainerFileCitation,
    FileCitation,
    FilePath,
    Logprob,
    NewMessage,
    Refusal,
    Text,
    UrlCitation,
)

__all__ = [
    "Annotation",
    "AnyEvent",
    "AnyItem",
    "ApplyPatchCall",
    "Audio",
    "CodeInterpreter",
    "Compaction",
    "ComputerCall",
    "ContainerFileCitation",
    "CustomToolCall",
    "Fail",
    "FileCitation",
    "FilePath",
    "FileSearch",
    "FunctionCall",
    "HostedShellCall",
    "ImageGeneration",
    "Incomplete",
    "LocalShellCall",
    "Logprob",
    "McpApprovalRequest",
    "McpCall",
    "McpListTools",
    "NewMessage",
    "Program",
    "ProgramOutput",
    "Reasoning",
    "Refusal",
    "ShellCall",
    "ShellResult",
    "Step",
    "StreamError",
    "Strike",
    "Text",
    "ToolSearchCall",
    "UrlCitation",
    "Wait",
    "WebSearch",
]

Annotation: TypeAlias = UrlCitation | FileCitation | ContainerFileCitation | FilePath
"""What a text can be annotated with."""

Step: TypeAlias = (
    Text
    | NewMessage
    | Refusal
    | Annotation
    | Reasoning
    | FunctionCall
    | CustomToolCall
    | ToolSearchCall
    | ShellCall
    | LocalShellCall
    | ApplyPatchCall
    | ComputerCall
    | HostedShellCall
    | WebSearch
    | FileSearch
    | CodeInterpreter
    | ImageGeneration
    | Audio
    | McpListTools
    | McpCall
    | McpApprovalRequest
    | Compaction
    | Program
    | ProgramOutput
    | Wait
    | Incomplete
    | Fail
    | StreamError
    | AnyItem
    | AnyEvent
    | Strike
)
"""Anything a model can say."""
