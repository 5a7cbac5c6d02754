"""What is remembered of many things does not grow for ever, and what is in use is never forgotten."""

from __future__ import annotations

from triplane.core.remembered import Remembered


def test_each_is_made_once() -> None:
    made = []
    remembered = Remembered(lambda key: made.append(key) or [key])

    assert remembered["a"] is remembered["a"]
    assert ["b"] == remembered["b"]
    assert ["a", "b"] == made
    assert [["a"], ["b"]] == list(remembered)
    assert 2 == len(remembered)


def test_who_was_asked_for_longest_ago_goes_first() -> None:
    remembered = Remembered(lambda key: key, most=3)
    for key in "abcad":
        _ = remembered[key]

    assert ["c", "a", "d"] == list(remembered)


def test_what_is_in_use_stays_however_many_there_are() -> None:
    in_use = set("abcd")
    remembered = Remembered(lambda key: key, may_go=lambda value: value not in in_use, most=2)
    for key in "abcdef":
        _ = remembered[key]
    assert ["a", "b", "c", "d", "f"] == list(remembered)

    in_use.clear()
    _ = remembered["g"]
    assert ["f", "g"] == list(remembered)
