"""What the server remembers of a connection, what of all of them, and what makes it forget."""

from __future__ import annotations

import pytest
import trio
from server_client import create

from triplane.server import Text
from triplane.server.conversation import Conversation
from triplane.server.conversations import ConversationStore

NOT_FOUND = "previous_response_not_found"


async def continues(client, response_id, **fields):
    """Whether a response can be continued."""
    turn = await client.ask("more", previous_response_id=response_id, **fields)
    if turn.last["type"] == "error":
        assert turn.error["code"] == NOT_FOUND
        return False
    assert turn.text == "echo: more"
    return True


# What is remembered (7.1).


@pytest.mark.parametrize("store", [False, True])
async def test_the_latest_response_of_each_lane_can_be_continued(connect, store):
    client = await connect()
    latest = {}
    for lane in ("a", "b", None):
        await client.ask("older", stream_id=lane, store=store)
        latest[lane] = (await client.ask("latest", stream_id=lane, store=store)).id

    for lane, response_id in latest.items():
        assert await continues(client, response_id, stream_id=lane)


@pytest.mark.parametrize(("store", "found"), [(True, True), (False, False)])
async def test_an_older_id_of_the_connection_is_found_only_if_it_is_stored(connect, store, found):
    client = await connect()
    older = await client.ask("older", store=store)
    await client.ask("latest", store=store)

    assert await continues(client, older.id) is found


@pytest.mark.parametrize(("store", "found"), [(True, True), (False, False), (None, True)])
async def test_after_a_reconnect_an_id_is_found_only_if_it_is_stored(connect, store, found):
    client = await connect()
    turn = await client.ask("hi", store=store)
    await client.close()

    assert await continues(await connect(), turn.id) is found


@pytest.mark.parametrize(("store", "found"), [(True, True), (False, False)])
async def test_on_another_connection_at_the_same_time_an_id_is_found_only_if_it_is_stored(
    connect, store, found
):
    client, other = await connect(), await connect()
    turn = await client.ask("hi", store=store)

    assert await continues(other, turn.id) is found
    assert await continues(client, turn.id)


async def test_what_is_not_stored_can_continue_what_is_and_the_other_way_round(connect):
    client = await connect()
    stored = await client.ask("hi", store=True)
    unstored = await client.ask("hi", store=False, previous_response_id=stored.id)
    again = await client.ask("hi", store=True, previous_response_id=unstored.id)

    assert await continues(await connect(), again.id)
    assert [turn.response["store"] for turn in (stored, unstored, again)] == [True, False, True]


async def test_null_begins_a_new_chain(connect):
    client = await connect()
    call = await client.ask("CALL look {}")

    fresh = await client.ask("hi", previous_response_id=None)

    assert call.calls
    assert fresh.text == "echo: hi"
    assert fresh.response["previous_response_id"] is None


async def test_a_warm_up_can_be_continued_with_an_empty_input_at_any_point_of_a_chain(connect):
    client = await connect()
    first = await client.ask("SAY 1 one")
    warm = await client.ask("SAY 1 two", previous_response_id=first.id, generate=False)
    second = await client.ask([], previous_response_id=warm.id)

    assert (warm.types, warm.response["output"]) == (["created", "completed"], [])
    assert second.text == "two"


# What is evicted (7.2).


@pytest.mark.parametrize(
    "mistake",
    [
        {"input_": [{"type": "function_call_output", "call_id": "call_unknown", "output": ""}]},
        {"input_": "no output"},
        {"input_": 3},
        {"model": "nobody"},
        {"tools": "none"},
    ],
)
@pytest.mark.parametrize(("store", "found"), [(True, True), (False, False)])
@pytest.mark.parametrize("lane", ["a", None])
async def test_a_same_lane_continuation_that_is_refused_evicts_its_parent(
    connect, mistake, store, found, lane
):
    client = await connect()
    call = await client.ask("CALL look {}", store=store, stream_id=lane)
    fields = {"model": mistake.get("model", "directive"), **({"tools": "none"} if "tools" in mistake else {})}
    continuation = {"previous_response_id": call.id, "stream_id": lane}

    refused = await client.ask(mistake.get("input_", call.outputs("x")), **continuation, **fields)
    again = await client.ask(call.outputs("x"), **continuation)

    assert refused.error["status"] == 400
    # Even a mistake that was mended costs the chain, unless it is stored.
    assert (again.last["type"] == "response.completed") is found
    if not found:
        assert again.error["code"] == NOT_FOUND


async def test_a_cross_lane_fork_that_is_refused_keeps_its_parent(connect):
    client = await connect()
    call = await client.ask("CALL look {}", stream_id="source")

    for lane in ("fork", None):
        refused = await client.ask("no output", stream_id=lane, previous_response_id=call.id)
        assert refused.error["message"].startswith("No tool output found")

    assert (
        await client.ask(call.outputs("x"), stream_id="source", previous_response_id=call.id)
    ).text == 'RESULT: "x"'


async def test_a_refusal_evicts_no_other_lane(connect):
    client = await connect()
    a, b = await client.ask("hi", stream_id="a"), await client.ask("hi", stream_id="b")

    await client.ask(3, stream_id="a", previous_response_id=a.id)

    assert not await continues(client, a.id, stream_id="a")
    assert await continues(client, b.id, stream_id="b")


async def test_a_refusal_that_names_another_parent_evicts_nothing(connect):
    client = await connect()
    latest = await client.ask("hi")

    assert not await continues(client, "resp_none")
    assert (await client.ask(3)).error["code"] == "invalid_type"

    assert await continues(client, latest.id)


async def test_a_lane_that_advances_forgets_what_it_had(connect):
    client = await connect()
    first = await client.ask("hi", stream_id="a")
    second = await client.ask("hi", stream_id="a", previous_response_id=first.id)

    assert not await continues(client, first.id, stream_id="b")
    assert await continues(client, second.id, stream_id="b")


async def test_a_new_chain_on_a_lane_forgets_the_old_one(connect):
    client = await connect()
    old = await client.ask("hi", stream_id="a")
    await client.ask("new", stream_id="a")

    assert not await continues(client, old.id, stream_id="a")


async def test_a_response_that_fails_keeps_its_parent(connect, caplog):
    class Failing:
        name = "failing"

        def respond(self, request):
            yield Text("x")
            raise RuntimeError

    client = await connect(model={"failing": Failing()})
    parent = await client.ask("hi")
    failed = await client.ask("x", model="failing", previous_response_id=parent.id)

    assert not await continues(client, failed.id)
    assert await continues(client, parent.id)


# Conversations (7.5).


async def test_a_conversation_is_remembered_by_the_server(connect):
    client, other = await connect(), await connect()
    first = await client.ask("CALL look {}", conversation="conv_1")
    await client.close()

    turn = await other.ask(first.outputs("seen"), conversation={"id": "conv_1"})

    assert turn.text == 'RESULT: "seen"'
    assert first.response["conversation"] == turn.response["conversation"] == {"id": "conv_1"}
    assert turn.response["usage"]["input_tokens_details"]["cached_tokens"] > 0


async def test_conversations_are_separate(connect):
    client = await connect()
    await client.ask("CALL look {}", conversation="conv_1")

    assert (await client.ask("hi", conversation="conv_2")).text == "echo: hi"
    assert (await client.ask("hi")).text == "echo: hi"
    refused = await client.ask("hi", conversation="conv_1")
    assert refused.error["message"].startswith("No tool output found")


async def test_responses_of_one_conversation_at_the_same_time_are_both_added(connect, autojump_clock):
    client = await connect()
    for lane in "ab":
        await client.send(create(f"WAIT 10\nCALL {lane} {{}}", conversation="conv_1", stream_id=lane))
    turns = await client.turns(2)
    outputs = [item for turn in turns for item in turn.outputs("x")]

    turn = await client.ask([*outputs, {"role": "user", "content": "hi"}], conversation="conv_1")

    assert turn.text == "echo: hi"


async def test_previous_response_id_and_conversation_exclude_each_other(connect):
    client = await connect()
    parent = await client.ask("hi")

    refused = await client.ask("x", previous_response_id=parent.id, conversation="conv_1")

    assert refused.error["status"] == 400
    assert refused.error["type"] == "invalid_request_error"
    assert "previous_response_id" in refused.error["message"]
    assert "conversation" in refused.error["message"]


def test_conversations_are_bounded():
    store = ConversationStore(2)
    for name in "abc":
        store.add(name, Conversation().extended([{"type": "x", "name": name}]), parent=store.get(name))

    assert len(store) == 2
    assert [len(store.get(name)) for name in "abc"] == [0, 1, 1]


def test_what_is_added_to_a_conversation_meanwhile_is_kept():
    store = ConversationStore()
    parent = store.get("a")
    one, two = ([{"type": "x", "n": n}] for n in (1, 2))
    store.add("a", parent.extended(one, 5), parent=parent)
    store.add("a", parent.extended(two, 7), parent=parent)

    assert list(store.get("a")) == [*one, *two]
    assert store.get("a").size == 12


async def test_evicting_waits_for_nothing(connect, autojump_clock):
    client = await connect()
    parent = await client.ask("hi")
    await client.send(create(3, previous_response_id=parent.id))
    await client.send(create("more", previous_response_id=parent.id))

    turns = await client.turns(2)

    assert [turn.error["code"] for turn in turns] == ["invalid_type", NOT_FOUND]
    assert trio.current_time() == 0
