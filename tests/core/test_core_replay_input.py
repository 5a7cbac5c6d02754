"""What of a conversation is sent again: everything as it came, except what a server would reject."""

from __future__ import annotations

import copy
import itertools

import pytest
from core_wire import answer, call, message, reasoning, user
from hypothesis import given
from hypothesis import strategies as st

from triplane.core.items import CLIENT_CALLS, is_answer, is_cut_off, is_for_client, is_from_model, pair_of
from triplane.core.replay_input import replay_input, tidy, unanswered_calls

COMPACTION = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA", "created_by": None}
CUT_OFF = call("call_2", '{"a', identity="fc_2", status="incomplete")
UPDATE = {"type": "configuration_update", "reasoning": {"effort": "low"}}


def test_a_conversation_goes_back_as_it_came() -> None:
    history = [
        user("Hi"),
        {"role": "user", "content": "short form"},
        reasoning(content=None, vendor={"deep": [1]}),
        message("Let me look.", phase="commentary"),
        call(),
        answer(),
        {"type": "something_newer", "id": "n", "x": None},
        message("There.", "msg_2"),
    ]
    before = copy.deepcopy(history)
    again = replay_input(history)

    assert again == before
    assert all(one is other for one, other in zip(again, history, strict=True)), "not even copied"
    assert history == before


# Compaction.


def test_it_begins_at_the_latest_compaction_which_is_not_touched() -> None:
    first = {**COMPACTION, "id": "cmp_0"}
    history = [
        user("Hi"),
        message("a"),
        first,
        user("b"),
        message("c", "msg_2"),
        COMPACTION,
        message("d", "msg_3"),
        user("e"),
    ]

    assert replay_input(history) == history[5:]
    assert replay_input(history)[0] is COMPACTION


@pytest.mark.parametrize("content", [None, 3, ...])
def test_a_compaction_that_was_not_finished_stands_for_nothing(content) -> None:
    begun = (
        {"type": "compaction", "id": "cmp_2"}
        if content is ...
        else {**COMPACTION, "id": "cmp_2", "encrypted_content": content}
    )

    assert replay_input([user("Hi"), message("a"), begun]) == [user("Hi"), message("a")]
    assert replay_input([user("Hi"), COMPACTION, user("b"), begun]) == [COMPACTION, user("b")]


def test_an_answer_whose_call_is_before_the_compaction_is_left_out() -> None:
    assert replay_input([call(), COMPACTION, answer(), user("a")]) == [COMPACTION, user("a")]


def test_a_trigger_that_has_done_its_work_is_left_out() -> None:
    trigger = {"type": "compaction_trigger"}

    assert replay_input([user("a"), trigger, message("b")]) == [user("a"), message("b")]
    assert replay_input([user("a"), trigger]) == [user("a"), trigger]


# Repetitions.


def test_an_item_with_the_same_id_comes_once() -> None:
    assert replay_input([message("a"), message("b"), message("c", "msg_2")]) == [
        message("a"),
        message("c", "msg_2"),
    ]


def test_a_call_and_its_answer_come_once() -> None:
    history = [call(), answer(), call(identity="fc_9"), answer(output="again"), user("a"), user("a")]

    assert replay_input(history) == [call(), answer(), user("a"), user("a")]


def test_calls_of_different_types_may_have_the_same_id() -> None:
    other = {"type": "custom_tool_call", "id": "fc_1", "call_id": "call_1", "name": "x", "input": ""}
    reply = {"type": "custom_tool_call_output", "call_id": "call_1", "output": ""}
    history = [call(), other, answer(), reply]

    assert replay_input(history) == history


@pytest.mark.parametrize("identity", [None, "", 3])
def test_items_without_an_id_are_different_items(identity) -> None:
    history = [message("a", identity), message("a", identity)]

    assert replay_input(history) == history


# Calls that nobody can answer, and answers to nothing.


def test_a_call_that_was_cut_off_is_left_out_with_the_reasoning_that_led_to_it() -> None:
    history = [user("Hi"), message("a"), reasoning(), CUT_OFF, user("Well?")]

    assert replay_input(history) == [user("Hi"), message("a"), user("Well?")]


def test_reasoning_that_led_to_more_than_what_was_cut_off_stays() -> None:
    assert replay_input([reasoning(), call(), CUT_OFF, answer()]) == [reasoning(), call(), answer()]


def test_the_servers_own_calls_stay_whatever_became_of_them() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "incomplete"}

    assert replay_input([reasoning(), search]) == [reasoning(), search]


def test_an_answer_to_a_call_that_is_not_there_is_left_out() -> None:
    assert replay_input([answer("call_9"), call(), answer()]) == [call(), answer()]
    assert replay_input([answer(), call()]) == [call()], "nor one before its call"
    assert replay_input([user("a"), {"type": "function_call_output", "output": "x"}]) == [user("a")]


# Reasoning and what it led to.


@pytest.mark.parametrize(
    "led_to", [message("a"), call(), COMPACTION, {"type": "mcp_call", "id": "m"}, {"type": "newer"}]
)
def test_reasoning_stays_with_what_it_led_to(led_to) -> None:
    history = [reasoning("rs_1"), reasoning("rs_2"), led_to]

    assert replay_input([*history, *([answer()] if led_to == call() else [])])[: len(history)] == (
        history if led_to is not COMPACTION else [COMPACTION]
    )


@pytest.mark.parametrize(
    "follows", [[], [user("b")], [UPDATE], [{"type": "mcp_approval_response", "approve": True}]]
)
def test_reasoning_that_led_to_nothing_is_left_out(follows) -> None:
    history = [user("a"), reasoning("rs_1"), reasoning("rs_2"), *follows]

    assert replay_input(history) == [user("a"), *follows]


# Tidying.


def test_an_id_that_is_too_long_is_left_out_and_nothing_else() -> None:
    assert tidy([message("a", "x" * 64)]) == [message("a", "x" * 64)]

    (item,) = tidy([message("a", "x" * 65, vendor=None)])
    assert item == {key: value for key, value in message("a", vendor=None).items() if key != "id"}


@pytest.mark.parametrize("kind", ["item_reference", "local_shell_call_output", "mcp_approval_request"])
def test_an_id_that_is_what_the_item_is_about_stays(kind) -> None:
    assert tidy([{"type": kind, "id": "x" * 65}]) == [{"type": kind, "id": "x" * 65}]


def test_two_configuration_updates_in_a_row_become_one() -> None:
    second = {"type": "configuration_update", "text": {"format": {"type": "text"}}}
    third = {"type": "configuration_update", "reasoning": {"effort": "high"}}

    assert tidy([UPDATE, second, third, user("a"), UPDATE]) == [{**second, **third}, user("a"), UPDATE]
    assert UPDATE == {"type": "configuration_update", "reasoning": {"effort": "low"}}, (
        "the log is not changed"
    )


def test_updates_that_come_to_stand_in_a_row_become_one() -> None:
    history = [UPDATE, reasoning(), {**UPDATE, "reasoning": {"effort": "high"}}]

    assert replay_input(history) == [{**UPDATE, "reasoning": {"effort": "high"}}]


# Facts about items.


@pytest.mark.parametrize("kind", CLIENT_CALLS)
def test_a_call_and_its_answer_are_a_pair(kind) -> None:
    one = {"type": kind, "call_id": "c", "execution": "client"}
    other = {"type": CLIENT_CALLS[kind], "call_id": "c"}

    assert pair_of(one) == pair_of(other) == (kind, "c")
    assert is_for_client(one)
    assert is_from_model(one)
    assert is_answer(other)
    assert not is_answer(one)
    assert not is_from_model(other)
    assert unanswered_calls([one], []) == ("c",)
    assert unanswered_calls([one], [other]) == ()


def test_the_answer_to_a_local_shell_call_names_it_by_id() -> None:
    assert pair_of({"type": "local_shell_call_output", "id": "c"}) == ("local_shell_call", "c")
    assert pair_of({"type": "function_call_output", "id": "c"}) is None


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"type": None},
        {"type": ["x"]},
        {"type": "function_call"},
        message("a"),
        {"type": "function_call", "call_id": 3},
    ],
    ids=repr,
)
def test_other_items_have_no_pair(item) -> None:
    assert pair_of(item) is None


@pytest.mark.parametrize(
    ("item", "ours"),
    [
        ({"type": "shell_call", "call_id": "c"}, True),
        ({"type": "shell_call", "call_id": "c", "environment": None}, True),
        ({"type": "shell_call", "call_id": "c", "environment": {"type": "local"}}, True),
        ({"type": "shell_call", "call_id": "c", "environment": {"type": "container_reference"}}, False),
        ({"type": "tool_search_call", "call_id": "c", "execution": "server"}, False),
        ({"type": "tool_search_call", "call_id": "c"}, False),
        ({"type": "mcp_call", "call_id": "c"}, False),
        ({"type": ["function_call"]}, False),
    ],
)
def test_which_calls_are_the_clients(item, ours) -> None:
    assert is_for_client(item) is ours
    assert unanswered_calls([item], []) == (("c",) if ours else ())


@pytest.mark.parametrize(
    ("item", "from_model"),
    [
        (message("a"), True),
        (user("a"), False),
        ({"role": "assistant", "content": "short"}, True),
        ({"role": "developer", "content": "short"}, False),
        (reasoning(), True),
        ({"type": "item_reference", "id": "x"}, False),
        ({"type": "newer"}, True),
        ({"type": ["x"]}, True),
    ],
)
def test_whose_items_are_whose(item, from_model) -> None:
    assert is_from_model(item) is from_model


def test_only_what_says_so_is_cut_off() -> None:
    assert is_cut_off({"status": "incomplete"})
    assert not any(
        map(is_cut_off, [{}, {"status": None}, {"status": "in_progress"}, {"status": "completed"}])
    )


# Laws.

ITEMS = st.one_of(
    st.builds(user, st.sampled_from("ab")),
    st.builds(message, st.just("a"), st.sampled_from(["msg_1", "msg_2", "x" * 65])),
    st.builds(reasoning, st.sampled_from(["rs_1", "rs_2", "rs_3"])),
    st.builds(
        lambda n, status: call(f"call_{n}", identity=f"fc_{n}", status=status),
        st.integers(0, 3),
        st.sampled_from(["completed", "incomplete"]),
    ),
    st.builds(lambda n: answer(f"call_{n}"), st.integers(0, 3)),
    st.sampled_from([COMPACTION, UPDATE, {"type": "compaction_trigger"}, {"type": "newer"}]),
)


@given(st.lists(ITEMS, max_size=12))
def test_what_is_replayed_keeps_its_order_and_can_be_replayed_again(history) -> None:
    once = replay_input(history)
    kinds = [item.get("type") for item in once]

    assert replay_input(once) == once
    assert all(one != other or one != "configuration_update" for one, other in itertools.pairwise(kinds))
    assert kinds.count("compaction") <= 1
    assert "compaction" not in kinds[1:]
    assert not any(is_for_client(item) and is_cut_off(item) for item in once)
    pairs = [(item["type"], pair) for item in once if (pair := pair_of(item))]
    assert len(pairs) == len(set(pairs))
    for place, item in enumerate(once):
        assert len(item.get("id", "")) <= 64
        if is_answer(item):
            assert pair_of(item) in [pair_of(other) for other in once[:place]]
        if item["type"] == "reasoning":
            assert is_from_model(next(other for other in once[place:] if other["type"] != "reasoning"))
