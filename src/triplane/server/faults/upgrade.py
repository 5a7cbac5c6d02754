"""What an upgrade gets instead of being accepted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import orjson
import trio

from triplane.server.http.head import BadRequest, send_answer

from .catalogue import AnswerUpgrade, IgnoreUpgrade, RedirectUpgrade, RefuseUpgrade

if TYPE_CHECKING:
    from .catalogue import UpgradeFault

__all__ = ["strike_upgrade"]


async def strike_upgrade(stream: trio.abc.Stream, fault: UpgradeFault, *, timeout: float) -> None:  # noqa: ASYNC109 - of one step, not of the whole
    """Do what `fault` says. The stream still has to be closed afterwards.

    Args:
        stream: where the upgrade came from.
        fault: what happens to it.
        timeout: seconds that the client has to read the answer.

    Raises:
        trio.BrokenResourceError: the connection is lost.
    """
    match fault:
        case RefuseUpgrade(status=status, headers=headers, body=body, delay=delay):
            bad = BadRequest(status, "This upgrade is refused by a fault.", code="fault")
            content = orjson.dumps(bad.body()) if body is None else body
            await trio.sleep(delay)
            with trio.move_on_after(timeout):
                await send_answer(stream, status, content, headers=headers)
        case RedirectUpgrade(location=location, status=status, delay=delay):
            await trio.sleep(delay)
            with trio.move_on_after(timeout):
                await send_answer(stream, status, b"", headers={"Location": location})
        case AnswerUpgrade(data=data, delay=delay):
            await trio.sleep(delay)
            with trio.move_on_after(timeout):
                await stream.send_all(data)
        case IgnoreUpgrade(seconds=seconds):
            with trio.move_on_after(math.inf if seconds is None else seconds):
                while await stream.receive_some(65536):
                    pass
