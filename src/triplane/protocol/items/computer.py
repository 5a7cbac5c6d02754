"""A computer's screen, keyboard and mouse, which the model uses through the client."""

from typing import ClassVar

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire
from triplane.protocol.content import ContentPart

from ._base import Item


@attrs.frozen(eq=False, repr=False)
class ComputerAction(Wire):
    """One thing to do with the computer. Base of the action classes; ``keys`` are held down meanwhile."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "click": "items.computer:ClickAction",
            "double_click": "items.computer:DoubleClickAction",
            "drag": "items.computer:DragAction",
            "keypress": "items.computer:KeypressAction",
            "move": "items.computer:MoveAction",
            "screenshot": "items.computer:ScreenshotAction",
            "scroll": "items.computer:ScrollAction",
            "type": "items.computer:TypeAction",
            "wait": "items.computer:WaitAction",
        },
        "items.computer:UnknownComputerAction",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownComputerAction(ComputerAction):
    """An action of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class ClickAction(ComputerAction):
    """Click with the left, right, wheel, back or forward button."""

    type: ClassVar[str] = "click"
    x: int
    y: int
    button: str
    keys: tuple[str, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class DoubleClickAction(ComputerAction):
    """Click twice."""

    type: ClassVar[str] = "double_click"
    x: int
    y: int
    keys: tuple[str, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class Point(Wire):
    """A place on the screen."""

    tagged: ClassVar[bool] = False
    x: int
    y: int


@attrs.frozen(eq=False, repr=False)
class DragAction(ComputerAction):
    """Drag along a path."""

    type: ClassVar[str] = "drag"
    path: tuple[Point, ...]
    keys: tuple[str, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class KeypressAction(ComputerAction):
    """Press keys together."""

    type: ClassVar[str] = "keypress"
    keys: tuple[str, ...]


@attrs.frozen(eq=False, repr=False)
class MoveAction(ComputerAction):
    """Move the pointer."""

    type: ClassVar[str] = "move"
    x: int
    y: int
    keys: tuple[str, ...] | None = None


class ScreenshotAction(ComputerAction):
    """Take a screenshot."""

    __slots__ = ()
    type: ClassVar[str] = "screenshot"


@attrs.frozen(eq=False, repr=False)
class ScrollAction(ComputerAction):
    """Scroll at a place."""

    type: ClassVar[str] = "scroll"
    x: int
    y: int
    scroll_x: int
    scroll_y: int
    keys: tuple[str, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class TypeAction(ComputerAction):
    """Type text."""

    type: ClassVar[str] = "type"
    text: str


class WaitAction(ComputerAction):
    """Wait a while."""

    __slots__ = ()
    type: ClassVar[str] = "wait"


@attrs.frozen(eq=False, repr=False)
class SafetyCheck(Wire):
    """A warning that a person should acknowledge before the actions are done."""

    tagged: ClassVar[bool] = False
    id: str
    code: str | None = None
    message: str | None = None


@attrs.frozen(eq=False, repr=False)
class ComputerCall(Item):
    """Do this with the computer: one ``action`` (preview tool) or a batch of ``actions``."""

    type: ClassVar[str] = "computer_call"
    call_id: str
    action: ComputerAction | None = None
    actions: tuple[ComputerAction, ...] | None = None
    pending_safety_checks: tuple[SafetyCheck, ...] | None = None
    status: str | None = None


@attrs.frozen(eq=False, repr=False)
class ComputerCallOutput(Item):
    """What the screen shows now: a `ComputerScreenshot`."""

    type: ClassVar[str] = "computer_call_output"
    call_id: str
    output: ContentPart
    acknowledged_safety_checks: tuple[SafetyCheck, ...] | None = None
    status: str | None = None
    created_by: str | None = None
