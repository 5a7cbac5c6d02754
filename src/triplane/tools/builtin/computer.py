"""The tool ``computer``: a screen, a keyboard and a mouse, which a handler moves for the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Unpack, final

import attrs

from triplane.core.answers import SCREENSHOT
from triplane.core.errors import ConfigError
from triplane.protocol import ComputerCall, SafetyCheck, to_wire
from triplane.tools.content import MAX_PARTS, Image, size_of
from triplane.tools.kinds import WrongPieceError

from .declare import ACTION, ReadsAction, checked_handler, declared

if TYPE_CHECKING:
    from triplane.protocol import ComputerAction
    from triplane.tools.context import ToolContext
    from triplane.tools.kinds import Production
    from triplane.tools.options import ToolOptions
    from triplane.tools.tool import Tool

ComputerEnvironment = Literal["windows", "mac", "linux", "ubuntu", "browser"]


class ComputerHandler(Protocol):
    """Uses a computer."""

    async def __call__(self, actions: Sequence[ComputerAction], context: ToolContext, /) -> Image | bytes:
        """Do what the model wants, in order, and return a picture of the screen afterwards: PNG bytes, or an `Image`.

        Raises:
            Exception: It cannot be done.
        """
        ...


class SafetyCheckError(Exception):
    """The server wants somebody to acknowledge a warning before the actions of a call are done, and nobody has.

    Attributes:
        checks: The warnings.
    """

    def __init__(self, checks: Sequence[SafetyCheck]) -> None:
        words = "; ".join(f"{check.code or check.id}: {check.message or 'no message'}" for check in checks)
        super().__init__(
            f"nothing was done, since the server has warnings that nobody has acknowledged ({words});"
            " computer_tool(…, acknowledge=…) takes a function that decides on each"
        )
        self.checks = tuple(checks)


def computer_tool(
    handler: ComputerHandler,
    *,
    acknowledge: Callable[[SafetyCheck], bool] | None = None,
    display: tuple[int, int] | None = None,
    environment: ComputerEnvironment = "browser",
    **options: Unpack[ToolOptions],
) -> Tool:
    """The API's ``computer`` tool: `handler` does the actions of a call and returns a picture of the screen.

    A call may come with safety checks. Unless `acknowledge` says True to each of them nothing is done, and the call fails
    with a `SafetyCheckError`. Unlike other tools this one ends its run when it fails (``on_error="raise"``), since an
    answer must be a picture and there is none. With ``on_error="report"`` the model gets an empty one, and is told why in
    a message.

    Args:
        handler: Uses the computer.
        acknowledge: Whether a safety check, with its ``code`` and ``message``, is no reason to stop; only True says so. Called
            in Trio's thread, so it must be quick and no async function. Default: it is one.
        display: Width and height in pixels, for models that take the preview's tool ``computer_use_preview``.
        environment: What kind of computer it is, for the same.
        options: See `ToolOptions`. The default of `on_error` is ``"raise"``.

    Raises:
        ConfigError: The handler is not an async function, or an option does not make sense.
    """
    wire: dict[str, Any] = {"type": "computer"}
    if display is not None:
        if len(display) != 2 or not all(isinstance(side, int) and side > 0 for side in display):
            raise ConfigError(f"display= of tool 'computer' is {display!r}; give width and height in pixels")
        width, height = display
        wire = {
            "type": "computer_use_preview",
            "display_width": width,
            "display_height": height,
            "environment": environment,
        }
    if acknowledge is not None and (not callable(acknowledge) or inspect.iscoroutinefunction(acknowledge)):
        raise ConfigError(
            f"acknowledge= of tool 'computer' is {acknowledge!r}; give a function (not an async one) of a safety check"
        )
    options.setdefault("on_error", "raise")
    reads = ReadsAction("computer_call", None, '{"actions": [{"type": …}, …]}', _whole)
    producer = UsesComputer(checked_handler("computer", handler), acknowledge)
    return declared("computer_call", "computer", wire, reads, producer, options)


def _whole(item: ComputerCall) -> ComputerCall | None:
    return item if item.action is not None or item.actions else None


@final
@attrs.frozen
class UsesComputer:
    """Has a handler use the computer."""

    handler: ComputerHandler
    acknowledge: Callable[[SafetyCheck], bool] | None

    async def __call__(self, arguments: dict[str, Any], production: Production) -> str:
        """See `Producer`."""
        call: ComputerCall = arguments[ACTION]
        checks = call.pending_safety_checks or ()
        unsafe = [
            check for check in checks if self.acknowledge is None or self.acknowledge(check) is not True
        ]
        if unsafe:
            raise SafetyCheckError(unsafe)
        actions = call.actions or (() if call.action is None else (call.action,))
        picture: object = await self.handler(actions, production.context)
        if isinstance(picture, bytes):
            picture = Image(picture)
        if not isinstance(picture, Image):
            raise WrongPieceError(
                f"it returned a {type(picture).__name__}; return PNG bytes or a triplane.Image"
            )
        part = {key: value for key, value in picture.part().items() if key in ("image_url", "file_id")}
        if size_of(part) > MAX_PARTS:
            raise WrongPieceError(
                f"its picture takes {size_of(part):,} bytes in a request; at most {MAX_PARTS:,} are sent"
            )
        production.content.append({"type": SCREENSHOT, **part})
        production.content.extend(to_wire(check) for check in checks)
        return picture.words()
