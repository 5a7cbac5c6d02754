"""A server that repeats our credentials in what it refuses us with gets them into no error and no log."""

from __future__ import annotations

import orjson
import pytest
from wsproto.events import CloseConnection

from triplane import ConnectFailed, ConnectionLost, Endpoint
from triplane.net.mask import Mask

KEY, HEADER = "sk-canary-abc/012", "header canary 1"
ENDPOINT = Endpoint("ws://host/v1", api_key=KEY, headers={"X-Key": HEADER, "X-Mode": "response"})
TOLD = [
    {"type": "error", "status": 401, "error": {"code": "invalid_api_key", "message": f"no such key: {KEY}"}},
    {"error": {"message": f"{HEADER} is wrong"}},
    {"type": "response.failed", "response": {"id": "r", "error": {"message": KEY}}},
]


@pytest.mark.parametrize("event", TOLD)
@pytest.mark.parametrize("slash", ["/", "\\/"])
def test_an_error_names_no_credentials(event, slash) -> None:
    frame = orjson.dumps(event).decode().replace("/", slash)
    masked = ENDPOINT.mask.frame(frame)

    assert orjson.loads(masked).keys() == event.keys()
    assert event.get("type") == orjson.loads(masked).get("type")
    assert not any(secret in masked for secret in (KEY, KEY.replace("/", slash), HEADER))
    assert "***" in masked


def test_what_is_no_event_names_none_either() -> None:
    assert "not JSON: ***" == ENDPOINT.mask.frame(f"not JSON: {KEY}")


@pytest.mark.parametrize(
    "frame",
    [
        f'{{"type": "response.output_text.delta", "delta": "{KEY}"}}',
        '{"type": "error", "error": {"message": "the response failed"}}',
    ],
)
def test_what_the_model_says_and_the_words_of_the_protocol_stay(frame) -> None:
    assert frame == ENDPOINT.mask.frame(frame)


def test_a_text_may_be_cut_off_in_the_middle_of_a_secret() -> None:
    assert "no such key: ***" == Mask([KEY, "short"]).text(f"no such key: {KEY[:10]}")
    assert "short" == Mask([KEY, "short"]).text("short")


def test_a_text_may_be_json_that_is_read_later() -> None:
    written = KEY.replace("/", "\\/")

    assert '{"message": "no such key: ***"}' == Mask([KEY]).text(f'{{"message": "no such key: {written}"}}')


def test_a_secret_may_begin_with_another_one() -> None:
    mask = Mask([KEY, f"{KEY}-of-another"])

    assert "***" == mask.text(f"{KEY}-of-another")
    assert '{"type": "error", "message": "***"}' == mask.frame(
        f'{{"type": "error", "message": "{KEY}-of-another"}}'
    )


@pytest.mark.parametrize("code", [1008, 4000])
async def test_a_reason_for_closing_names_none(rig, nursery, autojump_clock, code) -> None:
    r = rig(endpoint=ENDPOINT)
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.say(CloseConnection(code, f"bad key {KEY}"))
    with pytest.raises((ConnectionLost, ConnectFailed)) as caught:
        await r.connection.receive()

    assert "bad key ***" in str(caught.value)
    assert KEY not in repr(caught.value) + repr(r.connection.close_info())


async def test_an_error_names_none_by_the_time_it_is_received(rig, nursery, autojump_clock) -> None:
    r = rig(endpoint=ENDPOINT)
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.text(orjson.dumps(TOLD[0]).decode())

    assert (ENDPOINT.mask.frame(orjson.dumps(TOLD[0]).decode()),) == await r.connection.receive()


async def test_an_answer_that_cannot_be_understood_names_none(rig, nursery, autojump_clock) -> None:
    """Libraries quote what they do not understand."""
    r = rig(endpoint=ENDPOINT)
    nursery.start_soon(r.run)
    await r.peer.next_event()
    await r.peer.stream.send_all(
        f"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: {KEY}\r\n\r\n".encode()
    )
    await r.ended.wait()

    assert str(r.failure).startswith("no WebSocket at ws://host/v1/responses: ")
    assert KEY not in str(r.failure) + repr(r.failure)


async def test_a_redirect_to_another_place_names_none(rig, nursery, autojump_clock) -> None:
    r = rig(endpoint=ENDPOINT)
    nursery.start_soon(r.run)
    await r.peer.next_event()
    await r.peer.stream.send_all(
        f"HTTP/1.1 302 x\r\nLocation: https://elsewhere/?key={KEY}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    await r.ended.wait()

    assert "https://elsewhere/?key=***" == r.failure.location
    assert KEY not in repr(r.failure)
