"""Take the cases of a running Autobahn fuzzing server on one wire, and say what failed.

    python tests/autobahn/client.py PORT WIRE

Autobahn wants every message back as it came, text or binary. A connection gives text to its holder and refuses
binary messages that are none, so the echo goes through the connection's wire, and everything else through the
connection: dialling, the upgrade, the idle reader's hand-over, the heartbeat, the close.
"""

from __future__ import annotations

import sys
from urllib.parse import urlencode

import attrs
import trio

from triplane import ConnectionLost, Endpoint, EngineOptions
from triplane.net.connection import Connection
from triplane.net.dial import Dialler, TcpNetwork

# The fuzzing server writes its reports before it answers.
OPTIONS = EngineOptions(upgrade_timeout=120)


@attrs.frozen
class Place(Endpoint):
    """An address of the fuzzing server, whose paths are not those of a Responses endpoint."""

    path: str = attrs.field(kw_only=True)

    @property
    def resource(self) -> str:
        return self.path


async def visit(place: Place, *, echo: bool) -> list[str | bytes]:
    """Open a WebSocket, echo if asked to, and return what came once it is closed."""
    connection = Connection("autobahn", place, OPTIONS)
    opened = trio.Event()
    came: list[str | bytes] = []

    def on_open() -> None:
        connection.begin_use()
        opened.set()

    async def talk() -> None:
        await opened.wait()
        wire = connection._wire
        assert wire is not None
        try:
            while True:
                for message in await wire.receive_any():
                    came.append(message)
                    if echo:
                        await wire.send(message)
        except ConnectionLost:
            connection.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        await connection.run(Dialler(TcpNetwork(), OPTIONS, {}), on_open=on_open)
    return came


async def main(port: int, wire: str) -> None:
    def place(name: str, **query: object) -> Place:
        path = f"/{name}?{urlencode({'agent': wire, **query})}"
        return Place(f"ws://127.0.0.1:{port}", wire=wire, proxy=None, path=path)

    (count,) = await visit(place("getCaseCount"), echo=False)
    for case in range(1, int(count) + 1):
        with trio.fail_after(120):
            await visit(place("runCase", case=case), echo=True)
        if case % 50 == 0:
            print(f"{wire}: {case} of {int(count)}", flush=True)
    await visit(place("updateReports"), echo=False)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2])
