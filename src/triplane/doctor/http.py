"""One HTTP request over a stream of the dialler: just enough to see who answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import h11
import trio

if TYPE_CHECKING:
    from triplane.net.dial import Dialler
    from triplane.net.endpoint import Endpoint

_MAX_BODY: Final = 1_000_000


class NoAnswerError(Exception):
    """What came was no answer in HTTP; the message says what instead."""


@attrs.frozen
class Answer:
    """An HTTP answer.

    Attributes:
        status: Its status.
        body: Of it, at most a million bytes.
    """

    status: int
    body: bytes


async def ask(dialler: Dialler, endpoint: Endpoint, method: str, path: str, body: bytes) -> Answer:
    """Make one request at an endpoint's origin, with its credentials. The deadline is the caller's.

    Raises:
        NoAnswerError: What came was no HTTP.
        ConnectFailed: See `Dialler.dial`.
    """
    stream = await dialler.dial(endpoint)
    try:
        return await _exchange(stream, endpoint, method, path, body)
    except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
        raise NoAnswerError(str(error) or "the connection broke off") from error
    finally:
        await trio.aclose_forcefully(stream)


async def _exchange(
    stream: trio.abc.Stream, endpoint: Endpoint, method: str, path: str, body: bytes
) -> Answer:
    connection = h11.Connection(h11.CLIENT)
    headers = [
        (b"Host", endpoint.authority.encode()),
        (b"Accept", b"application/json"),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", str(len(body)).encode()),
        (b"Connection", b"close"),
        *endpoint.upgrade_headers(),
    ]
    request = h11.Request(method=method, target=path, headers=headers)
    pieces = [connection.send(each) for each in (request, h11.Data(body), h11.EndOfMessage())]
    await stream.send_all(b"".join(piece or b"" for piece in pieces))
    status = 0
    received = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            received += event.data
        if isinstance(event, h11.EndOfMessage) or len(received) > _MAX_BODY:
            return Answer(status, bytes(received[:_MAX_BODY]))
        if isinstance(event, h11.ConnectionClosed):
            raise NoAnswerError("the connection was closed without an answer")
