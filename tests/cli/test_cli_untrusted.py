"""What others wrote, as a terminal and a log may see it."""

from __future__ import annotations

import pytest

from triplane.cli.untrusted import masked, named, one_line, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b2Jcleared", "cleared"),
        ("\x1b]0;title\x07shown", "]0;titleshown"),
        ("\x1b]never ended", "]never ended"),
        ("\x1b[never ended", "ever ended"),
        ("\x1bcreset", "creset"),
        ("over\rwritten\x08\x7f", "overwritten"),
        ("abc\u202etxt.exe", "abctxt.exe"),
        ("kept\ttab\nand line", "kept\ttab\nand line"),
        ("lone \udcff byte", "lone  byte"),
        ("日本語 é ✓", "日本語 é ✓"),
    ],
)
def test_nothing_is_left_that_a_terminal_obeys(text: str, shown: str) -> None:
    assert shown == plain(text)


def test_a_sequence_cut_into_pieces_does_nothing() -> None:
    """Deltas arrive in pieces; whatever each piece leaves must be harmless together."""
    whole = "\x1b[2J\x1b]52;c;aGk=\x07done"

    shown = "".join(plain(letter) for letter in whole)

    assert shown.isprintable()
    assert shown.endswith("done")


def test_one_line_is_one_line_and_not_long() -> None:
    assert "a b c" == one_line("a\n  b\r\n\tc\n")
    assert "x" * 9 + "…" == one_line("x" * 11, 10)
    assert "x" * 10 == one_line("x" * 10, 10)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.txt", "plain.txt"),
        ("日本語", "日本語"),
        ("two\nlines", "two\\nlines"),
        ("esc\x1b[31m", "esc\\x1b[31m"),
        ("bad\udcff", "bad\\xff"),
    ],
)
def test_names_are_shown_on_one_line(name: str, shown: str) -> None:
    assert shown == named(name)


def test_secrets_are_masked_and_short_words_are_not() -> None:
    assert "key [secret], [secret]!" == masked("key sk-12345678, sk-12345678!", ("sk-12345678",))
    assert "banana" == masked("banana", ("a",))
