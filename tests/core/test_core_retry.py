"""The replay boundary: one test for each row of its tables, and how a response comes to be in one."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from core_wire import call, completed, created, done, error, event, failed, fold, incomplete, text_delta
from hypothesis import given
from hypothesis import strategies as st

from triplane.core.errors import CloseInfo, Effect
from triplane.core.records import UndecodableFrame
from triplane.core.retry import (
    BOUNDARIES,
    CLOSES,
    LANE_BOUNDARIES,
    VERDICTS,
    Boundary,
    Moment,
    Verdict,
    delay_before,
    has_server_effects,
    judge_close,
    judge_server_error,
    may_replay,
    moment_of,
    safe_next,
)
from triplane.core.turn import TurnAccumulator

# Written out once more, so that a change of the tables has to be meant.
RUN = """
               replay  retract  ambiguous  sent       next
unsent         yes     -        -          nothing    retry
ambiguous      yes     -        yes        ambiguous  resume
rejected       yes     -        -          finished   resume
accepted       yes     -        yes        accepted   resume
shown          yes     yes      yes        accepted   resume
call_finished  yes     yes      yes        accepted   resume
failed         yes     yes      yes        finished   resume
finished       -       -        -          finished   resume
"""
LANE = """
               replay  retract  ambiguous  sent       next
unsent         -       -        -          nothing    retry
ambiguous      -       -        yes        ambiguous  inspect
rejected       -       -        -          finished   retry
accepted       -       -        yes        accepted   inspect
shown          -       -        yes        accepted   inspect
call_finished  -       -        yes        accepted   inspect
failed         -       -        yes        finished   inspect
finished       -       -        -          finished   inspect
"""


def rows(table: str) -> list[tuple[str, Boundary]]:
    _, *lines = [line.split() for line in table.strip().splitlines()]
    return [
        (moment, Boundary(replay == "yes", retract == "yes", ambiguous == "yes", sent, after))  # type: ignore[arg-type]
        for moment, replay, retract, ambiguous, sent, after in lines
    ]


@pytest.mark.parametrize(("moment", "boundary"), rows(RUN))
def test_what_a_run_may_do(moment: Moment, boundary: Boundary) -> None:
    assert BOUNDARIES[moment] == boundary


@pytest.mark.parametrize(("moment", "boundary"), rows(LANE))
def test_what_a_bare_lane_may_do(moment: Moment, boundary: Boundary) -> None:
    assert LANE_BOUNDARIES[moment] == boundary


def test_the_tables_have_a_row_for_each_moment() -> None:
    assert list(BOUNDARIES) == list(LANE_BOUNDARIES) == list(get_args(Moment))


def test_a_bare_lane_never_replays_and_is_never_less_careful_than_a_run() -> None:
    # A run has a log to resume from, and a lane has not: both do the same again.
    careful = {"retry": 0, "resume": 0, "change": 1, "inspect": 2}
    for moment, boundary in LANE_BOUNDARIES.items():
        run = BOUNDARIES[moment]

        assert not boundary.replay
        assert (boundary.sent, boundary.ambiguous) == (run.sent, run.ambiguous)
        assert careful[boundary.next] >= careful[run.next]


@pytest.mark.parametrize(
    ("events", "sending_began", "moment"),
    [
        ([], False, "unsent"),
        ([], True, "ambiguous"),
        ([event("keepalive")], True, "ambiguous"),
        ([error()], True, "rejected"),
        ([UndecodableFrame("invalid_json", "{")], True, "ambiguous"),
        ([created(), UndecodableFrame("invalid_json", "{"), completed([])], True, "accepted"),
        ([created(), done(call()), UndecodableFrame("x", "{"), completed([])], True, "call_finished"),
        ([created()], True, "accepted"),
        ([created(), error()], True, "accepted"),
        ([created(), text_delta("a")], True, "shown"),
        ([text_delta("a")], True, "shown"),
        ([created(), text_delta("a"), error()], True, "shown"),
        ([text_delta("a"), error()], True, "shown"),
        ([created(), event("response.audio.delta", delta="UklG")], True, "shown"),
        (
            [created(), event("response.web_search_call.searching", item_id="i", output_index=0)],
            True,
            "shown",
        ),
        ([created(), done(call())], True, "call_finished"),
        ([created(), done(call()), error()], True, "call_finished"),
        ([created(), done(call()), completed([])], True, "finished"),
        ([created(), incomplete("max_output_tokens")], True, "finished"),
        ([created(), failed()], True, "failed"),
        ([created(), done(call()), failed()], True, "failed"),
    ],
)
def test_how_far_a_request_got(events, sending_began, moment) -> None:
    assert moment_of(fold(*events), sending_began=sending_began) == moment

    turn = TurnAccumulator()
    for each in events:
        turn.apply(each)
    assert moment_of(turn, sending_began=sending_began) == moment


def test_a_successor_that_has_not_begun_was_asked_for() -> None:
    turn = TurnAccumulator()
    for each in (created(), incomplete("steered")):
        turn.apply(each)

    assert moment_of(turn, sending_began=True) == "ambiguous"

    turn.apply(created("resp_2"))
    assert moment_of(turn, sending_began=True) == "accepted"


# What the server does on its own.


@pytest.mark.parametrize(
    ("request_", "effects"),
    [
        ({}, False),
        ({"tools": None}, False),
        ({"tools": "mcp"}, False),
        ({"tools": ["mcp", None]}, False),
        ({"tools": [{"type": "function"}, {"type": "web_search"}, {"type": "image_generation"}]}, False),
        ({"tools": [{"type": "function"}, {"type": "mcp"}]}, True),
        ({"tools": ({"type": "code_interpreter"},)}, True),
        ({"tools": [{"type": "shell"}]}, True),
        ({"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, True),
        ({"tools": [{"type": "shell", "environment": {"type": "local"}}]}, False),
        ({"tools": [{"type": "web_search_preview_2025_03_11"}, {"type": "custom"}]}, False),
        ({"tools": [{"type": "computer_use_preview"}, {"type": "apply_patch"}]}, False),
        ({"tools": [{"type": "namespace", "tools": [{"type": "function"}]}]}, False),
        ({"tools": [{"type": "namespace", "tools": [{"type": "mcp"}]}]}, True),
        # What is not known may act.
        ({"tools": [{"type": "time_machine"}]}, True),
        ({"tools": [{}]}, True),
        ({"tools": [{"type": 7}]}, True),
        ({"conversation": None}, False),
        ({"conversation": "conv_1"}, True),
        ({"conversation": {"id": "conv_1"}}, True),
        ({"store": True}, False),
    ],
)
def test_which_requests_make_something_happen_on_the_server(request_, effects) -> None:
    assert has_server_effects(request_) is effects


@pytest.mark.parametrize("moment", get_args(Moment))
def test_what_may_have_happened_on_the_server_is_not_made_to_happen_again(moment: Moment) -> None:
    boundary = BOUNDARIES[moment]

    assert may_replay(boundary, server_effects=False) is boundary.replay
    assert may_replay(boundary, server_effects=True) is (moment in ("unsent", "rejected"))
    assert may_replay(LANE_BOUNDARIES[moment], server_effects=False) is False


@pytest.mark.parametrize("moment", get_args(Moment))
@pytest.mark.parametrize("server_effects", [False, True])
def test_who_calls_decides_about_ambiguous_sends_and_about_nothing_else(moment, server_effects) -> None:
    boundary = BOUNDARIES[moment]
    replays = may_replay(boundary, server_effects=server_effects, ambiguous_sends="replay")
    raises = may_replay(boundary, server_effects=server_effects, ambiguous_sends="raise")

    assert boundary.replay is replays
    assert (boundary.replay and not boundary.ambiguous) is raises


@pytest.mark.parametrize(
    ("moment", "server_effects", "outcomes", "safe"),
    [
        ("unsent", False, [], "retry"),
        ("unsent", True, [], "retry"),
        ("unsent", False, ["ok"], "resume"),
        ("ambiguous", False, [], "resume"),
        ("ambiguous", True, [], "inspect"),
        ("failed", True, [], "inspect"),
        ("rejected", True, [], "resume"),
        ("finished", True, ["ok", "failed", "timed_out", "truncated"], "resume"),
        ("finished", False, ["ok", "unknown"], "inspect"),
        ("finished", False, ["cancelled"], "inspect"),
        ("shown", False, ["interrupted"], "inspect"),
    ],
)
def test_what_may_have_happened_without_our_knowledge_is_to_be_looked_into(
    moment: Moment, server_effects, outcomes, safe
) -> None:
    effects = [Effect(f"call_{place}", "t", outcome) for place, outcome in enumerate(outcomes)]

    assert safe_next(BOUNDARIES[moment], server_effects=server_effects, effects=effects) == safe


# What a close means.

PASSING = {1000, 1001, 1005, 1006, 1011, 1014, 1015}
LATER = {1012, 1013}


@pytest.mark.parametrize("code", [*range(1000, 1017), 2999, 3000, 4401, 4999])
def test_what_the_peer_closes_with_decides(code: int) -> None:
    expected = "new_connection" if code in PASSING else "back_off" if code in LATER else "give_up"

    assert judge_close(CloseInfo(code, "", "peer")) == expected


@pytest.mark.parametrize("code", CLOSES)
@pytest.mark.parametrize("by", ["us", "network"])
def test_what_we_closed_for_need_not_come_again_unless_it_was_too_big(code: int, by) -> None:
    assert judge_close(CloseInfo(code, "", by)) == ("give_up" if code == 1009 else "new_connection")


# What a server's error means.


@pytest.mark.parametrize("code", VERDICTS)
@pytest.mark.parametrize("status", [None, 400, 429, 500])
def test_a_known_code_has_the_first_word(code: str, status) -> None:
    assert VERDICTS[code] in get_args(Verdict)
    assert judge_server_error(code, status, "server_error", param="input", continues=True) == VERDICTS[code]


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("previous_response_not_found", "resend_full"),
        ("websocket_connection_limit_reached", "new_connection"),
        ("websocket_stream_limit_reached", "new_connection"),
        ("rate_limit_exceeded", "back_off"),
        ("server_is_overloaded", "back_off"),
        ("insufficient_quota", "give_up"),
        ("context_length_exceeded", "give_up"),
        ("misalignment_policy_violation", "give_up"),
    ],
)
def test_the_codes_that_matter_most(code, verdict) -> None:
    assert judge_server_error(code, 400, None) == verdict


@pytest.mark.parametrize(
    ("code", "status", "kind", "verdict"),
    [
        (None, 408, None, "back_off"),
        (None, 409, "invalid_request_error", "back_off"),
        (None, 425, None, "back_off"),
        (None, 429, None, "back_off"),
        ("newer", 429, None, "back_off"),
        (None, 500, None, "back_off"),
        ("newer", 503, "x", "back_off"),
        (None, 599, None, "back_off"),
        # The stream broke off: no status, and often no code.
        (None, None, None, "back_off"),
        (None, None, "server_error", "back_off"),
        ("newer", None, "server_error", "back_off"),
        ("newer", None, None, "give_up"),
        (None, None, "invalid_request_error", "give_up"),
        (None, 400, "server_error", "give_up"),
        (None, 400, None, "give_up"),
        ("invalid_type", 400, "invalid_request_error", "give_up"),
        (None, 401, None, "give_up"),
        (None, 404, None, "give_up"),
    ],
)
def test_what_other_errors_mean(code, status, kind, verdict) -> None:
    assert judge_server_error(code, status, kind) == verdict


@pytest.mark.parametrize(
    ("code", "param", "continues", "verdict"),
    [
        (None, "input", True, "resend_full"),
        (None, "previous_response_id", True, "resend_full"),
        (None, "input", False, "give_up"),
        (None, "tools", True, "give_up"),
        (None, None, True, "give_up"),
        ("invalid_type", "input", True, "give_up"),
    ],
)
@pytest.mark.parametrize("status", [400, None])
def test_a_complaint_about_what_the_server_remembers_is_settled_by_full_input(
    code, param, continues, verdict, status
) -> None:
    kind = "invalid_request_error"

    assert judge_server_error(code, status, kind, param=param, continues=continues) == verdict


# How long to wait.


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(0, 0), (1, 0), (2, 0.5), (3, 1), (4, 2), (7, 16), (8, 30), (9, 30), (10**9, 30)]
)
def test_delays_double_up_to_a_limit(attempt: int, seconds: float) -> None:
    assert delay_before(attempt, base=0.5, limit=30, jitter=1) == seconds
    assert delay_before(attempt, base=0.5, limit=30, jitter=0) == 0.75 * seconds


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, 0), (0, 0), (-5, 0), (7, 7), (600, 30), (math.inf, 30)]
)
def test_what_the_server_asks_for_is_a_lower_bound_up_to_the_limit(asked, seconds) -> None:
    assert delay_before(1, base=0.5, limit=30, jitter=1, asked=asked) == seconds


def test_what_the_server_asks_for_does_not_shorten_a_delay() -> None:
    assert delay_before(4, base=0.5, limit=30, jitter=1, asked=1) == 2


@given(
    st.integers(1, 100),
    st.floats(0, 1),
    st.floats(0.001, 60),
    st.floats(0.001, 60),
    st.none() | st.floats(0, 1e6),
)
def test_delays_have_bounds(attempt, jitter, base, limit, asked) -> None:
    delay = delay_before(attempt, base=base, limit=limit, jitter=jitter, asked=asked)

    assert min(asked or 0, limit) <= delay <= limit
