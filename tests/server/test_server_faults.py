"""What goes wrong on request: which fault strikes, where, and what it does to a response, a WebSocket, an upgrade."""

from __future__ import annotations

import struct

import attrs
import orjson
import pytest
import trio
import wsproto
from server_client import Client, Closed, Rejected, create
from trio.testing import wait_all_tasks_blocked

from triplane.server import (
    SETUP_EVENTS,
    AnswerUpgrade,
    BinaryFrames,
    Chaos,
    CloseAtOnce,
    CloseSocket,
    CutAtByte,
    Drop,
    Duplicate,
    ErrorEvent,
    Fragment,
    HalfOpen,
    IgnoreUpgrade,
    Insert,
    InvalidFault,
    KeepAlive,
    Malformed,
    Omit,
    OptionError,
    Oversize,
    PingStorm,
    RedirectUpgrade,
    RefuseUpgrade,
    Reset,
    SlowClose,
    SlowPong,
    SpoilOutput,
    Stall,
    Strike,
    Swap,
    Text,
    Truncate,
    Wait,
    fault_from_json,
    fault_to_json,
)
from triplane.server.faults.catalogue import KINDS, ConnectionFault, ResponseFault, UpgradeFault
from triplane.server.faults.chaos import CHAOS_KINDS
from triplane.server.faults.error_events import error_event
from triplane.server.faults.mischief import Message, afflicted
from triplane.server.faults.plan import FaultPlan
from triplane.server.websocket.frames import BINARY, TEXT, fragments, frame, text_frames

HELLO = [
    "created",
    "in_progress",
    "output_item.added",
    "content_part.added",
    "output_text.delta",
    "output_text.done",
    "content_part.done",
    "output_item.done",
    "completed",
]


class Watcher:
    """Reads a client's messages as they come, without checking them: (opcode, data), or what it was that ended."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def next(self) -> bytes:
        parts = b""
        while True:
            match await self.client._next():
                case wsproto.events.CloseConnection(code=code, reason=reason):
                    raise Closed(code, reason)
                case wsproto.events.Message(data=data, message_finished=finished):
                    parts += data.encode() if isinstance(data, str) else bytes(data)
                    if finished:
                        return parts

    async def event(self):
        return orjson.loads(await self.next())

    async def until_end(self) -> tuple[list, Closed]:
        messages = []
        try:
            while True:
                messages.append(await self.next())
        except Closed as closed:
            return messages, closed

    async def turn(self) -> list[dict]:
        """The events up to the one that says completed."""
        events = [await self.event()]
        while events[-1].get("type") != "response.completed":
            events.append(await self.event())
        return events


def short(events) -> list[str]:
    return [event.get("type", "").removeprefix("response.") for event in events]


async def watched(connect, *faults, text="hello", **options) -> Watcher:
    client = await connect(faults=faults, **options)
    await client.send(create(text))
    return Watcher(client)


# Which fault strikes.


def test_the_nth_response():
    plan = FaultPlan([drop := Drop(nth=2), stall := Stall(after_events=1)])

    assert [plan.of_response() for _ in range(3)] == [(stall,), (drop, stall), (stall,)]
    assert plan.faults == (stall,)


def test_nth_counts_the_responses_that_the_fault_is_about():
    plan = FaultPlan([lane := Drop(nth=2, lane="a"), model := Reset(nth=1, model="m"), Stall(connection=9)])
    places = [(1, None, "x"), (1, "a", "x"), (2, "b", "m"), (2, "a", "m"), (2, "a", "m")]

    struck = [plan.of_response(connection=number, lane=name, model=m) for number, name, m in places]

    assert struck == [(), (), (model,), (lane,), ()]


def test_the_default_lane_has_an_empty_name():
    plan = FaultPlan([default := Drop(lane="")])

    assert [plan.of_response(lane=lane) for lane in (None, "a")] == [(default,), ()]


def test_counting_begins_when_a_fault_is_known():
    plan = FaultPlan()
    plan.of_response()
    plan.of_upgrade()
    plan.add(drop := Drop(nth=1))
    plan.add(refuse := RefuseUpgrade(503, nth=1))

    assert plan.faults == (drop, refuse)
    assert (plan.of_response(), plan.of_upgrade()) == ((drop,), refuse)
    assert plan.faults == ()


def test_faults_can_be_removed():
    plan = FaultPlan([Drop(), RefuseUpgrade(503)])
    plan.clear()

    assert (plan.of_response(), plan.of_upgrade()) == ((), None)


def test_of_upgrades_the_first_fault_strikes():
    plan = FaultPlan([RefuseUpgrade(503, nth=2), RefuseUpgrade(429, nth=2), RefuseUpgrade(401, nth=3)])

    struck = [plan.of_upgrade() for _ in range(4)]

    assert [fault and fault.status for fault in struck] == [None, 503, 401, None]


def test_connections_are_counted():
    plan = FaultPlan([cut := CutAtByte(9, nth=2), SlowPong(1)])

    first, second = plan.of_connection(), plan.of_connection()

    assert (first.number, first.cut, second.number, second.cut) == (1, None, 2, cut)
    assert first.slow_pong == second.slow_pong == SlowPong(1)


@pytest.mark.parametrize(
    ("fault", "arguments"),
    [
        (RefuseUpgrade, {"status": 101}),
        (RefuseUpgrade, {"status": 600}),
        (RefuseUpgrade, {"status": "503"}),
        (RefuseUpgrade, {"status": 503, "headers": {"Retry-After": 1}}),
        (RefuseUpgrade, {"status": 503, "headers": {"Retry-After": "1\r\nX: y"}}),
        (RefuseUpgrade, {"status": 503, "headers": ["Retry-After"]}),
        (RefuseUpgrade, {"status": 503, "nth": 0}),
        (RefuseUpgrade, {"status": 503, "delay": -1}),
        (RefuseUpgrade, {"status": 503, "body": "text"}),
        (RedirectUpgrade, {"location": ""}),
        (RedirectUpgrade, {"location": "/x", "status": 200}),
        (Drop, {"after_events": -1}),
        (Drop, {"after_events": 1.5}),
        (Drop, {"after_events": True}),
        (Drop, {"nth": 0}),
        (Drop, {"lane": 3}),
        (Drop, {"connection": 0}),
        (CloseSocket, {"code": 1005}),
        (CloseSocket, {"code": 1006}),
        (CloseSocket, {"code": 999}),
        (CloseSocket, {"code": 5000}),
        (CloseSocket, {"reason": "x" * 124}),
        (CloseSocket, {"reason": None}),
        (CloseAtOnce, {"code": 1005}),
        (Stall, {"nth": -1}),
        (Stall, {"seconds": float("nan")}),
        (Stall, {"seconds": float("inf")}),
        (CutAtByte, {"byte": 1, "then": "explode"}),
        (Truncate, {"keep": 0}),
        (Malformed, {"data": "text"}),
        (Insert, {"event": [1]}),
        (Insert, {"event": {"x": object()}}),
        (Insert, {"times": 0}),
        (Insert, {"times": 10**6}),
        (PingStorm, {"pings": 10**9}),
        (Oversize, {"size": 10**12}),
        (Omit, {"types": "response.created"}),
        (Omit, {"types": [3]}),
        (SpoilOutput, {"output": None}),
        (Fragment, {"size": 0}),
        (Fragment, {"pings": 1}),
        (ErrorEvent, {"shape": "round"}),
        (ErrorEvent, {"status": 200}),
        (ErrorEvent, {"message": "\ud800"}),
        (Strike, {"fault": RefuseUpgrade(503)}),
        (Chaos, {"seed": None}),
        (Chaos, {"seed": 1, "rate": 1.1}),
        (Chaos, {"seed": 1, "kinds": []}),
        (Chaos, {"seed": 1, "kinds": "drop"}),
        (Chaos, {"seed": 1, "kinds": ["explode"]}),
    ],
)
def test_bad_faults(fault, arguments):
    with pytest.raises((ValueError, TypeError)) as caught:
        fault(**arguments)

    assert any(name in str(caught.value) for name in arguments)


# What faults do, as pure functions.

EVENTS = [b'{"type":"%c","n":%d}' % (kind, number) for number, kind in enumerate(b"abcd")]
A, B, C, D = EVENTS


def played(*faults, steps=EVENTS):
    return list(afflicted(iter(steps), faults))


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        (Duplicate(1), [A, B, Message(B, counts=False), C, D]),
        (Duplicate(1, times=2), [A, B, Message(B, counts=False), Message(B, counts=False), C, D]),
        (Omit(1), [A, C, D]),
        (Omit(1, count=2), [A, D]),
        (Omit(1, count=None), [A]),
        (Omit(types=["c"]), [A, B, D]),
        (Omit(1, count=None, types=["a", "b", "d"]), [A, C]),
        (Omit(before="c"), [A, B, D]),
        (Swap(1), [A, C, B, D]),
        (Swap(3), [A, B, C, D]),
        (Swap(4), [A, B, C, D]),
        (Malformed(2), [A, B, C[: len(C) // 2], D]),
        (Malformed(2, data=b"\xff"), [A, B, b"\xff", D]),
        (Malformed(4), [A, B, C, D]),
        (Insert(3, event={"type": "x"}, times=2), [A, B, C, *[Message(b'{"type":"x"}', counts=False)] * 2, D]),
        (KeepAlive(4), [A, B, C, D, Message(b'{"type":"keepalive"}', counts=False)]),
        (Oversize(0, size=3), [A, B, C, D]),
        (Oversize(0, size=50), [A[:-1] + b',"padding":"' + b"x" * (50 - len(A) - 13) + b'"}', B, C, D]),
        (BinaryFrames(1), [A, Message(B, binary=True), C, D]),
        (BinaryFrames(2, count=None), [A, B, Message(C, binary=True), Message(D, binary=True)]),
        (Fragment(3, size=5), [A, B, C, Message(D, fragment=5)]),
        (Truncate(1, keep=4), [A, Message(B, counts=False, keep=4), Drop(), C, D]),
        (Truncate(1, then="reset"), [A, Message(B, counts=False, keep=0), Reset(), C, D]),
        (Drop(2), [A, B, Drop(2), C, D]),
        (Drop(before="a"), [Drop(before="a"), A, B, C, D]),
        (Drop(2, before="a"), [A, B, C, D]),
        (Drop(4), [A, B, C, D, Drop(4)]),
        (Drop(5), [A, B, C, D]),
        (PingStorm(), [PingStorm(), A, B, C, D]),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_fault_does(fault, result):
    assert played(fault) == result


def test_an_oversize_event_has_that_size_and_says_the_same():
    event = played(Oversize(1, size=100_000))[1]

    assert len(event) == 100_000
    assert orjson.loads(event) == {**orjson.loads(B), "padding": "x" * (100_000 - len(B) - 13)}


def test_at_the_same_point_faults_strike_in_the_order_of_the_list():
    one, two = Insert(2, event={"one": 1}), Insert(2, event={"two": 2})
    messages = [Message(b'{"one":1}', counts=False), Message(b'{"two":2}', counts=False)]

    assert played(one, two) == [A, B, *messages, C, D]
    assert played(two, one) == [A, B, *reversed(messages), C, D]


def test_only_the_events_of_the_response_count():
    drop = Drop(3)

    for order in ([Duplicate(0, times=3), drop], [drop, Duplicate(0, times=3)]):
        steps = played(*order)
        assert steps.index(drop) - steps.index(C) == 1
    assert played(Drop(2), Fragment(size=4))[2] == Drop(2)


def test_what_comes_after_the_end_is_not_made():
    made = []

    def steps():
        for event in EVENTS:
            made.append(event)
            yield event

    result = afflicted(steps(), [Drop(2)])

    assert [next(result) for _ in range(3)] == [A, B, Drop(2)]
    assert made == [A, B]


def test_waits_stay_where_they_are():
    assert played(Swap(0), steps=[A, Wait(1), B, Wait(2), C]) == [Wait(1), B, A, Wait(2), C]


@pytest.mark.parametrize(
    ("output", "left"), [("null", {"output": None}), ("empty", {"output": []}), ("missing", {})]
)
def test_a_spoiled_output(output, left):
    going = orjson.dumps({"type": "x", "response": {"status": "in_progress", "output": []}})
    done = orjson.dumps({"type": "y", "response": {"status": "completed", "output": [1]}})

    first, second = played(SpoilOutput(output=output), steps=[going, done])

    assert first == going
    assert orjson.loads(second) == {"type": "y", "response": {"status": "completed", **left}}


def test_settings_too_deep_to_be_written_again_are_left_alone():
    """orjson reads four times as many levels as it writes."""
    deep = b'{"type":"x","response":{"status":"completed","tools":' + b"[" * 300 + b"]" * 300 + b"}}"

    assert played(SpoilOutput(), steps=[deep]) == [deep]
    message, _ = played(ErrorEvent(1, shape="failed"), steps=[deep])[1:]
    assert orjson.loads(message.data)["response"]["status"] == "failed"


def test_all_kinds_of_response_faults_can_be_combined():
    faults = [
        kind() if kind is not Oversize else Oversize(size=100)
        for kind in KINDS.values()
        if issubclass(kind, ResponseFault) and kind not in (Drop, Reset, CloseSocket, ErrorEvent)
    ]

    for order in (faults, faults[::-1]):
        assert played(*order)


# Frames.


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_are_read_by_another_library(size):
    payload = b"x" * size
    data = bytes(text_frames([payload])) + frame(BINARY, payload) + fragments(TEXT, payload, 1000, pings=True)
    peer = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT)

    peer.receive_data(data)
    events = list(peer.events())

    messages, pings, part = [], 0, ""
    for event in events:
        if isinstance(event, wsproto.events.Ping):
            pings += 1
        elif isinstance(event, wsproto.events.BytesMessage):
            messages.append(bytes(event.data).decode())
        else:
            part += event.data
            if event.message_finished:
                messages.append(part)
                part = ""
    assert messages == ["x" * size] * 3
    assert pings == max(-(-size // 1000), 1) - 1


# Faults of a response, on the wire.


async def test_before_an_event(connect):
    watcher = await watched(connect, Drop(before="response.completed"))

    messages, end = await watcher.until_end()

    assert short(map(orjson.loads, messages)) == HELLO[:-1]
    assert end.code is None
    assert watcher.client.server.statistics().responses_completed == 0


async def test_a_reset_of_a_memory_stream_closes_it(connect):
    watcher = await watched(connect, Reset(2))

    messages, end = await watcher.until_end()

    assert (len(messages), end.code) == (2, None)


async def test_a_reset_of_a_socket_is_one(listening):
    async with listening(faults=[Reset(1)]) as handle:
        async with await trio.open_tcp_stream(handle.host, handle.port) as stream:
            client = await Client(stream).connect()
            await client.send(create("hello"))
            with pytest.raises(trio.BrokenResourceError) as caught:
                while await stream.receive_some():
                    pass

    assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_a_stall_that_ends(connect, autojump_clock):
    watcher = await watched(connect, Stall(3, seconds=60))

    events = await watcher.turn()

    assert short(events) == HELLO
    assert trio.current_time() == pytest.approx(60)


async def test_half_open(connect, autojump_clock):
    watcher = await watched(connect, HalfOpen(1))
    client = watcher.client
    await watcher.event()

    await client.ping(b"anybody?")
    await client.send(create("x"))
    await client.stream.send_all(client.ws.send(wsproto.events.CloseConnection(1000)))
    with trio.move_on_after(3600) as waited:
        await client.stream.receive_some()

    assert waited.cancelled_caught
    assert client.server.statistics().connections_now == 1
    await client.stream.aclose()
    await wait_all_tasks_blocked()
    assert client.server.statistics().connections_now == 0


async def test_a_half_open_connection_does_not_delay_the_end_of_the_server(connect, autojump_clock):
    watcher = await watched(connect, HalfOpen(1))
    await watcher.event()
    await wait_all_tasks_blocked()

    watcher.client.shut_down()
    await wait_all_tasks_blocked()

    assert watcher.client.server.statistics().connections_now == 0
    assert trio.current_time() == 0


@pytest.mark.parametrize("keep", [None, 1, 3, 10**9])
async def test_a_truncated_frame_is_never_whole(connect, keep):
    client = await connect(faults=[Truncate(0, keep=keep)])
    await client.send(create("hello"))
    received = b""

    while data := await client.stream.receive_some():
        received += data

    whole = 4 + struct.unpack("!H", received[2:4])[0] if len(received) >= 4 else 0
    assert received[:2] == b"\x81\x7e"[: len(received)]
    assert len(received) == {None: whole // 2, 10**9: whole - 1}.get(keep, keep)


async def test_malformed_json(connect):
    watcher = await watched(connect, Malformed(1, nth=1))
    await watcher.next()

    with pytest.raises(orjson.JSONDecodeError):
        await watcher.event()
    # The rest is as it was, and so is the next response.
    assert short(await watcher.turn()) == HELLO[2:]
    assert (await watcher.client.ask("again")).text == "echo: again"


async def test_an_unknown_event(connect):
    watcher = await watched(connect, Insert(2))

    events = await watcher.turn()

    assert short(events) == [*HELLO[:2], "unheard_of", *HELLO[2:]]
    assert [event["sequence_number"] for event in events if "sequence_number" in event] == list(range(9))


async def test_setup_events_left_out(connect):
    watcher = await watched(connect, Omit(count=None, types=SETUP_EVENTS))

    assert short(await watcher.turn()) == [name for name in HELLO if not name.endswith(".added")]


async def test_a_response_whose_end_was_left_out_is_known_all_the_same(connect):
    watcher = await watched(connect, Omit(before="response.completed", nth=1))
    events = [await watcher.event() for _ in range(8)]

    turn = await watcher.client.ask("on", previous_response_id=events[0]["response"]["id"])

    assert turn.text == "echo: on"
    assert watcher.client.server.statistics().responses_completed == 2


async def test_a_response_completed_twice_is_completed_once(connect):
    watcher = await watched(connect, Duplicate(before="response.completed", nth=1))

    events = await watcher.turn()
    assert await watcher.event() == events[-1]
    assert watcher.client.server.statistics().responses_completed == 1


async def test_a_response_is_known_before_its_end_is_sent_however_that_is_framed(connect):
    watcher = await watched(connect, Fragment(size=64), Drop(9))

    messages, end = await watcher.until_end()

    assert (len(messages), end.code) == (9, None)
    assert watcher.client.server.statistics().responses_completed == 1


async def test_binary_frames(connect):
    client = await connect(faults=[BinaryFrames(count=None)])
    await client.send(create("hello"))

    event = await client._next()

    assert isinstance(event, wsproto.events.BytesMessage)
    assert orjson.loads(bytes(event.data))["type"] == "response.created"


@pytest.mark.parametrize("size", [16, 1000])
async def test_fragmented_events_are_the_same_events(connect, size):
    watcher = await watched(connect, Fragment(size=size, pings=True, nth=1))
    events = await watcher.turn()

    assert short(events) == HELLO


async def test_a_ping_storm(connect):
    watcher = await watched(connect, PingStorm(2, pings=500))

    assert short(await watcher.turn()) == HELLO
    # The client has answered every one of them, which the server has to bear.
    assert (await watcher.client.ask("again")).text == "echo: again"


async def test_a_step_of_a_model_strikes(connect):
    class Mean:
        name = "mean"

        def respond(self, request):
            yield Text("one")
            yield Strike(KeepAlive())
            yield Text("two")
            yield Strike(CloseSocket(1, code=1013))
            yield Text("three")
            yield Text("four")

    watcher = await watched(connect, model={"directive": Mean()}, text="x")

    messages, end = await watcher.until_end()
    events = list(map(orjson.loads, messages))

    said = [event.get("delta", event["type"]) for event in events[4:]]
    assert said == ["one", "keepalive", "two", "three"]
    assert end.code == 1013


async def test_a_lane_stalls_alone(connect, autojump_clock):
    watcher = await watched(connect, Stall(1, lane="a"), text="default")
    await watcher.turn()

    await watcher.client.send(create("one", stream_id="a"))
    await watcher.client.send(create("two", stream_id="b"))
    events = [await watcher.event() for _ in range(10)]

    assert [event["type"] for event in events if event["stream_id"] == "a"] == ["response.created"]
    assert short(event for event in events if event["stream_id"] == "b") == HELLO


async def test_an_error_on_a_lane_names_it_and_ends_it_alone(connect):
    watcher = await watched(connect, ErrorEvent(2, lane="a", nth=1))
    await watcher.turn()

    await watcher.client.send(create("one", stream_id="a"))
    events = [await watcher.event() for _ in range(3)]

    assert (events[2]["type"], events[2]["stream_id"]) == ("error", "a")
    assert (await watcher.client.ask("on", stream_id="a")).text == "echo: on"


# Errors.

ERROR = {
    "type": "server_error",
    "code": "server_error",
    "message": "This error was asked for.",
    "param": None,
}
SHAPES = {
    "envelope": {"type": "error", "status": 500, "error": ERROR},
    "no_status": {"type": "error", "sequence_number": 2, "error": ERROR},
    "flat": {
        "type": "error",
        "code": "server_error",
        "message": ERROR["message"],
        "param": None,
        "sequence_number": 2,
    },
    "status_code": {"type": "error", "status_code": 500, "error": ERROR},
    "headers": {"type": "error", "status": 500, "error": ERROR, "headers": {}},
    "detail": {"type": "error", "status": 500, "error": {"detail": ERROR["message"]}},
    "usage_limit": {
        "type": "error",
        "status": 500,
        "error": {
            "type": "usage_limit_reached",
            "message": ERROR["message"],
            "plan_type": "plus",
            "resets_at": 4_102_444_800,
        },
    },
    "response_error": {"type": "response.error", "sequence_number": 2, "error": ERROR},
    "untyped": {"error": ERROR},
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_shapes_of_errors(connect, shape):
    watcher = await watched(connect, ErrorEvent(2, shape=shape, nth=1))
    for _ in range(2):
        await watcher.event()

    assert await watcher.event() == SHAPES[shape]
    # The socket lives on, and the response is over.
    assert (await watcher.client.ask("again")).text == "echo: again"


async def test_a_failed_response(connect):
    watcher = await watched(connect, ErrorEvent(2, shape="failed", code="rate_limit_exceeded"))
    created = await watcher.event()
    await watcher.event()

    failed = await watcher.event()

    assert (failed["type"], failed["sequence_number"]) == ("response.failed", 2)
    assert failed["response"] == {
        **created["response"],
        "status": "failed",
        "error": {"code": "rate_limit_exceeded", "message": ERROR["message"]},
    }


async def test_an_error_before_anything_else(connect):
    fault = ErrorEvent(
        status=429, code="rate_limit_exceeded", headers={"retry-after": "1"}, error_type="requests"
    )
    watcher = await watched(connect, fault)

    event = await watcher.event()

    assert (event["status"], event["error"]["type"]) == (429, "requests")
    assert event["error"]["headers"] == {"retry-after": "1"}


async def test_an_error_that_ends_nothing(connect):
    watcher = await watched(connect, ErrorEvent(4, ends=False), CloseSocket(4))

    messages, end = await watcher.until_end()

    assert short(map(orjson.loads, messages)) == [*HELLO[:4], "error"]
    assert end.code == 1011


async def test_an_error_before_an_event_has_its_number(connect):
    watcher = await watched(connect, ErrorEvent(before="response.completed", shape="no_status"))

    events = [await watcher.event() for _ in range(9)]

    assert [event["sequence_number"] for event in events] == list(range(9))


@pytest.mark.parametrize("after", [0, 3])
async def test_an_error_evicts_what_was_continued(connect, after):
    client = await connect(faults=[ErrorEvent(after, nth=2)])
    first = await client.ask("hello")
    await client.send(create("on", previous_response_id=first.id))
    watcher = Watcher(client)
    while (await watcher.event())["type"] != "error":
        pass

    again = await client.ask("on", previous_response_id=first.id)

    assert again.error["code"] == "previous_response_not_found"


def test_an_error_names_its_lane():
    for shape in [*SHAPES, "failed"]:
        event = error_event(ErrorEvent(shape=shape), sequence_number=0, lane="a", response=None)
        assert event["stream_id"] == "a"


# Faults of a WebSocket.


async def everything_sent(connect, **options) -> bytes:
    """All bytes that a server sends to one client that asks once."""
    client = await connect(upgrade=False, **options)
    received = bytearray()

    async def read():
        try:
            while data := await client.stream.receive_some():
                received.extend(data)
        except trio.ClosedResourceError:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        try:
            ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
            key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
            head = ws.send(wsproto.events.Request(host="x", target="/v1/responses"))
            lines = [key if line.startswith(b"Sec-WebSocket-Key") else line for line in head.split(b"\r\n")]
            await client.stream.send_all(b"\r\n".join(lines))
            peer = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT)
            await wait_all_tasks_blocked()
            await client.stream.send_all(
                peer.send(
                    wsproto.events.TextMessage('{"type":"response.create","model":"directive","input":"x"}')
                )
            )
        except trio.BrokenResourceError:
            pass
        await wait_all_tasks_blocked()
        await client.stream.aclose()
    return bytes(received)


async def test_a_cut_at_any_byte(connect, autojump_clock):
    whole = await everything_sent(connect, faults=[])
    assert len(whole) > 3000

    for byte in [*range(0, 200, 7), *range(200, len(whole), 251), len(whole) - 1, len(whole), len(whole) + 1]:
        assert await everything_sent(connect, faults=[CutAtByte(byte)]) == whole[:byte]


@pytest.mark.parametrize("byte", [0, 20, 150, 1500])
@pytest.mark.parametrize("then", ["drop", "reset", "half_open"])
async def test_what_follows_a_cut(connect, autojump_clock, then, byte):
    client = await connect(upgrade=False, faults=[CutAtByte(byte, then=then)], handshake_timeout=10_000)

    async def talk():
        try:
            await client.connect()
            await client.send(create("hello"))
        except (Closed, trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        await wait_all_tasks_blocked()
        await trio.sleep(100)
        assert client.server.statistics().connections_now == (then == "half_open")
        nursery.cancel_scope.cancel()


async def test_a_slow_pong(connect, autojump_clock):
    client = await connect(faults=[SlowPong(30)])

    await client.ping(b"1")
    turn = await client.ask("meanwhile")
    assert (turn.text, client.pongs) == ("echo: meanwhile", [])
    await client.send(create("WAIT 31000\nSAY 1 x"))
    await client.turn()

    assert client.pongs == [b"1"]


async def test_no_pong(connect, autojump_clock):
    client = await connect(faults=[SlowPong()])

    await client.ping(b"1")
    await client.ask("WAIT 3600000\nSAY 1 x")

    assert client.pongs == []


async def test_late_pongs_are_bounded(connect, autojump_clock):
    client = await connect(faults=[SlowPong(30)])

    for _ in range(300):
        await client.ping(b"1")
    await client.ask("WAIT 31000\nSAY 1 x")

    assert len(client.pongs) == 100


@pytest.mark.parametrize("busy", [False, True])
async def test_a_slow_close(connect, autojump_clock, busy):
    client = await connect(faults=[SlowClose(20)])
    if busy:
        await client.send(create("REPEAT 2 SAY 1 x\nWAIT 5000\nSAY 9999999 x"))

    await client.stream.send_all(client.ws.send(wsproto.events.CloseConnection(1000)))
    while not isinstance(await client._next(), wsproto.events.CloseConnection):
        pass

    assert trio.current_time() == pytest.approx(20, abs=1.1)


async def test_a_close_frame_never_answered(connect, autojump_clock):
    client = await connect(faults=[SlowClose()])

    await client.stream.send_all(client.ws.send(wsproto.events.CloseConnection(1000)))
    # Longer than the connection's age limit, of which the client is to be told.
    with trio.move_on_after(4000) as waited:
        await client.stream.receive_some()

    assert waited.cancelled_caught
    assert client.server.statistics().connections_now == 1
    await client.stream.aclose()
    await trio.sleep(1.1)
    assert client.server.statistics().connections_now == 0


async def test_slow_to_close_is_not_slow_to_end(connect, autojump_clock):
    client = await connect(faults=[SlowClose()])
    client.shut_down()

    with pytest.raises(Closed) as caught:
        await client.receive()

    assert caught.value.code == 1001
    assert trio.current_time() == 0


async def test_accepted_and_then_closed(connect):
    client = await connect(faults=[CloseAtOnce(reason="no WebSockets for you", nth=1)])

    with pytest.raises(Closed) as caught:
        await client.receive()

    assert (caught.value.code, caught.value.reason) == (1008, "no WebSockets for you")
    assert (await (await connect()).ask("hello")).text == "echo: hello"


async def test_closed_after_a_while(connect, autojump_clock):
    client = await connect(faults=[CloseAtOnce(1012, delay=7)])
    await client.ask("hello")
    await client.send(create("WAIT 60000\nSAY 1 x"))
    await client.receive()
    await client.receive()

    with pytest.raises(Closed) as caught:
        await client.receive()

    assert caught.value.code == 1012
    assert trio.current_time() == pytest.approx(7)


# Faults of an upgrade.


async def test_a_redirect(connect):
    with pytest.raises(Rejected) as caught:
        await connect(faults=[RedirectUpgrade("http://127.0.0.1:1/v1/responses")])

    assert caught.value.status == 307
    assert caught.value.headers["location"] == "http://127.0.0.1:1/v1/responses"


@pytest.mark.parametrize("fault", [RefuseUpgrade(503, delay=45), RedirectUpgrade("/x", delay=45)])
async def test_a_late_refusal(connect, autojump_clock, fault):
    """Later than the client would have been given up."""
    with pytest.raises(Rejected):
        await connect(faults=[fault], handshake_timeout=10)

    assert trio.current_time() == pytest.approx(45)


async def test_any_answer_to_an_upgrade(connect):
    client = await connect(upgrade=False, faults=[AnswerUpgrade(b"SSH-2.0-OpenSSH\r\n")])
    with pytest.raises((wsproto.utilities.RemoteProtocolError, Closed)):
        await client.connect()

    with pytest.raises(Closed):
        await (await connect(upgrade=False, faults=[AnswerUpgrade(b"")])).connect()


async def test_an_upgrade_never_answered(connect, autojump_clock):
    client = await connect(upgrade=False, faults=[IgnoreUpgrade(nth=1), IgnoreUpgrade(20)])
    with trio.move_on_after(3600) as waited:
        await client.connect()
    with pytest.raises(Closed):
        await (await connect(upgrade=False)).connect()

    assert waited.cancelled_caught
    assert trio.current_time() == pytest.approx(3620)


# JSON.


@pytest.mark.parametrize("name", sorted(KINDS))
def test_faults_as_json(name):
    chaos = Chaos(1, rate=1, kinds=[name])
    family = next(
        base for base in (UpgradeFault, ConnectionFault, ResponseFault) if issubclass(KINDS[name], base)
    )

    for number in range(20):
        fault = chaos._pick(family, number)
        assert isinstance(fault, KINDS[name])
        data = orjson.loads(orjson.dumps(fault_to_json(fault)))
        assert data["fault"] == name
        assert fault_from_json(data) == fault


def test_json_says_what_is_not_as_usual():
    assert fault_to_json(Drop(3, lane="a")) == {"fault": "drop", "after_events": 3, "lane": "a"}
    assert fault_to_json(AnswerUpgrade(b"\xff")) == {"fault": "answer_upgrade", "data": {"base64": "/w=="}}
    assert fault_from_json({"fault": "malformed", "data": "é"}) == Malformed(data="é".encode())
    assert fault_from_json({"fault": "answer_upgrade", "data": {"base64": "/w=="}}) == AnswerUpgrade(b"\xff")


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ([], "fault"),
        ({}, "fault"),
        ({"fault": "explode"}, "fault"),
        ({"fault": ["drop"]}, "fault"),
        ({"fault": "drop", "after": 3}, "after"),
        ({"fault": "drop", "after_events": "3"}, "after_events"),
        ({"fault": "drop", "after_events": True}, "after_events"),
        ({"fault": "drop", "nth": 0}, "nth"),
        ({"fault": "refuse_upgrade"}, "status"),
        ({"fault": "refuse_upgrade", "status": 99}, "status"),
        ({"fault": "refuse_upgrade", "status": 503, "headers": {"a": 1}}, "headers"),
        ({"fault": "answer_upgrade", "data": {"base64": "*"}}, "data"),
        ({"fault": "answer_upgrade", "data": 3}, "data"),
        ({"fault": "close_socket", "code": 1005}, "code"),
        ({"fault": "truncate", "then": "stop"}, "then"),
        ({"fault": "omit", "types": "x"}, "types"),
        ({"fault": "error_event", "shape": "x"}, "shape"),
    ],
)
def test_what_is_no_fault(data, param):
    with pytest.raises(InvalidFault) as caught:
        fault_from_json(data)

    assert isinstance(caught.value, OptionError)
    assert caught.value.param == param


def test_faults_are_documented():
    for kind in KINDS.values():
        assert kind.__doc__
        assert attrs.has(kind)


def test_chaos_has_all_kinds_but_those_that_never_end():
    assert set(KINDS) - set(CHAOS_KINDS) == {"half_open", "ignore_upgrade"}
