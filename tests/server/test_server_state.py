"""Conversations and caches, without any server around them."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from triplane.server.conversation import Conversation, item_text
from triplane.server.errors import Refused
from triplane.server.store import ResponseStore, StoredResponse

call_ids = st.sampled_from(["a", "b", "c"])
items = st.lists(
    st.one_of(
        st.builds(lambda text: {"role": "user", "content": text}, st.text(max_size=2)),
        st.builds(lambda call_id: {"type": "function_call", "call_id": call_id}, call_ids),
        st.builds(lambda call_id: {"type": "function_call", "call_id": call_id, "async": True}, call_ids),
        st.builds(lambda call_id: {"type": "function_call_output", "call_id": call_id}, call_ids),
        st.just({"type": "reasoning"}),
    ),
    max_size=4,
)


def naive(history):
    """What a conversation of these items should know; None if they do not make one."""
    seen, open_calls = [], []
    last_user, calls = None, 0
    for index, item in enumerate(history):
        kind = item.get("type", "message")
        if kind == "message":
            last_user, calls = index, 0
        elif kind == "function_call":
            calls += 1
            seen.append(item["call_id"])
            if not item.get("async"):
                open_calls.append(item["call_id"])
        elif kind == "function_call_output":
            if item["call_id"] not in seen:
                return None
            open_calls = [call_id for call_id in open_calls if call_id != item["call_id"]]
    return last_user, calls, bool(open_calls)


class Conversations(RuleBasedStateMachine):
    """Any tree of continuations, refused ones included, behaves as if every conversation were its own list."""

    known = Bundle("known")

    def __init__(self):
        super().__init__()
        self.all = []

    @rule(target=known)
    def begin(self):
        return Conversation(), []

    @rule(target=known, parent=known, new=items, size=st.integers(0, 9))
    def extend(self, parent, new, size):
        conversation, history = parent
        if naive([*history, *new]) is None:
            with pytest.raises(Refused):
                conversation.extended(new, size)
            return parent
        extended = conversation.extended(new, size)
        assert extended.size == conversation.size + size
        made = extended, [*history, *new]
        self.all.append(made)
        return made

    @invariant()
    def all_are_what_they_were(self):
        for conversation, history in self.all:
            assert list(conversation) == history
            assert len(conversation) == len(history)
            assert list(reversed(conversation)) == history[::-1]
            last_user, calls, is_open = naive(history)
            assert (conversation.last_user, conversation.calls_since_user) == (last_user, calls)
            assert conversation.since_user() == (history if last_user is None else history[last_user + 1 :])
            assert conversation.user_text == ("" if last_user is None else history[last_user]["content"])
            if is_open:
                with pytest.raises(Refused):
                    conversation.check_answered()
            else:
                conversation.check_answered()


TestConversations = Conversations.TestCase
TestConversations.settings = settings(stateful_step_count=20)


def test_indexes_and_slices():
    numbers = [{"type": "x", "n": n} for n in range(5)]
    conversation = Conversation().extended(numbers[:3])
    conversation.extended(numbers[3:])  # shares the list

    assert [conversation[n] for n in range(-3, 3)] == numbers[:3] * 2
    assert conversation[1:] == numbers[1:3]
    assert conversation[::-2] == numbers[2::-2]
    for index in (3, -4):
        with pytest.raises(IndexError):
            conversation[index]


def test_the_first_open_call_is_named():
    conversation = Conversation().extended(
        [{"type": "function_call", "call_id": "z"}, {"type": "custom_tool_call", "call_id": "a"}]
    )

    with pytest.raises(Refused, match=r"^No tool output found for function call z\.$"):
        conversation.check_answered()
    conversation = conversation.extended([{"type": "function_call_output", "call_id": "z"}])
    with pytest.raises(Refused, match=r"^No tool output found for custom tool call a\.$"):
        conversation.check_answered()


def test_a_chain_does_not_copy():
    conversation = first = Conversation().extended([{"type": "x"}])
    for _ in range(100):
        conversation = conversation.extended([{"type": "x"}])

    assert conversation._items is first._items
    assert first.extended([{"type": "fork"}])._items is not first._items


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"content": "a"}, "a"),
        ({"output": "a"}, "a"),
        ({"content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}, "a\nb"),
        ({"output": [{"type": "input_image"}, "odd", {"text": 3}, {"text": "b"}]}, "b"),
        ({"content": None}, ""),
        ({}, ""),
    ],
)
def test_item_text(item, text):
    assert item_text(item) == text


def test_the_store_holds_what_it_was_told_to():
    store = ResponseStore(2)
    first, second, third = (StoredResponse(Conversation(), {}, []) for _ in range(3))
    store.put("1", first)
    store.put("2", second)
    assert store.get("1") is first
    store.put("3", third)

    assert [store.get(key) for key in "123"] == [first, None, third]
    assert len(store) == 2


def test_a_store_of_nothing():
    store = ResponseStore(0)
    store.put("1", StoredResponse(Conversation(), {}, []))

    assert store.get("1") is None
