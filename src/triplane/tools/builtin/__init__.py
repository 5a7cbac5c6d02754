"""Tools for the kinds of calls that the API has of its own: shells, patches, the computer, the search for tools.

The API defines what such a call says and what its answer looks like; who does it, and where, is the client's business.
Each kind takes a handler, an async function that gets what is to be done with its types, and has one ready-made where
a workspace is enough. Limits, effects, failures and records are those of every other tool.
"""

from __future__ import annotations

from .computer import ComputerHandler as ComputerHandler
from .computer import SafetyCheckError as SafetyCheckError
from .computer import computer_tool as computer_tool
from .patch import PatchHandler as PatchHandler
from .patch import apply_patch_tool as apply_patch_tool
from .search import tool_search as tool_search
from .shell import CommandOutput as CommandOutput
from .shell import LocalShellHandler as LocalShellHandler
from .shell import ShellHandler as ShellHandler
from .shell import local_shell_tool as local_shell_tool
from .shell import shell_tool as shell_tool
