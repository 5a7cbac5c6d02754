"""Steering: user input for a response that is being made."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from server_client import create

from triplane.server import FunctionCall, Text, Wait
from triplane.server.pairs import CALLS
from triplane.server.websocket.required import required_input

PLAN = "SAY 3 a\nWAIT 60000\nSAY 3 b"


async def begun(client, input_=PLAN, **fields):
    """Begin a response and return its id, once all that comes before its wait is here."""
    await client.send(create(input_, **fields))
    response_id = (await client.until("created"))["response"]["id"]
    await trio.testing.wait_all_tasks_blocked()
    return response_id


async def steered(client, input_="SAY 1 steered", plan=PLAN, **fields):
    """Begin a response, steer it, and return its id and the steer's."""
    response_id = await begun(client, plan, **fields)
    await client.steer(response_id, input_)
    return response_id, (await client.until("steer.accepted"))["steer"]["id"]


async def kinds_until(client, last):
    kinds = []
    while last not in kinds:
        kinds.append((await client.receive())["type"].removeprefix("response."))
    return kinds


async def test_the_acceptance_names_the_steer_and_its_target(connect, autojump_clock):
    client = await connect()
    response_id = await begun(client, stream_id="a")

    await client.steer(response_id, "Also cover rollback.")
    accepted = await client.until("steer.accepted")

    assert accepted["steer"] == {"id": accepted["steer"]["id"], "previous_response_id": response_id}
    assert accepted["steer"]["id"]
    assert accepted["stream_id"] == "a"


async def test_a_steered_response_stops_at_a_safe_boundary_and_a_successor_follows(connect, autojump_clock):
    client = await connect()
    response_id = await begun(client, stream_id="a")
    await client.steer(response_id, "SAY 2 new")

    events = [await client.receive()]
    while events[-1]["type"] != "response.incomplete":
        events.append(await client.receive())
    successor = await client.turn()

    parent = events[-1]["response"]
    assert parent["id"] == response_id
    assert (parent["status"], parent["incomplete_details"]) == ("incomplete", {"reason": "steered"})
    # The message that was cut off says what was sent of it.
    assert [item["status"] for item in parent["output"]] == ["incomplete"]
    assert parent["output"][0]["content"][0]["text"] == "aaa"
    assert parent["usage"]["output_tokens"] == 1
    # One after the other: accepted, the boundary, the end.
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[-5:] == [
        "steer.accepted",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "incomplete",
    ]
    numbers = [event["sequence_number"] for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    # A wait of the model is no boundary.
    assert trio.current_time() == 60
    assert successor.types[:2] == ["created", "in_progress"]
    assert successor.response["previous_response_id"] == response_id
    assert successor.lane == "a"
    assert successor.text == "newnew"


async def test_a_response_that_finishes_first_completes_and_a_successor_follows(connect, autojump_clock):
    class Brief:
        name = "brief"

        def respond(self, request):
            yield Text(request.conversation.user_text)
            yield Wait(1)

    client = await connect(model={"brief": Brief()})
    response_id = await begun(client, "hello", model="brief", stream_id="a")
    await client.steer(response_id, "steered")

    kinds = await kinds_until(client, "completed")
    successor = await client.turn()

    assert kinds[-5:] == [
        "steer.accepted",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert successor.response["previous_response_id"] == response_id
    assert (successor.lane, successor.text) == ("a", "steered")


async def test_the_successor_inherits_the_settings_of_its_parent(connect, autojump_clock):
    client = await connect()
    tool = {"type": "function", "name": "look", "parameters": {}}
    settings = {
        "instructions": "Be brief.",
        "tools": [tool],
        "temperature": 0.5,
        "metadata": {"a": "b"},
        "max_output_tokens": 1000,
    }
    await steered(client, **settings)
    parent = (await client.until("incomplete"))["response"]

    successor = await client.turn()

    assert successor.response["instructions"] == "Be brief."
    assert {name: successor.response[name] for name in settings} == {name: parent[name] for name in settings}
    assert successor.response["store"] is False


async def test_the_successor_can_be_continued_and_its_parent_no_longer(connect, autojump_clock):
    client = await connect()
    response_id, _ = await steered(client)
    successor = await client.turns(2)

    assert (await client.ask("more", previous_response_id=successor[1].id)).text == "echo: more"
    assert (await client.ask("x", previous_response_id=response_id)).error[
        "code"
    ] == "previous_response_not_found"


async def test_a_stored_parent_that_was_steered_can_be_continued(connect, autojump_clock):
    client = await connect()
    response_id, _ = await steered(client, store=True)
    await client.turns(2)

    assert (await client.ask("x", previous_response_id=response_id)).text == "echo: x"


async def test_several_steers_are_one_successor_in_their_order(connect, autojump_clock):
    seen = []

    class Recorder:
        name = "recorder"

        def respond(self, request):
            seen.append([item.get("content") for item in request.new_items])
            yield Text("x")
            yield Wait(1)
            yield FunctionCall("look", "{}") if request.conversation.user_text == "go" else Text("y")

    client = await connect(model={"recorder": Recorder()})
    response_id = await begun(client, "go", model="recorder")
    for word in ("one", "two", "three"):
        await client.steer(response_id, word)

    accepted = [await client.until("steer.accepted") for _ in range(3)]
    await client.until("incomplete")
    successor = await client.turn()

    assert len({event["steer"]["id"] for event in accepted}) == 3
    assert seen == [["go"], ["one", "two", "three"]]
    assert successor.text == "xy"


async def test_a_steer_may_be_messages_with_text_images_and_files(connect, autojump_clock):
    client = await connect()
    parts = [
        {"type": "input_text", "text": "SAY 1 yes"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
        {"type": "input_file", "file_id": "file_1"},
    ]
    await steered(
        client, [{"role": "user", "content": "first"}, {"type": "message", "role": "user", "content": parts}]
    )

    assert (await client.turns(2))[1].text == "yes"


async def test_a_successor_can_be_steered(connect, autojump_clock):
    client = await connect()
    await steered(client, PLAN)
    await client.until("incomplete")
    second = (await client.until("created"))["response"]["id"]
    await client.steer(second, "SAY 1 third")
    await client.until("incomplete")

    assert (await client.turn()).text == "third"


async def test_a_response_with_calls_completes_and_waits_for_its_required_input(connect, autojump_clock):
    client = await connect()
    response_id, steer_id = await steered(
        client, plan="SAY 1 a\nCALL one {}\nWAIT 5000\nCALL two {}", stream_id="a"
    )
    completed = await client.until("completed")
    pending = await client.receive()

    # It was not cut short.
    assert trio.current_time() == 5
    calls = [item for item in completed["response"]["output"] if item["type"] == "function_call"]
    assert pending == {
        "type": "response.steer.pending",
        "sequence_number": completed["sequence_number"] + 1,
        "stream_id": "a",
        "steer": {"id": steer_id, "previous_response_id": response_id},
        "reason": "waiting_for_required_input",
        "required_input": [
            {"type": "function_call_output", "call_id": call["call_id"], "name": call["name"]}
            for call in calls
        ],
    }
    # Once.
    with trio.move_on_after(100) as scope:
        await client.receive()
    assert scope.cancelled_caught


class Calling:
    """Calls a tool and waits, unless the client spoke last; says what it was given."""

    name = "calling"

    def respond(self, request):
        if request.conversation.user_text == "go" and not request.previous_response_id:
            yield FunctionCall("look", "{}")
            yield Wait(1)
        else:
            yield Text("; ".join(str(item.get("content", item.get("output"))) for item in request.new_items))


async def pending(client, *steers, **fields):
    response_id = await begun(client, "go", model="calling", **fields)
    for steer in steers:
        await client.steer(response_id, steer)
    completed = await client.until("completed")
    (call,) = completed["response"]["output"]
    return response_id, {"type": "function_call_output", "call_id": call["call_id"], "output": "seen"}


async def test_one_create_commits_the_pending_steers_before_its_own_input(connect, autojump_clock):
    client = await connect(model={"calling": Calling()})
    response_id, output = await pending(client, "first", "second", stream_id="a")
    stubs = [(await client.until("steer.pending"))["required_input"] for _ in range(2)]

    turn = await client.ask(
        [output, {"role": "user", "content": "own"}],
        model="calling",
        previous_response_id=response_id,
        stream_id="a",
        instructions="of the continuation",
    )

    assert stubs[0] == stubs[1]
    assert turn.text == "first; second; seen; own"
    assert turn.response["instructions"] == "of the continuation"
    # They are committed once.
    assert (await client.ask("x", model="calling", stream_id="a", previous_response_id=turn.id)).text == "x"


async def test_a_create_that_is_here_early_commits_without_pending(connect, autojump_clock):
    client = await connect(model={"calling": Calling()})
    response_id = await begun(client, "go", model="calling")
    await client.steer(response_id, "steer")
    call = (await client.until("output_item.done"))["item"]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "seen"}
    await client.send(create([output], model="calling", previous_response_id=response_id))

    kinds = await kinds_until(client, "completed")
    turn = await client.turn()

    assert "steer.pending" not in kinds
    assert turn.text == "steer; seen"


async def test_a_continuation_on_another_lane_is_a_fork_and_commits_nothing(connect, autojump_clock):
    client = await connect(model={"calling": Calling()})
    response_id, output = await pending(client, "steer", stream_id="a")
    await client.until("steer.pending")
    continuation = {"model": "calling", "previous_response_id": response_id}

    fork = await client.ask([output], stream_id="b", **continuation)
    own = await client.ask([output], stream_id="a", **continuation)

    assert (fork.text, own.text) == ("seen", "steer; seen")


async def test_pending_steers_come_back_when_their_parent_is_evicted(connect, autojump_clock):
    client = await connect(model={"calling": Calling()})
    response_id, _ = await pending(client, "one", "two")
    steers = [(await client.until("steer.pending"))["steer"] for _ in range(2)]

    refused = await client.ask("no output", model="calling", previous_response_id=response_id)
    failed = [await client.receive() for _ in range(2)]

    assert refused.error["message"].startswith("No tool output found for function call")
    for event, steer, text in zip(failed, steers, ("one", "two"), strict=True):
        assert event["type"] == "response.steer.failed"
        assert event["steer"] == {**steer, "input": text}
        assert event["error"]["code"] == "successor_creation_failed"
        assert event["error"]["type"] == "invalid_request_error"


async def test_pending_steers_survive_a_refusal_while_their_parent_is_stored(connect, autojump_clock):
    client = await connect(model={"calling": Calling()})
    response_id, output = await pending(client, "steer", store=True)
    await client.until("steer.pending")
    await client.ask("no output", model="calling", previous_response_id=response_id)

    assert (
        await client.ask([output], model="calling", previous_response_id=response_id)
    ).text == "steer; seen"


async def test_pending_steers_come_back_when_their_lane_goes_another_way(connect, autojump_clock):
    client = await connect(model={"calling": Calling()})
    await pending(client, "steer")
    await client.until("steer.pending")

    await client.send(create("a new chain"))
    failed = await client.receive()

    assert (failed["type"], failed["steer"]["input"]) == ("response.steer.failed", "steer")
    assert failed["error"]["code"] == "successor_creation_failed"
    assert (await client.turn()).text == "echo: a new chain"


async def test_a_response_that_fails_hands_its_steers_back(connect, autojump_clock, caplog):
    class Failing:
        name = "failing"

        def respond(self, request):
            yield FunctionCall("look", "{}")
            yield Wait(1)
            raise RuntimeError

    client = await connect(model={"failing": Failing()})
    _, steer_id = await steered(client, "steer", plan="x", model="failing")
    await client.until("failed")
    failed = await client.receive()

    assert failed["steer"]["id"] == steer_id
    assert failed["error"]["code"] == "successor_creation_failed"


async def failure(client, response_id, input_="x", **fields):
    await client.steer(response_id, input_, **fields)
    event = await client.receive()
    while event["type"] != "response.steer.failed":
        event = await client.receive()
    assert event["error"]["type"] == "invalid_request_error"
    assert event["error"]["message"]
    return event


async def test_steer_failed_response_not_found(connect):
    client, other = await connect(), await connect()
    elsewhere = await other.ask("hi", store=True)

    for response_id in ("resp_none", elsewhere.id):
        failed = await failure(client, response_id)
        assert failed["error"]["code"] == "response_not_found"
        assert failed["steer"] == {"previous_response_id": response_id, "input": "x"}
        assert "stream_id" not in failed
        assert isinstance(failed["sequence_number"], int)


async def test_a_queued_response_cannot_be_steered_since_nobody_knows_its_id(connect, autojump_clock):
    client = await connect()
    await begun(client)
    await client.send(create("queued"))

    assert (await failure(client, "resp_000002"))["error"]["code"] == "response_not_found"


async def test_steer_failed_response_already_completed(connect):
    client = await connect()
    turn = await client.ask("hi", stream_id="a")

    failed = await failure(client, turn.id)

    assert (failed["error"]["code"], failed["stream_id"]) == ("response_already_completed", "a")
    assert "id" not in failed["steer"]


@pytest.mark.parametrize("ending", ["failed", "incomplete"])
async def test_steer_failed_response_not_active(connect, autojump_clock, caplog, ending):
    class Failing:
        name = "failing"

        def respond(self, request):
            raise RuntimeError

    client = await connect(model={"failing": Failing()})
    if ending == "failed":
        response_id = (await client.ask("x", model="failing")).id
    else:
        response_id, _ = await steered(client)
        await client.turns(2)

    assert (await failure(client, response_id))["error"]["code"] == "response_not_active"


@pytest.mark.parametrize(
    "input_",
    [
        3,
        None,
        [],
        {},
        ["x"],
        [{"role": "user"}],
        [{"role": "user", "content": 3}],
        [{"role": "developer", "content": "x"}],
        [{"role": "assistant", "content": "x"}],
        [{"role": "user", "content": "x", "id": "msg_1"}],
        [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}],
        [{"role": "user", "content": [{"type": "input_text"}]}],
        [{"role": "user", "content": [{"type": "input_image"}]}],
        [{"role": "user", "content": ["x"]}],
        [{"type": "function_call_output", "call_id": "x", "output": "y"}],
        [{"role": "user", "content": "x"}, {"type": "item_reference", "id": "x"}],
    ],
)
async def test_steer_failed_invalid_input(connect, autojump_clock, input_):
    client = await connect()
    client.validates = False
    response_id = await begun(client, stream_id="a")

    failed = await failure(client, response_id, input_)

    assert failed["error"]["code"] == "invalid_input"
    assert failed["steer"] == {"previous_response_id": response_id, "input": input_}
    assert failed["stream_id"] == "a"
    # The response goes on.
    await client.until("completed")


@pytest.mark.parametrize("extra", [{"stream_id": "a"}, {"model": "directive"}, {"metadata": {}}])
async def test_a_steer_has_no_other_fields_not_even_a_stream_id(connect, autojump_clock, extra):
    client = await connect()
    response_id = await begun(client)

    assert (await failure(client, response_id, **extra))["error"]["code"] == "invalid_input"


@pytest.mark.parametrize("response_id", [None, 3, ["resp"]])
async def test_a_steer_needs_the_id_of_a_response(connect, response_id):
    client = await connect()

    assert (await failure(client, response_id))["error"]["code"] == "invalid_input"


@pytest.mark.parametrize(
    "fields",
    [
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"context_management": [{"type": "compaction", "compact_threshold": 200000}]},
        {"multi_agent": {"enabled": True}},
    ],
)
async def test_steer_failed_steering_not_supported(connect, autojump_clock, fields):
    client = await connect()
    response_id = await begun(client, **fields)

    failed = await failure(client, response_id)

    assert failed["error"]["code"] == "steering_not_supported"
    await client.until("completed")


@pytest.mark.parametrize(
    ("patterns", "works"), [(["gpt-6*"], True), (["gpt-5*"], False), ([], False), (["x", "*astra"], True)]
)
async def test_steering_can_be_limited_to_models(connect, autojump_clock, patterns, works):
    client = await connect(model="directive", steering_models=patterns)
    response_id = await begun(client, model="gpt-6-astra")
    await client.steer(response_id, "x")

    event = await client.receive()
    while not event["type"].startswith("response.steer"):
        event = await client.receive()

    if works:
        assert event["type"] == "response.steer.accepted"
    else:
        assert event["error"]["code"] == "steering_not_supported"


async def test_steer_failed_too_many_pending_steers(connect, autojump_clock):
    client = await connect(max_pending_steers=2)
    response_id = await begun(client, "CALL a {}\nWAIT 1000\nCALL b {}")
    for _ in range(2):
        await client.steer(response_id, "x")

    assert (await failure(client, response_id))["error"]["code"] == "too_many_pending_steers"


async def test_a_steer_does_not_undo_what_was_sent_nor_hurry_what_cannot_be_stopped(connect, autojump_clock):
    client = await connect()
    await steered(client, plan="SAY 1 a\nCALL one {}\nWAIT 5000\nCALL two {}")
    completed = await client.until("completed")

    assert [item["type"] for item in completed["response"]["output"]] == [
        "message",
        "function_call",
        "function_call",
    ]


async def test_other_lanes_go_on_while_one_is_steered(connect, autojump_clock):
    client = await connect()
    response_id = await begun(client, stream_id="a")
    await client.send(create("WAIT 1000\nSAY 1 other", stream_id="b"))
    await client.steer(response_id, "SAY 1 new")
    await client.until("steer.accepted")

    b, parent, successor = await client.turns(3)

    assert (b.lane, b.text) == ("b", "other")
    assert (parent.lane, parent.last["type"]) == ("a", "response.incomplete")
    assert (successor.lane, successor.text) == ("a", "new")


async def test_what_waits_on_the_lane_comes_after_the_successor(connect, autojump_clock):
    client = await connect()
    response_id = await begun(client)
    await client.send(create("queued"))
    await client.steer(response_id, "SAY 1 successor")
    await client.until("incomplete")

    assert [turn.text for turn in await client.turns(2)] == ["successor", "echo: queued"]


async def test_a_connection_that_is_lost_takes_its_steers_along(connect, autojump_clock):
    client = await connect()
    await steered(client, plan="CALL a {}\nWAIT 5000\nCALL b {}")
    await client.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()

    assert client.server.statistics().connections_now == 0
    assert client.server.statistics().responses_created == 1


@pytest.mark.parametrize(
    ("item", "stub"),
    [
        (
            {"type": "function_call", "call_id": "c", "name": "n", "arguments": ""},
            {"type": "function_call_output", "call_id": "c", "name": "n"},
        ),
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "n"},
            {"type": "custom_tool_call_output", "call_id": "c"},
        ),
        ({"type": "computer_call", "call_id": "c"}, {"type": "computer_call_output", "call_id": "c"}),
        (
            {"type": "shell_call", "call_id": "c", "environment": {"type": "local"}},
            {"type": "shell_call_output", "call_id": "c"},
        ),
        ({"type": "shell_call", "call_id": "c", "environment": {"type": "container_reference"}}, None),
        ({"type": "apply_patch_call", "call_id": "c"}, {"type": "apply_patch_call_output", "call_id": "c"}),
        (
            {"type": "tool_search_call", "call_id": "c", "execution": "client"},
            {"type": "tool_search_output", "call_id": "c", "execution": "client"},
        ),
        ({"type": "tool_search_call", "call_id": "c", "execution": "server"}, None),
        (
            {"type": "mcp_approval_request", "id": "m"},
            {"type": "mcp_approval_response", "approval_request_id": "m"},
        ),
        ({"type": "function_call", "call_id": "c", "name": "n", "async": True}, None),
        ({"type": "web_search_call", "id": "w"}, None),
        ({"type": "message"}, None),
        ({}, None),
    ],
)
def test_stubs_of_required_input_identify_and_do_not_answer(item, stub):
    assert required_input([item]) == ([] if stub is None else [stub])


def test_every_call_that_the_client_answers_is_required():
    for kind in CALLS:
        assert required_input([{"type": kind, "id": "i", "call_id": "c", "execution": "client"}]), kind
