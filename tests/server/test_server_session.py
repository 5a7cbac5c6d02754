"""The conversation over one WebSocket: events, continuation, refusals, order."""

from __future__ import annotations

import orjson
import pytest
import trio
from server_client import Closed, create, tokens

from triplane.server import Text, Wait

TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


async def test_text(connect):
    client = await connect()

    turn = await client.ask("SAY 2 hm ")

    assert turn.types == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert turn.events[0]["response"]["status"] == "in_progress"
    assert turn.events[0]["response"]["output"] == []
    assert turn.events[2]["item"]["content"] == []
    assert turn.events[4]["delta"] == "hm "
    assert turn.events[6]["text"] == "hm hm "
    assert turn.events[8]["item"] == turn.response["output"][0]
    assert turn.response["status"] == "completed"
    assert turn.text == "hm hm "
    # Nothing but the lifecycle events carries the response.
    assert [event["type"] for event in turn.events if "response" in event] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    assert {event["item_id"] for event in turn.events if "item_id" in event} == {
        turn.response["output"][0]["id"]
    }
    assert {event["content_index"] for event in turn.events if "content_index" in event} == {0}
    assert {event["output_index"] for event in turn.events if "output_index" in event} == {0}


async def test_calls_are_items_of_one_response(connect):
    client = await connect()

    turn = await client.ask(
        'CALL look {"at":"a long enough string to be cut"}\nCALL listen\nCALL smell not json'
    )

    one = ["output_item.added", "function_call_arguments.done", "output_item.done"]
    delta = "function_call_arguments.delta"
    assert turn.types == [
        "created",
        "in_progress",
        *[one[0], delta, delta, *one[1:]],
        *one,
        *[one[0], delta, *one[1:]],
        "completed",
    ]
    assert [
        event["output_index"] for event in turn.events if event["type"] == "response.output_item.done"
    ] == [0, 1, 2]
    assert [(call["name"], call["arguments"]) for call in turn.calls] == [
        ("look", '{"at":"a long enough string to be cut"}'),
        ("listen", ""),
        ("smell", "not json"),
    ]
    deltas = [event for event in turn.events if event["type"].endswith("arguments.delta")]
    assert (
        "".join(event["delta"] for event in deltas if event["output_index"] == 0)
        == turn.calls[0]["arguments"]
    )
    added = [event["item"] for event in turn.events if event["type"] == "response.output_item.added"]
    assert all(item["status"] == "in_progress" and item["arguments"] == "" for item in added)
    assert [item["call_id"] for item in added] == [call["call_id"] for call in turn.calls]
    assert len({call["call_id"] for call in turn.calls}) == 3


async def test_continue_with_outputs(connect):
    client = await connect()
    calls = await client.ask("CALL a {}\nCALL b {}")

    turn = await client.ask(
        calls.outputs("one", [{"type": "input_text", "text": "two"}]), previous_response_id=calls.id
    )

    assert turn.text == 'RESULT: "one"; [{"type":"input_text","text":"two"}]'
    assert turn.response["previous_response_id"] == calls.id
    assert turn.id != calls.id


async def test_full_history_gets_the_same_answer(connect):
    chained, full = await connect(), await connect()
    first = await chained.ask("REPEAT 2 CALL a {}\nSAY 1 done")
    history = [{"role": "user", "content": "REPEAT 2 CALL a {}\nSAY 1 done"}]
    texts = []

    turn, mirror = first, await full.ask(history)
    while turn.calls:
        history += [*mirror.response["output"], *mirror.outputs("out")]
        turn = await chained.ask(turn.outputs("out"), previous_response_id=turn.id)
        mirror = await full.ask(history)
        texts.append((turn.text, len(turn.calls)))
        assert texts[-1] == (mirror.text, len(mirror.calls))

    assert texts == [("", 1), ("done", 0)]


async def test_only_the_latest_unstored_response_can_be_continued(connect):
    client = await connect()
    first = await client.ask("one")
    second = await client.ask("two", previous_response_id=first.id)

    refused = await client.ask("three", previous_response_id=first.id)

    assert refused.last == {
        "type": "error",
        "status": 400,
        "error": {
            "type": "invalid_request_error",
            "code": "previous_response_not_found",
            "message": f"Previous response with id '{first.id}' not found.",
            "param": "previous_response_id",
        },
    }
    # The parent that was named is not the one that is cached, so that one stays.
    assert (await client.ask("three", previous_response_id=second.id)).text == "echo: three"


async def test_unstored_responses_stay_on_their_connection(connect):
    client, other = await connect(), await connect()
    first = await client.ask("one")

    assert (await other.ask("two", previous_response_id=first.id)).error[
        "code"
    ] == "previous_response_not_found"


async def test_stored_responses_can_be_continued_from_anywhere(connect):
    client, other = await connect(), await connect()
    call = await client.ask("CALL a {}", store=None)  # as good as leaving it out, which means true
    await client.ask("something else")

    turn = await other.ask(call.outputs("x"), previous_response_id=call.id)

    assert call.response["store"] is True
    assert turn.text == 'RESULT: "x"'
    assert client.server.statistics().responses_stored == 1


async def test_the_store_forgets_what_was_unused_for_longest(connect):
    client = await connect(max_stored=2)
    first = await client.ask("1", store=True)
    second = await client.ask("2", store=True)
    await client.ask("again", previous_response_id=first.id)
    await client.ask("3", store=True)

    assert (await client.ask("x", previous_response_id=second.id)).error[
        "code"
    ] == "previous_response_not_found"
    assert (await client.ask("x", previous_response_id=first.id)).text == "echo: x"


async def test_null_begins_a_new_chain(connect):
    client = await connect()
    await client.ask("CALL a {}")

    assert (await client.ask("hello", previous_response_id=None)).text == "echo: hello"


@pytest.mark.parametrize("store", [False, True])
async def test_a_refused_continuation_evicts_its_parent(connect, store):
    client = await connect()
    call = await client.ask("CALL a {}", store=store)

    refused = await client.ask("what now?", previous_response_id=call.id)
    again = await client.ask(call.outputs("x"), previous_response_id=call.id)

    assert refused.error == {
        "status": 400,
        "type": "invalid_request_error",
        "code": None,
        "message": f"No tool output found for function call {call.calls[0]['call_id']}.",
        "param": "input",
    }
    # With store=true an eviction costs nothing.
    assert again.last["type"] == ("response.completed" if store else "error")


async def test_an_output_without_its_call(connect):
    client = await connect()
    first = await client.ask("hello")
    output = {"type": "function_call_output", "call_id": "call_x", "output": ""}

    refused = await client.ask([output], previous_response_id=first.id)
    again = await client.ask("x", previous_response_id=first.id)

    assert refused.error["message"] == "No tool call found for function call output with call_id call_x."
    assert refused.error["param"] == "input"
    assert again.error["code"] == "previous_response_not_found"


async def test_any_refusal_of_a_continuation_evicts(connect):
    client = await connect()
    first = await client.ask("hello")

    assert (await client.ask("x", previous_response_id=first.id, tools="none")).error[
        "code"
    ] == "invalid_type"
    assert (await client.ask("x", previous_response_id=first.id)).error[
        "code"
    ] == "previous_response_not_found"


async def test_warm_up(connect):
    client = await connect()

    warm = await client.ask([], generate=False, instructions="Be brief.", tools=[TOOL])
    turn = await client.ask([], previous_response_id=warm.id)

    assert warm.types == ["created", "completed"]
    assert warm.response["output"] == []
    assert warm.response["status"] == "completed"
    assert warm.response["usage"]["output_tokens"] == 0
    assert warm.response["usage"]["input_tokens"] > 0
    assert turn.text == "echo: "
    # Instructions are not inherited.
    assert (warm.response["instructions"], turn.response["instructions"]) == ("Be brief.", None)
    assert (client.server.statistics().responses_completed, client.server.statistics().turns) == (2, 1)


async def test_warm_up_with_input_and_in_mid_chain(connect):
    client = await connect()
    call = await client.ask("CALL a {}")

    warm = await client.ask(call.outputs("x"), previous_response_id=call.id, generate=False)
    turn = await client.ask(previous_response_id=warm.id)

    assert turn.text == 'RESULT: "x"'


async def test_prewarm_means_no_generation(connect):
    client = await connect()

    assert (await client.ask("hello", prompt_cache_options={"prewarm": True})).response["output"] == []


async def test_warm_up_refused(connect):
    client = await connect(warm_up="refuse")

    refused = await client.ask("hello", generate=False)

    assert refused.error["message"] == "Unsupported parameter: generate"
    assert (refused.error["status"], refused.error["param"]) == (400, "generate")
    assert (await client.ask("hello")).text == "echo: hello"


async def test_usage(connect):
    client = await connect()
    items = [{"role": "user", "content": "hello"}]

    first = await client.ask(items, instructions="Hi", tools=[TOOL])
    second = await client.ask(items, previous_response_id=first.id)

    shown = first.response["tools"]
    # Brackets and commas belong to the lists that are sent, so a chain counts those of each of its parts.
    assert first.response["usage"] == {
        "input_tokens": tokens("Hi", shown, items),
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 3,  # "echo: hello"
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens("Hi", shown, items) + 3,
    }
    usage = second.response["usage"]
    assert usage["input_tokens_details"]["cached_tokens"] == tokens(items, first.response["output"])
    assert usage["input_tokens"] == tokens(items, first.response["output"], items)


async def test_settings_are_shown_again(connect):
    client = await connect()
    settings = {
        "instructions": "Be brief.",
        "metadata": {"run": "r1"},
        "temperature": 0.5,
        "top_p": 1,
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "low"},
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "max_output_tokens": 100,
        "truncation": "auto",
        "user": "me",
    }

    turn = await client.ask("hello", tools=[TOOL], **settings)

    for event in turn.events:
        if "response" in event:
            shown = event["response"]
            assert {name: shown[name] for name in settings} == settings | {
                "reasoning": {"effort": "low", "summary": None},
                "text": {"format": {"type": "text"}, "verbosity": "low"},
            }
            assert shown["tools"] == [{"description": None, "strict": True, **TOOL}]
            assert shown["created_at"] == 1_800_000_000
            assert shown["background"] is False


async def test_what_the_server_has_no_use_for_is_ignored(connect):
    client = await connect()

    turn = await client.ask(
        "hello",
        stream=True,
        client_metadata={"a": "b"},
        include=["reasoning.encrypted_content"],
        tools=[{"type": "web_search"}, {"type": "custom", "name": "sh"}],
        prompt_cache_retention=None,
        no_such_field={"x": 1},
    )

    assert turn.text == "echo: hello"


@pytest.mark.parametrize(
    ("input_", "text"),
    [
        ("hi", "echo: hi"),
        (None, "echo: "),
        ([], "echo: "),
        ([{"role": "user", "content": "hi"}], "echo: hi"),
        (
            [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
            "echo: hi",
        ),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}], "echo: "),
        ([{"role": "user", "content": "hi"}, {"role": "developer", "content": "no"}], "echo: hi"),
        ([{"type": "no_such_item"}, {"role": "user", "content": "hi"}], "echo: hi"),
        ([{"role": "user", "content": "x" * 100}], "echo: " + "x" * 60),
    ],
)
async def test_forms_of_input(connect, input_, text):
    assert (await (await connect()).ask(input_)).text == text


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("", "invalid_json", None),
        (b"\xff", "invalid_json", None),
        ("[" * 2000 + "]" * 2000, "invalid_json", None),
        ('{"type":"response.create","input":"\\ud800"}', "invalid_json", None),
        ("[]", "invalid_type", None),
        ("null", "invalid_type", None),
        ("{}", "missing_required_parameter", "type"),
        ('{"type":1}', "invalid_value", "type"),
        ('{"type":"response.cancel"}', "invalid_value", "type"),
        ('{"type":"response.create"}', "missing_required_parameter", "model"),
        ('{"type":"response.create","model":""}', "missing_required_parameter", "model"),
        ('{"type":"response.create","model":3}', "invalid_type", "model"),
        (create(model="gpt-5.5"), "model_not_found", "model"),
        (create(background=True), "unsupported_parameter", "background"),
        (create(conversation=3), "invalid_type", "conversation"),
        (create(store="yes"), "invalid_type", "store"),
        (create(store=1), "invalid_type", "store"),
        (create(top_logprobs=True), "invalid_type", "top_logprobs"),
        (create(metadata={"a": 1}), "invalid_type", "metadata.a"),
        (create(tools={}), "invalid_type", "tools"),
        (create(tools=[1]), "invalid_type", "tools[0]"),
        (create(tools=[{"type": "function"}]), "missing_required_parameter", "tools[0].name"),
        (create(3), "invalid_type", "input"),
        (create(["hi"]), "invalid_type", "input[0]"),
        (create([{}]), "missing_required_parameter", "input[0].type"),
        (create([{"type": []}]), "invalid_type", "input[0].type"),
        (create([{"role": "tool", "content": "x"}]), "invalid_value", "input[0].role"),
        (create([{"role": "user"}]), "invalid_type", "input[0].content"),
        (
            create([{"type": "function_call_output", "output": "x"}]),
            "missing_required_parameter",
            "input[0].call_id",
        ),
        (
            create([{"type": "function_call_output", "call_id": "x"}]),
            "missing_required_parameter",
            "input[0].output",
        ),
        (create(previous_response_id=7), "invalid_type", "previous_response_id"),
        (create(generate="no"), "invalid_type", "generate"),
    ],
)
async def test_a_refusal_is_one_error_and_the_socket_lives_on(connect, message, code, param):
    client = await connect()

    await client.send(message)
    refused = await client.turn()

    assert len(refused.events) == 1
    assert refused.error["type"] == "invalid_request_error"
    assert (refused.error["status"], refused.error["code"], refused.error["param"]) == (400, code, param)
    assert refused.error["message"]
    assert (await client.ask("still there?")).text == "echo: still there?"
    assert client.server.statistics().requests_refused == 1
    assert client.server.statistics().responses_created == 1


@pytest.mark.parametrize("field", ["tools", "input", "text", "reasoning"])
async def test_deeper_than_json_can_be_written(connect, field):
    """orjson reads 1,024 levels and writes 254."""
    client = await connect()
    deep: object = {}
    for _ in range(300):
        deep = {"a": deep}
    value = orjson.dumps(create()).decode()[:-1]
    nested = '{"type":"x","a":' * 1 + '{"a":' * 300 + "1" + "}" * 301
    await client.send(f'{value},"{field}":{f"[{nested}]" if field in ("tools", "input") else nested}}}')

    refused = await client.turn()

    assert (refused.error["code"], refused.error["param"]) == ("invalid_value", field)
    assert (await client.ask("still there?")).text == "echo: still there?"


async def test_binary_messages(connect):
    client = await connect()

    await client.send(orjson.dumps(create("hello")))

    assert (await client.turn()).text == "echo: hello"


async def test_unknown_models_name_the_known_ones(connect):
    client = await connect()

    refused = await client.ask("hello", model="gpt-5.5")

    assert (
        refused.error["message"]
        == "The model 'gpt-5.5' does not exist here. There are: directive, echo, mender, surveyor."
    )


async def test_creates_are_answered_in_order_and_one_at_a_time(connect, autojump_clock):
    client = await connect(latency=1)
    for number in range(5):
        await client.send(create(f"WAIT 500\nSAY 1 {number}"))
    await client.send(create("x", model="none"))
    await client.send(create("last"))

    turns = [await client.turn() for _ in range(7)]

    assert [turn.text for turn in turns[:5]] == list("01234")
    assert turns[5].error["code"] == "model_not_found"
    assert turns[6].text == "echo: last"
    assert trio.current_time() == pytest.approx(5 * 1.5 + 1)


async def test_pings_are_answered_while_a_response_is_made(connect, autojump_clock):
    client = await connect()
    await client.send(create("WAIT 5000\nSAY 1 x"))
    await client.send(create("queued"))
    assert (await client.receive())["type"] == "response.created"

    await client.ping(b"there?")
    await client.receive()
    started = trio.current_time()
    with trio.move_on_after(1):
        await client.receive()

    assert client.pongs == [b"there?"]
    assert trio.current_time() - started == 1


async def test_a_wait_sends_what_came_before(connect, autojump_clock):
    client = await connect(latency=2)
    times = []
    await client.send(create("SAY 1 a\nWAIT 3000\nSAY 1 b"))
    types = []
    while types[-1:] != ["response.completed"]:
        types.append((await client.receive())["type"])
        times.append(trio.current_time())

    # The wait stands before the second message's items.
    assert times == [2.0] * 5 + [5.0] * (len(times) - 5)
    assert types[4] == "response.output_text.delta"


async def test_delays_between_deltas(connect, autojump_clock):
    client = await connect(delta_delay=1)

    turn = await client.ask("SAY 3 x\nCALL a " + "y" * 30)

    assert turn.types.count("output_text.delta") == 3
    assert turn.types.count("function_call_arguments.delta") == 2
    assert trio.current_time() == 5


async def test_events_between_waits_arrive_together(connect):
    client = await connect()
    await client.ask("hello")
    reads = client.reads

    await client.ask("SAY 20 x")

    assert client.reads - reads == 1


async def test_a_long_response_is_sent_in_pieces(connect):
    client = await connect()
    reads = client.reads

    turn = await client.ask("SAY 20000 x")

    assert turn.text == "x" * 20000
    assert client.reads - reads > 10


class Broken:
    name = "broken"

    def __init__(self, *steps):
        self.steps = steps

    def respond(self, request):
        yield from self.steps
        raise RuntimeError("secret")


class BrokenAtOnce:
    name = "broken"

    def respond(self, request):
        raise RuntimeError("secret")


class NotAStep:
    name = "broken"

    def respond(self, request):
        return [Text("half"), "a"]


@pytest.mark.parametrize(
    "model",
    [BrokenAtOnce(), Broken(), Broken(Text("half")), Broken(Wait(1)), NotAStep()],
    ids=lambda m: type(m).__name__,
)
async def test_a_broken_model_fails_its_response_and_nothing_else(connect, caplog, autojump_clock, model):
    client = await connect(model={"broken": model})
    first = await client.ask("hello")

    turn = await client.ask("x", model="broken", previous_response_id=first.id)

    assert turn.types[0] == "created"
    assert turn.last["type"] == "response.failed"
    assert turn.response["status"] == "failed"
    assert turn.response["error"]["code"] == "server_error"
    assert "secret" not in turn.response["error"]["message"]
    assert "broken" in caplog.text
    # The chain goes on where it was.
    assert (await client.ask("y", previous_response_id=first.id)).text == "echo: y"
    assert (await client.ask("y", previous_response_id=turn.id)).error[
        "code"
    ] == "previous_response_not_found"


async def test_an_endless_response_ends_with_its_client(connect):
    client = await connect()
    await client.send(create("SAY 999999999 x"))
    for _ in range(1000):
        await client.receive()

    assert await client.close() == 1000
    await trio.testing.wait_all_tasks_blocked()
    assert client.server.statistics().connections_now == 0


async def test_statistics(connect):
    client = await connect()
    await client.ask("hello")
    await client.ask("hello", store=True, generate=False)
    await client.send("garbage")
    await client.turn()
    await client.close()
    await trio.testing.wait_all_tasks_blocked()

    statistics = client.server.statistics()

    assert statistics.connections_opened == statistics.connections_closed == statistics.upgrades == 1
    assert statistics.connections_now == 0
    assert (statistics.requests, statistics.requests_refused) == (3, 1)
    assert (statistics.responses_created, statistics.responses_completed, statistics.turns) == (2, 2, 1)
    assert statistics.events_sent == 9 + 2 + 1
    assert statistics.responses_stored == 1
    assert statistics.bytes_sent > statistics.bytes_received > 200


async def test_ids_are_predictable_with_a_seed_and_fresh_without(connect):
    one = await connect()
    two = await connect(ids=None)

    first = await one.ask("CALL a {}")

    assert (first.id, first.calls[0]["id"], first.calls[0]["call_id"]) == (
        "resp_000001",
        "fc_000002",
        "call_000003",
    )
    assert (await two.ask("x")).id not in {(await (await connect(ids=None)).ask("x")).id, "resp_000001"}


async def test_after_the_clients_close_nothing_more_is_sent(connect, autojump_clock):
    client = await connect()
    await client.send(create("WAIT 1000\nSAY 1 x"))
    await client.receive()

    assert await client.close(4321) == 4321
    with pytest.raises(Closed):
        await client.receive()
    assert trio.current_time() < 1
