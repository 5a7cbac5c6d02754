"""``transport="auto"``: HTTP where it must be, WebSockets as soon as they can be, and an event for each change."""

from __future__ import annotations

import sys
from functools import partial

import pytest
import trio
import trio.testing

import triplane
from triplane.core.records import RequestSent
from triplane.protocol import ResponseCreate
from triplane.server import AnswerUpgrade, CloseSocket, Drop, RefuseUpgrade, serve

ENDPOINT = triplane.Endpoint("ws://memory/v1", transport="auto")
AGENT = triplane.Agent("m")


def make_agent() -> tuple[triplane.Agent, list[int]]:
    executed: list[int] = []

    @triplane.tool(timeout=1_000)
    async def note(number: int) -> str:
        """Do something that must happen once, and takes a while."""
        executed.append(number)
        await trio.sleep(100)
        return "n" * number

    return triplane.Agent("m", "", [note]), executed


async def steps_of(b, agent: triplane.Agent, prompt: str) -> list[str]:
    """Run an agent; what changed, and by which transport each request went."""
    async with b.engine.open_run(agent, prompt) as run:
        await run.wait()
        bodies = [record.body for record in run.log.records]
    steps = []
    for body in bodies:
        if isinstance(body, triplane.TransportChanged):
            steps.append(f"{body.transport}: {body.reason}")
        elif isinstance(body, RequestSent):
            steps.append(f"{body.transport} {body.plan}")
    return steps


async def test_websockets_are_what_is_used(bench, autojump_clock) -> None:
    async with bench(endpoint=ENDPOINT) as b:
        assert ["websocket full"] == await steps_of(b, AGENT, "hello")


@pytest.mark.parametrize(
    "fault",
    [
        RefuseUpgrade(426),
        RefuseUpgrade(404),
        RefuseUpgrade(405),
        AnswerUpgrade(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ],
)
async def test_a_server_without_websockets_is_asked_over_http(bench, autojump_clock, fault) -> None:
    agent, executed = make_agent()
    async with bench(endpoint=ENDPOINT, faults=[fault]) as b:
        steps = await steps_of(b, agent, 'CALL note {"number": 1}')
        # Known by now: the next run does not knock first.
        refused = b.engine.statistics().pool.dial_failures
        assert ["http: websocket_unsupported", "http full"] == await steps_of(b, AGENT, "hello")
        assert 1 == refused == b.engine.statistics().pool.dial_failures

    assert ["http: websocket_unsupported", "http full", "http full"] == steps
    assert [1] == executed


async def test_websockets_are_asked_for_again_and_used_when_they_are_there(bench, autojump_clock) -> None:
    agent, executed = make_agent()
    options = triplane.EngineOptions(websocket_retry_interval=250)
    faults = [RefuseUpgrade(426, nth=1), RefuseUpgrade(426, nth=2)]
    async with bench(endpoint=ENDPOINT, options=options, faults=faults) as b:
        # Each call takes 100 s: turns begin after 0, 100, …, 700 s. After 300 s the second attempt fails.
        steps = await steps_of(b, agent, 'REPEAT 7 CALL note {"number": 1}')
        assert ["websocket full"] == await steps_of(b, AGENT, "hello")

    assert [
        "http: websocket_unsupported",
        *["http full"] * 6,
        "websocket: websocket_again",
        "websocket full",
        "websocket incremental",
    ] == steps
    assert [1] * 7 == executed


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_for_another_reason_is_told(bench, autojump_clock, status) -> None:
    async with bench(endpoint=ENDPOINT, faults=[RefuseUpgrade(status)]) as b:
        with pytest.raises(triplane.ConnectFailed) as caught:
            await b.engine.run(AGENT, "hello")

    assert (status, []) == (caught.value.status, b.server.requests)


@pytest.mark.parametrize(
    "fault", [RefuseUpgrade(503, nth=1), Drop(2, nth=1), CloseSocket(2, code=1012, nth=1)]
)
async def test_what_goes_wrong_in_passing_changes_nothing(bench, autojump_clock, fault) -> None:
    agent, executed = make_agent()
    async with bench(endpoint=ENDPOINT, faults=[fault]) as b:
        steps = await steps_of(b, agent, 'CALL note {"number": 1}')

    assert all(step.startswith("websocket ") for step in steps)
    assert [1] == executed


@pytest.mark.parametrize("fault", [RefuseUpgrade(503), RefuseUpgrade(401)])
async def test_asking_again_in_vain_for_any_reason_leaves_a_run_on_http(bench, autojump_clock, fault) -> None:
    agent, executed = make_agent()
    options = triplane.EngineOptions(websocket_retry_interval=50, dial_attempts=1)
    async with bench(endpoint=ENDPOINT, options=options, faults=[RefuseUpgrade(426, nth=1), fault]) as b:
        steps = await steps_of(b, agent, 'CALL note {"number": 1}')
        assert 2 == b.engine.statistics().pool.dial_failures

    assert ["http: websocket_unsupported", "http full", "http full"] == steps
    assert [1] == executed


async def test_a_run_that_holds_a_websocket_keeps_it_whatever_others_learn(bench, autojump_clock) -> None:
    @triplane.tool
    async def learn() -> str:
        """Somebody else was told that there are no WebSockets."""
        (memory,) = b.engine._routes._memories
        memory.http_until = trio.current_time() + 300
        return "learned"

    async with bench(endpoint=ENDPOINT) as b:
        steps = await steps_of(b, triplane.Agent("m", "", [learn]), "CALL learn {}")
        again = await steps_of(b, AGENT, "hello")

    assert ["websocket full", "websocket incremental"] == steps
    assert ["http: websocket_unsupported", "http full"] == again


async def test_a_first_request_that_is_too_large_and_then_a_small_one(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_request_size=2_000)
    async with bench(endpoint=ENDPOINT, options=options) as b:
        large = f"hello{' ' * 3_000}\nSAY 1 x"
        assert ["http: request_too_large", "http full"] == await steps_of(b, AGENT, large)
        assert ["websocket full"] == await steps_of(b, AGENT, "hello")


async def test_a_run_comes_back_to_its_websocket_once_its_requests_are_small_again(
    bench, autojump_clock
) -> None:
    """With a stored chain they are: they carry only what is new."""
    agent, executed = make_agent()
    stored = triplane.Agent("m", "", agent.tools, store=True)
    options = triplane.EngineOptions(max_request_size=2_000)
    async with bench(endpoint=ENDPOINT, options=options) as b:
        large_then_small = 'CALL note {"number": 3000}\nSAY 1 x\nCALL note {"number": 1}'
        steps = await steps_of(b, stored, large_then_small)
        large_first = await steps_of(b, stored, f'{" " * 3_000}\nCALL note {{"number": 1}}')
        # The WebSocket was given back whole each time: there was never more than one.
        assert 2 == b.network.opened

    assert ["websocket full", "http: request_too_large", "http incremental"] == steps[:3]
    assert ["websocket: websocket_again", "websocket incremental"] == steps[3:]
    assert ["http: request_too_large", "http full"] == large_first[:2]
    assert ["websocket: websocket_again", "websocket incremental"] == large_first[2:]
    assert [3000, 1, 1] == executed


@pytest.mark.parametrize("wire", ["trio-websocket", "websockets"])
async def test_a_server_that_takes_less_than_it_should_is_remembered(bench, autojump_clock, wire) -> None:
    """A close with 1009 is no loss like another: the same bytes would meet it again over a WebSocket."""
    agent, executed = make_agent()
    endpoint = triplane.Endpoint("ws://memory/v1", transport="auto", wire=wire)
    async with bench(endpoint=endpoint, max_message_size=2_000) as b:
        steps = await steps_of(b, agent, f'{" " * 3_000}\nCALL note {{"number": 1}}')
        again = await steps_of(b, AGENT, f"hello{' ' * 6_000}")

    # The conversation stays too large, which is known: nothing is sent in vain a second time.
    assert ["websocket full", "http: request_too_large", "http full", "http full"] == steps
    assert ["http: request_too_large", "http full"] == again
    assert [1] == executed


async def test_a_close_for_size_after_the_response_began_is_not_about_the_request(
    bench, autojump_clock
) -> None:
    async with bench(endpoint=ENDPOINT, faults=[CloseSocket(2, code=1009)]) as b:
        with pytest.raises(triplane.ConnectionLost) as caught:
            await b.engine.run(AGENT, "hello")

    assert 1009 == caught.value.close.code


async def test_without_auto_a_request_that_is_too_large_is_one_clear_error(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_request_size=2_000)
    async with bench(options=options) as b:
        with pytest.raises(triplane.LimitReached, match='transport="auto"'):
            await b.engine.run(AGENT, "hello" * 1_000)
        # Over HTTP the server sets the limit.
        over_http = triplane.Agent("m", transport="http")
        assert "hello" in (await b.engine.run(over_http, "hello" * 1_000)).text


async def test_what_the_server_does_itself_may_go_over_http_after_a_close_for_size(
    bench, autojump_clock
) -> None:
    """The request was refused for its size, so nothing was done for it."""
    hosted = triplane.ModelSettings(extra={"tools": [{"type": "mcp", "server_label": "tracker"}]})
    async with bench(endpoint=ENDPOINT, max_message_size=2_000) as b:
        result = await b.engine.run(triplane.Agent("m", settings=hosted), "hello" * 1_000)

    assert "completed" == result.status


async def test_lanes_and_warm_ups_choose_on_entering(bench, autojump_clock) -> None:
    agent, _executed = make_agent()
    async with bench(endpoint=ENDPOINT, faults=[RefuseUpgrade(426)]) as b:
        assert 0 == await b.engine.warm_up(agent)
        async with b.engine.lane() as lane:
            turn = await lane.create(ResponseCreate(model="m", input="hello", store=False))
            assert "echo: hello" == (await turn.wait()).text
        assert ["http"] == [request.transport for request in b.server.requests]
    async with bench(endpoint=ENDPOINT) as b:
        assert 1 == await b.engine.warm_up(agent)


async def test_an_endpoint_may_be_open_for_one_agent_and_not_for_another(bench, autojump_clock) -> None:
    async with bench(faults=[RefuseUpgrade(426)]) as b:
        with pytest.raises(triplane.ConnectFailed):
            await b.engine.run(AGENT, "hello")
        result = await b.engine.run(triplane.Agent("m", transport="auto"), "hello")

    assert ("http", "echo: hello") == (result.transport, result.text)


async def test_on_real_sockets(nursery) -> None:
    handle = await nursery.start(partial(serve, model="directive", faults=[RefuseUpgrade(426, nth=1)]))
    agent = triplane.Agent("m", "", [quick])
    options = triplane.EngineOptions(websocket_retry_interval=0.001)
    async with triplane.open_engine(
        triplane.Endpoint(handle.url, transport="auto"), options=options
    ) as engine:
        async with engine.open_run(agent, "REPEAT 2 CALL quick {}") as run:
            changes = [event async for event in run if isinstance(event, triplane.TransportChanged)]
            assert 'RESULT: "done"' == run.result.text

    assert [("http", "websocket_unsupported"), ("websocket", "websocket_again")] == [
        (change.transport, change.reason) for change in changes
    ]
    assert ["http", "websocket", "websocket"] == [request.transport for request in handle.requests]


async def test_http_on_real_sockets_with_every_loss(nursery) -> None:
    faults = [Drop(3, nth=2), triplane.server.Reset(5, nth=4), triplane.server.Truncate(2, nth=6)]
    handle = await nursery.start(partial(serve, model="directive", faults=faults, api_key="right"))
    endpoint = triplane.Endpoint(handle.http_url, transport="http", api_key="right")
    async with triplane.open_engine(endpoint) as engine:
        result = await engine.run(triplane.Agent("m", "", [quick]), "REPEAT 4 CALL quick {}")

    assert ('RESULT: "done"', 4, 3) == (result.text, len(result.tool_calls), result.replays)
    # One TCP connection serves until it is lost.
    assert 4 == handle.statistics().connections_opened


@triplane.tool
async def quick() -> str:
    """Do next to nothing."""
    await trio.sleep(0.005)
    return "done"


@pytest.mark.parametrize("transport", ["http", "auto"])
def test_a_missing_extra_is_one_clear_error(monkeypatch, transport) -> None:
    # None stands for a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "httpcore2", None)
    for make in (partial(triplane.Endpoint, "ws://host/v1"), partial(triplane.Agent, "m")):
        with pytest.raises(triplane.ConfigError, match=r"pip install 'triplane\[http\]'"):
            make(transport=transport)
    triplane.Endpoint("ws://host/v1")
