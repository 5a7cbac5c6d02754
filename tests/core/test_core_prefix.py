"""Codex's rule: what is sent for a caller that always gives the whole conversation."""

from __future__ import annotations

import pytest
from core_wire import answer, call, message, reasoning, user
from hypothesis import given
from hypothesis import strategies as st

from triplane.core.prefix import Baseline, PrefixPlan, plan_by_prefix

OUTPUT = (reasoning(), call())
FIRST = {"type": "response.create", "model": "gpt", "tools": [{"type": "function"}], "input": [user("Hi")]}
BASELINE = Baseline("c1", FIRST, "resp_1", OUTPUT)
WHOLE = [user("Hi"), *OUTPUT, answer()]


def ask(
    given: object = WHOLE, baseline: Baseline | None = BASELINE, connection: str = "c1", **changes: object
) -> PrefixPlan:
    return plan_by_prefix({**FIRST, "input": given, **changes}, connection, baseline)


def test_only_what_is_new_is_sent() -> None:
    assert ask() == PrefixPlan("resp_1", [answer()], "extends")


def test_items_may_come_in_a_tuple() -> None:
    assert ask(tuple(WHOLE)).input == (answer(),)


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (ask(baseline=None), "no_baseline"),
        (ask(connection="c2"), "connection_changed"),
        (ask(WHOLE[:-1]), "not_an_extension"),
        (ask(WHOLE[:-2]), "not_an_extension"),
        (ask([user("Ho"), *WHOLE[1:]]), "not_an_extension"),
        (ask([*WHOLE[:2], call(arguments='{"a":1}'), answer()]), "not_an_extension"),
        (ask([]), "not_an_extension"),
        (ask(None), "not_an_extension"),
        (ask("Hi"), "not_an_extension"),
        (ask(previous_response_id="resp_0"), "continues_itself"),
        (ask(conversation="conv_1"), "continues_itself"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_everything_is_sent_and_why(plan: PrefixPlan, reason: str) -> None:
    assert plan.reason == reason
    assert plan.previous_response_id is None


def test_what_is_sent_in_full_is_what_was_given() -> None:
    assert ask("Hi", baseline=None).input == "Hi"
    assert ask(None).input is None


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"model": "other"}, ("model",)),
        ({"tools": [{"type": "function", "name": "x"}]}, ("tools",)),
        ({"tools": None}, ("tools",)),
        ({"tools": []}, ("tools",)),
        ({"temperature": 1, "instructions": "Be brief."}, ("instructions", "temperature")),
        ({"store": True}, ("store",)),
        ({"metadata": {"a": "b"}}, ("metadata",)),
    ],
)
def test_settings_that_changed_are_named(changes, changed) -> None:
    assert ask(**changes) == PrefixPlan(None, WHOLE, "settings_changed", changed)


@pytest.mark.parametrize(
    "changes",
    [
        {"stream_id": "a"},
        {"client_metadata": {"turn": "2"}},
        {"generate": None},
        {"stream": True},
        {"previous_response_id": None, "conversation": None},
        {"temperature": None},
    ],
)
def test_what_is_no_setting_may_change(changes) -> None:
    assert ask(**changes).reason == "extends"


def test_text_is_a_message() -> None:
    baseline = Baseline("c1", {**FIRST, "input": "Hi"}, "resp_1", (message("Hello"),))

    assert ask([user("Hi"), message("Hello"), user("And?")], baseline).input == [user("And?")]


def test_nulls_that_a_client_added_say_nothing() -> None:
    """Clients with typed items write back a null for what was unset."""
    echoed = [
        user("Hi", status=None),
        {**OUTPUT[0], "content": None},
        {**OUTPUT[1], "caller": None},
        answer(),
    ]

    assert ask(echoed).input == [answer()]


@pytest.mark.parametrize("other", [True, 1.0, "1", [1], {"a": 1}, None])
def test_values_of_another_type_are_other_values(other) -> None:
    baseline = Baseline("c1", {**FIRST, "top_logprobs": 1}, "resp_1", OUTPUT)

    assert ask(baseline=baseline, top_logprobs=other).changed == ("top_logprobs",)
    assert ask(baseline=baseline, top_logprobs=1).reason == "extends"


def test_after_a_warm_up_there_may_be_nothing_new() -> None:
    warm_up = Baseline("c1", {**FIRST, "generate": False}, "resp_w", ())

    assert ask([user("Hi")], warm_up) == PrefixPlan("resp_w", [], "extends")
    assert ask([user("Hi"), user("b")], warm_up).input == [user("b")]


def test_after_an_answer_there_must_be_something_new() -> None:
    assert ask([user("Hi")], Baseline("c1", FIRST, "resp_1", ())).reason == "not_an_extension"


ITEMS = st.lists(st.sampled_from([user("a"), user("b"), message("c"), reasoning()]), max_size=5)


@given(ITEMS, ITEMS, ITEMS)
def test_what_is_sent_after_what_is_known_is_what_was_given(before, output, new) -> None:
    baseline = Baseline("c1", {**FIRST, "input": before}, "resp_1", tuple(output))
    plan = ask([*before, *output, *new], baseline)

    assert plan.reason == ("extends" if new else "not_an_extension")
    assert [*(before + output if new else []), *plan.input] == [*before, *output, *new]
