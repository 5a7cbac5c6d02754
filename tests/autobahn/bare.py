"""Take the same cases with the bare libraries, to see which failures are theirs.

python tests/autobahn/bare.py PORT WIRE
"""

from __future__ import annotations

import sys

import trio
import websockets.sync.client
from trio_websocket import ConnectionClosed, open_websocket_url
from websockets.exceptions import WebSocketException


async def visit_by_trio_websocket(url: str) -> str | bytes:
    message: str | bytes = ""
    async with open_websocket_url(url, max_message_size=2**26) as connection:
        try:
            while True:
                message = await connection.get_message()
                if "runCase" in url:
                    await connection.send_message(message)
        except ConnectionClosed:
            return message


def visit_by_websockets(url: str) -> str | bytes:
    message: str | bytes = ""
    with websockets.sync.client.connect(
        url, compression=None, max_size=2**26, proxy=None, open_timeout=120
    ) as connection:
        try:
            while True:
                message = connection.recv()
                if "runCase" in url:
                    connection.send(message)
        except WebSocketException:
            return message


def main(port: int, wire: str) -> None:
    def visit(what: str) -> str | bytes:
        url = f"ws://127.0.0.1:{port}/{what}agent=bare-{wire}"
        return visit_by_websockets(url) if wire == "websockets" else trio.run(visit_by_trio_websocket, url)

    for case in range(1, int(visit("getCaseCount?")) + 1):
        visit(f"runCase?case={case}&")
    visit("updateReports?")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
