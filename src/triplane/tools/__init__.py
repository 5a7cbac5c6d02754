"""Functions that a model may call: their schemas, their arguments, their deadlines, and what they may cost.

`tool` makes a `Tool` of a function, `run_calls` runs the calls of one response, `workspace` is a ready-made set. A
tool never sees a socket.
"""

from __future__ import annotations

from .artifact_tool import read_artifact_tool as read_artifact_tool
from .builtin import CommandOutput as CommandOutput
from .builtin import ComputerHandler as ComputerHandler
from .builtin import LocalShellHandler as LocalShellHandler
from .builtin import PatchHandler as PatchHandler
from .builtin import SafetyCheckError as SafetyCheckError
from .builtin import ShellHandler as ShellHandler
from .builtin import apply_patch_tool as apply_patch_tool
from .builtin import computer_tool as computer_tool
from .builtin import local_shell_tool as local_shell_tool
from .builtin import shell_tool as shell_tool
from .builtin import tool_search as tool_search
from .call_run import CallRun as CallRun
from .call_run import Observer as Observer
from .call_run import Setting as Setting
from .call_run import idempotency_key as idempotency_key
from .content import File as File
from .content import Image as Image
from .context import AgentRunner as AgentRunner
from .context import Progress as Progress
from .context import ToolContext as ToolContext
from .custom_tool import custom_tool as custom_tool
from .kinds import Producer as Producer
from .kinds import Production as Production
from .masked_arguments import MaskedArguments as MaskedArguments
from .namespace import check_together as check_together
from .namespace import definitions as definitions
from .namespace import namespace as namespace
from .namespace import needs_namespaces as needs_namespaces
from .options import FailurePolicy as FailurePolicy
from .options import ToolOptions as ToolOptions
from .output import CallOutput as CallOutput
from .process import ProcessResult as ProcessResult
from .process import run_process as run_process
from .process_tool import Command as Command
from .process_tool import process_tool as process_tool
from .runtime import ToolFailedError as ToolFailedError
from .runtime import run_calls as run_calls
from .secrets import Secret as Secret
from .secrets import Vault as Vault
from .secrets import Vaults as Vaults
from .sink import Sink as Sink
from .threads import ThreadStatistics as ThreadStatistics
from .threads import thread_statistics as thread_statistics
from .tool import FunctionTool as FunctionTool
from .tool import Tool as Tool
from .tool import ToolMethod as ToolMethod
from .tool import by_name as by_name
from .tool import tool as tool
from .tool import tool_for as tool_for
from .tool import tools_of as tools_of
from .workbench import Workbench as Workbench
from .workspace import CommandLimits as CommandLimits
from .workspace import workspace as workspace
