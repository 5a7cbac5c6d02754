"""An error in words."""

from __future__ import annotations

import typing

import pytest

from triplane import ConnectionLost, Effect, Receipt
from triplane.cli import failures
from triplane.cli.failures import Failure, explain
from triplane.core.errors import SafeNext, Sent


def test_a_failure_names_its_class_and_what_is_safe_next() -> None:
    effects = (Effect("c1", "read_text", "ok"), Effect("c2", "run_command", "unknown"))
    error = ConnectionLost(
        "the peer went away", receipt=Receipt(sent="accepted", effects=effects, next="inspect")
    )

    first, second = explain(error).lines()

    assert "ConnectionLost: the peer went away" == first
    assert (
        "the server had begun to answer; 2 tool calls had started, outcome unknown of run_command; safe next: "
        "find out what the calls with an unknown outcome did before running it again" == second
    )


def test_untrusted_words_cannot_command_the_terminal() -> None:
    effects = (Effect("c1", "\x1b[2Jevil", "unknown"),)
    error = ConnectionLost("closed:\x1b]0;x\x07\nsecond line", receipt=Receipt(effects=effects))

    text = "".join(explain(error).lines())

    assert text.isprintable()


def test_many_unknown_outcomes_are_cut() -> None:
    effects = tuple(Effect(f"c{number}", f"tool{number}", "unknown") for number in range(7))

    known = explain(ConnectionLost("x", receipt=Receipt(effects=effects))).known

    assert (
        "7 tool calls had started, outcome unknown of tool0, tool1, tool2, tool3, tool4 and 2 more" in known
    )


def test_an_incomplete_run_has_no_advice() -> None:
    assert (
        "incomplete: the model stopped before it was done (max_output_tokens)",
        "the server had answered",
    ) == Failure.incomplete("max_output_tokens").lines()
    assert "no reason given" in Failure.incomplete("").message


@pytest.mark.parametrize(("table", "words"), [("_SENT", Sent), ("_NEXT", SafeNext)])
def test_every_word_of_a_receipt_has_a_sentence(table: str, words: object) -> None:
    assert set(typing.get_args(words)) == set(getattr(failures, table))
