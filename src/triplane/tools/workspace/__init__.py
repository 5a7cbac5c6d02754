"""Ready-made tools for the files below one directory: list, read, search, write, patch, and run commands there.

`docs/workspace.md` says what is protected, and what is not.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import trio

from triplane.core.errors import ConfigError
from triplane.tools.process import run_process
from triplane.tools.threads import run_in_thread
from triplane.tools.tool import tool

from .commands import CommandLimits as CommandLimits
from .commands import Commands
from .files import MAX_BYTES, Files
from .glob import MAX_PATTERN
from .scan import search
from .scan.confined import Confined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from triplane.tools.sink import Sink
    from triplane.tools.tool import Tool

T = TypeVar("T")

_MAX_MATCHES = 200


def workspace(
    path: str | os.PathLike[str],
    *,
    write: bool = False,
    commands: bool | Iterable[str] = False,
    limits: CommandLimits | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Tool, ...]:
    """The tools ``list_files``, ``read_text`` and ``search_text``, and more if you allow it.

    With `write` there are ``write_text`` and ``apply_patch`` too, with `commands` ``run_command``. Without either the
    workspace is read-only.

    The file tools see and change nothing outside of the directory: a path that leads outside, by ``..`` or by a symbolic
    link or because it is absolute, is refused, even if somebody changes the tree at the same moment. They read and replace
    regular files only, and never open anything else. Files in ``.git`` cannot be written.

    ``run_command`` runs with the rights of this process and is not confined. What it gets of the environment is PATH, HOME,
    the language and the like, and what `environment` says. It has no terminal and no input.

    Args:
        path: An existing directory. Symbolic links in it are resolved now.
        write: Whether the model may create, change and delete files.
        commands: What the model may run: True for any line of a shell; a list of commands, such as
            ``["pytest", "git diff"]``, for those that begin with the same words, without a shell. The programs are looked up
            now.
        limits: What a command may use; default: `CommandLimits()`.
        environment: Variables for the commands.

    Raises:
        ConfigError: `path` is not a directory, a command is not there, or the extra ``triplane[tools]`` is not installed.
    """
    root = os.path.realpath(path)
    if not Path(root).is_dir():
        raise ConfigError(f"the workspace {os.fspath(path)!r} is not a directory")
    files = Files(Confined(root, os.path.abspath(path)))  # noqa: PTH100  # links in it are the point
    tools = _reading(files)
    if write:
        tools += _writing(files)
    if commands is not False:
        allowed = None if commands is True else commands
        limits = CommandLimits() if limits is None else limits
        tools += (_running(Commands.of(root, allowed, limits, environment or {}), limits.timeout),)
    return tools


def _reading(files: Files) -> tuple[Tool, ...]:
    library = _library()

    @tool(effect="read")
    async def list_files(path: str = ".", pattern: str = "**/*") -> str:
        """List the files below a directory of the workspace, with their sizes in bytes.

        Args:
            path: The directory, relative to the workspace.
            pattern: Which files: `*` and `?` match within a name, `**` any number of directories.
        """
        return await run_in_thread(functools.partial(files.list_files, path, pattern), name="list_files")

    @tool(effect="read")
    async def read_text(path: str, start: int = 1, lines: int = 400) -> str:
        """Read lines of a text file of the workspace, with their numbers.

        Args:
            path: The file, relative to the workspace.
            start: The first line; lines count from 1.
            lines: How many lines at most.
        """
        return await run_in_thread(functools.partial(files.read_text, path, start, lines), name="read_text")

    @tool(effect="read")
    async def search_text(pattern: str, path: str = ".", ignored: bool = False) -> str:  # noqa: FBT001, FBT002  # a model names it
        """Search the text files of the workspace line by line for a regular expression.

        Args:
            pattern: A regular expression in Python's syntax.
            path: A directory or a file, relative to the workspace.
            ignored: Whether to search files too that git would ignore.
        """
        return await _search(files, library, pattern, path, ignored=ignored)

    return list_files, read_text, search_text


def _writing(files: Files) -> tuple[Tool, ...]:
    @tool(effect="write")
    async def write_text(path: str, content: str) -> str:
        """Create a text file in the workspace, or replace all that is in it; makes missing directories.

        Args:
            path: The file, relative to the workspace.
            content: The whole new content.
        """
        return await _to_its_end(functools.partial(files.write_text, path, content))

    @tool(effect="write")
    async def apply_patch(patch: str) -> str:
        """Change, create, delete and rename files of the workspace: everything in the patch, or nothing.

        Args:
            patch: A unified diff, or a patch that begins with `*** Begin Patch`. Lines of context must be as they are in
                the file.
        """
        return await _to_its_end(functools.partial(files.apply_patch, patch))

    return write_text, apply_patch


def _running(commands: Commands, timeout: float) -> Tool:
    @tool(effect="write", timeout=timeout, description=commands.described())
    async def run_command(command: str) -> Sink:
        """Run a command.

        Args:
            command: One line.
        """
        return await commands.run(command)

    return run_command


async def _to_its_end(function: Callable[[], T]) -> T:
    """Run what writes in a thread that is not left behind: nobody would know what it still does."""
    return await trio.to_thread.run_sync(function)


async def _search(files: Files, library: str, pattern: str, path: str, *, ignored: bool) -> str:
    if len(pattern) > MAX_PATTERN or "\0" in pattern:
        raise ValueError(f"the pattern must be at most {MAX_PATTERN} characters, without NUL")
    start = await run_in_thread(functools.partial(files.inside, path), name="search_text")
    root = files.confined.root
    arguments = (root, start, pattern, str(_MAX_MATCHES), str(MAX_BYTES), "ignored" if ignored else "")
    result = await run_process(search.command(*arguments, library=library), cwd=root)
    if result.exit_status in (search.BAD_PATTERN, search.TOO_MUCH):
        raise ValueError(result.output)
    if result.exit_status:
        raise RuntimeError(f"the search ended with exit status {result.exit_status}: {result.output}")
    return result.output


def _library() -> str:
    """The folder in which pathspec is installed.

    Raises:
        ConfigError: It is not.
    """
    spec = importlib.util.find_spec("pathspec")
    if spec is None or spec.origin is None:
        raise ConfigError("a workspace needs an extra: python -m pip install 'triplane[tools]'")
    return str(Path(spec.origin).parent.parent)
