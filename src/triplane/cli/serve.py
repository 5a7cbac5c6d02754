"""The local server as a command: one line on standard output when it is ready, and an end at the first signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from triplane.cli.demo import CLOSE_SECONDS
from triplane.cli.scopes import background, interruptible
from triplane.cli.untrusted import named
from triplane.server import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triplane.cli.screen import Screen
    from triplane.server import Chaos, Fault, ServerHandle
    from triplane.server.dialect import Mode


class CannotListenError(Exception):
    """The address cannot be listened on; the message says why."""


async def serve_until_interrupted(
    screen: Screen,
    *,
    host: str,
    port: int,
    model: str | None,
    strict_models: bool,
    latency: float,
    delta_delay: float,
    mode: Mode,
    max_age: float | None,
    seed: int,
    api_key: str | None,
    faults: Sequence[Fault] = (),
    chaos: Chaos | None = None,
    allowed_hosts: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
) -> None:
    """Run the local server until a signal comes.

    Once connections are accepted, standard output gets the WebSocket URL on a line of its own, and nothing else ever.

    Raises:
        CannotListenError: The port is in use, or the host is none of ours.
        BrokenPipeError: Nobody reads standard output.
    """

    async def server(*, task_status: trio.TaskStatus[ServerHandle]) -> None:
        try:
            await serve(
                host=host,
                port=port,
                model=model,
                strict_models=strict_models,
                latency=latency,
                delta_delay=delta_delay,
                mode=mode,
                max_age=max_age,
                seed=seed,
                api_key=api_key,
                faults=faults,
                chaos=chaos,
                allowed_hosts=allowed_hosts,
                allowed_origins=allowed_origins,
                close_timeout=CLOSE_SECONDS,
                task_status=task_status,
            )
        except OSError as error:
            place = f"{named(host)} port {port}"
            raise CannotListenError(f"cannot listen on {place}: {error.strerror or error}") from error

    with interruptible() as interruption, interruption.scope:
        async with background(server) as handle:
            await screen.write("out", f"{handle.url}\n")
            await trio.sleep_forever()
