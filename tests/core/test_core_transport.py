"""Where the transport is left open: what is a reason for HTTP, for how long, and what is none."""

from __future__ import annotations

import math

import pytest

from triplane.core.errors import CloseInfo, ConnectFailed, ConnectionLost
from triplane.core.transport import TransportMemory, is_too_large


def refused(status: int | None, stage: str = "upgrade") -> ConnectFailed:
    return ConnectFailed("no", stage=stage, status=status)


@pytest.mark.parametrize("status", [200, 404, 405, 426])
def test_a_server_without_websockets_gets_http_until_it_is_asked_again(status) -> None:
    memory = TransportMemory()

    assert "websocket" == memory.choose(100)
    assert memory.note_failure(refused(status), 100, 300)
    assert ["http", "http", "websocket"] == [memory.choose(now) for now in (100, 399, 400)]


@pytest.mark.parametrize(
    "failure",
    [
        refused(None),
        refused(401),
        refused(403),
        refused(429),
        refused(503),
        refused(None, "tcp"),
        refused(404, "proxy"),
    ],
)
def test_what_went_wrong_in_passing_is_no_reason(failure) -> None:
    memory = TransportMemory()

    assert not memory.note_failure(failure, 100, 300)
    assert TransportMemory() == memory


@pytest.mark.parametrize("failure", [refused(None), refused(503), refused(None, "tcp")])
def test_asking_again_in_vain_changes_nothing(failure) -> None:
    memory = TransportMemory()
    memory.note_failure(refused(426), 0, 300)

    assert memory.note_failure(failure, 300, 300)
    assert ("http", "websocket") == (memory.choose(599), memory.choose(600))


def test_a_websocket_that_opened_ends_it() -> None:
    memory = TransportMemory()
    memory.note_failure(refused(426), 0, 300)
    memory.note_open()

    assert "websocket" == memory.choose(1)
    assert not memory.note_failure(refused(503), 1, 300)


def test_how_much_a_websocket_takes_is_learned() -> None:
    memory = TransportMemory()

    assert [True, False] == [memory.fits(size, 1_000) for size in (1_000, 1_001)]
    memory.note_refused(800)
    memory.note_refused(900)
    assert [True, False] == [memory.fits(size, 1_000) for size in (799, 800)]
    assert -math.inf == memory.http_until


@pytest.mark.parametrize(
    ("close", "expected"),
    [
        (CloseInfo(1009, "", "peer"), True),
        (CloseInfo(1009, "", "us"), False),
        (CloseInfo(1006, "", "network"), False),
        (CloseInfo(1008, "", "peer"), False),
    ],
)
def test_which_close_speaks_of_size(close, expected) -> None:
    assert expected is is_too_large(ConnectionLost("", close=close))
