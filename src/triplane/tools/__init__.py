"""Functions that a model may call: their schemas, their arguments, their deadlines, and what they may cost.

`tool` makes a `Tool` of a function, `run_calls` runs the calls of one response, `workspace` is a ready-made set. A
tool never sees a socket.
"""

from __future__ import annotations

from .context import AgentRunner as AgentRunner
from .context import ToolContext as ToolContext
from .process import ProcessResult as ProcessResult
from .process import run_process as run_process
from .runtime import Observer as Observer
from .runtime import idempotency_key as idempotency_key
from .runtime import run_calls as run_calls
from .sink import Sink as Sink
from .threads import ThreadStatistics as ThreadStatistics
from .threads import thread_statistics as thread_statistics
from .tool import FunctionTool as FunctionTool
from .tool import Tool as Tool
from .tool import by_name as by_name
from .tool import tool as tool
from .workspace import CommandLimits as CommandLimits
from .workspace import workspace as workspace
