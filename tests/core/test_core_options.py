"""Options: their defaults are valid, and what cannot work is refused by name before anything starts."""

from __future__ import annotations

import math

import attrs
import pytest

from triplane.core.errors import ConfigError
from triplane.core.options import EngineOptions, RunLimits

SECONDS = [
    "acquire_timeout",
    "dns_timeout",
    "tcp_timeout",
    "proxy_timeout",
    "tls_timeout",
    "upgrade_timeout",
    "refresh_timeout",
    "dial_rate",
    "heartbeat_interval",
    "heartbeat_timeout",
    "send_timeout",
    "first_event_timeout",
    "idle_timeout",
    "steer_timeout",
    "fork_timeout",
    "close_timeout",
    "close_grace",
    "websocket_retry_interval",
    "backoff_base",
    "backoff_limit",
]
COUNTS = [
    "max_connections",
    "lanes_per_connection",
    "max_lane_buffer",
    "max_connection_buffer",
    "max_waiters",
    "dial_attempts",
    "dial_burst",
    "max_message_size",
    "max_request_size",
    "max_unread",
    "max_turns",
    "max_tool_calls",
    "repeated_failure",
]
COUNTS_OR_INFINITE = ["max_tool_concurrency"]
COUNTS_FROM_ZERO = ["replay_attempts", "spare_connections"]
SECONDS_OR_NONE = ["forbidden_delay"]
SECONDS_FROM_ZERO = ["drain_timeout"]
WORDS = ["ambiguous_sends", "slow_lane"]
FLAGS = ["strict", "rewarm"]


def make(name: str, value: object) -> object:
    cls = RunLimits if name in {field.name for field in attrs.fields(RunLimits)} else EngineOptions
    return getattr(cls(**{name: value}), name)


def test_every_option_is_a_kind_that_is_tested_here() -> None:
    names = {field.name for cls in (EngineOptions, RunLimits) for field in attrs.fields(cls)}

    assert names == {
        *SECONDS,
        *COUNTS,
        *COUNTS_OR_INFINITE,
        *COUNTS_FROM_ZERO,
        *SECONDS_OR_NONE,
        *SECONDS_FROM_ZERO,
        *WORDS,
        *FLAGS,
    }


@pytest.mark.parametrize("cls", [EngineOptions, RunLimits])
def test_every_option_is_documented(cls) -> None:
    documented = [line.strip().split(":")[0] for line in cls.__doc__.splitlines() if ": " in line]

    assert [field.name for field in attrs.fields(cls) if field.name not in documented] == []


@pytest.mark.parametrize("name", [*SECONDS, *SECONDS_OR_NONE])
@pytest.mark.parametrize("value", [0.001, 1, 2.5, math.inf])
def test_seconds_may_be_whole_broken_or_infinite(name: str, value: float) -> None:
    assert make(name, value) == value


@pytest.mark.parametrize("name", [*SECONDS, *SECONDS_OR_NONE, *SECONDS_FROM_ZERO])
def test_seconds_that_no_clock_can_count_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is larger than any float"):
        make(name, 10**400)


@pytest.mark.parametrize(
    "name", [name for name in (*COUNTS, *COUNTS_FROM_ZERO) if name != "lanes_per_connection"]
)
@pytest.mark.parametrize("value", [1, 2**40, 10**400])
def test_counts_may_be_large(name: str, value: int) -> None:
    assert make(name, value) == value


@pytest.mark.parametrize("name", COUNTS_OR_INFINITE)
@pytest.mark.parametrize("value", [1, 100, math.inf])
def test_counts_may_be_infinite(name: str, value: float) -> None:
    assert make(name, value) == value


@pytest.mark.parametrize("name", SECONDS_OR_NONE)
def test_what_may_be_left_out_is_none(name: str) -> None:
    assert make(name, None) is None


def test_replays_may_be_switched_off() -> None:
    assert EngineOptions(replay_attempts=0).replay_attempts == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in SECONDS for value in (0, -1, math.nan, -math.inf, "1", None, True)]
    + [(name, value) for name in SECONDS_OR_NONE for value in (0, -1, math.nan, "1", True)]
    + [(name, value) for name in COUNTS for value in (0, -1, 1.0, math.inf, "1", None, True)]
    + [(name, value) for name in COUNTS_OR_INFINITE for value in (0, -1, 1.0, math.nan, "1", None, True)]
    + [(name, value) for name in COUNTS_FROM_ZERO for value in (-1, 1.0, None, False)]
    + [(name, value) for name in SECONDS_FROM_ZERO for value in (-1, math.nan, "1", None, True)]
    + [(name, value) for name in WORDS for value in ("", "always", None, True, ["raise"])]
    + [(name, value) for name in FLAGS for value in (0, 1, "yes", None)],
)
def test_what_cannot_work_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{name} must be ") as caught:
        make(name, value)

    assert caught.value.receipt.next == "change"
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("word", ["replay_if_harmless", "replay", "raise"])
def test_ambiguous_sends_have_three_ways(word) -> None:
    assert make("ambiguous_sends", word) == word


def test_options_are_frozen_and_by_keyword_only() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        EngineOptions().max_connections = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        EngineOptions(4)  # type: ignore[misc]
