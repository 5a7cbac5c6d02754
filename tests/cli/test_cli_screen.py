"""Where commands write, and what happens when nobody reads."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from contextlib import contextmanager

import pytest
import trio

from triplane.cli.screen import Screen


async def test_text_goes_where_it_belongs_and_as_it_stands(capfd) -> None:
    screen = Screen()

    await screen.write("out", "\x1b[31mas it is\n")
    await screen.write("err", "a note\n")
    screen.say("a\x1b[2J line", style="red")

    captured = capfd.readouterr()
    assert "\x1b[31mas it is\n" == captured.out
    assert "a note\na line\n" == captured.err


async def test_secrets_are_masked_everywhere(capfd) -> None:
    screen = Screen(["sk-very-secret", None, ""])

    await screen.write("out", "key sk-very-secret\n")
    screen.say("refused: Bearer sk-very-secret")

    captured = capfd.readouterr()
    assert "key [secret]\n" == captured.out
    assert "refused: Bearer [secret]\n" == captured.err


async def test_streams_that_are_no_files_work_too(capsys) -> None:
    await Screen().write("out", "hello\n")

    assert "hello\n" == capsys.readouterr().out


@contextmanager
def pipe_as_stdout(monkeypatch):
    """Standard output as a pipe; yields the end that reads."""
    reader, writer = (os.fdopen(end, mode, 0) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    with reader, writer, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(writer, encoding="utf-8"))
        yield reader


async def read_all(reader, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        received += await trio.to_thread.run_sync(reader.read, 65536, abandon_on_cancel=True)
    return bytes(received)


async def test_a_reader_who_does_not_read_holds_up_nobody_else(monkeypatch) -> None:
    """A pager that shows its first page: the write waits, the rest of the program goes on, cancelling works."""
    with trio.fail_after(5), pipe_as_stdout(monkeypatch) as reader:
        screen = Screen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.write, "out", "x" * 200_000)
            first = await read_all(reader, 1)
            await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        # The thread that writes goes on by itself.
        rest = await read_all(reader, 200_000 - len(first))

    assert {ord("x")} == set(rest)


async def test_long_text_arrives_whole(monkeypatch) -> None:
    with trio.fail_after(5), pipe_as_stdout(monkeypatch) as reader:
        screen = Screen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.write, "out", "é" * 150_000)
            received = await read_all(reader, 300_000)

    assert {"é": 150_000} == Counter(received.decode())


async def test_when_the_reader_has_gone_it_says_so(monkeypatch) -> None:
    with pipe_as_stdout(monkeypatch) as reader:
        screen = Screen()
        reader.close()

        with pytest.raises(BrokenPipeError):
            await screen.write("out", "hello")


async def test_closed_streams_are_nowhere(monkeypatch) -> None:
    """A shell closes them with `>&-`; Python then has None for them."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    screen = Screen()
    with sys.stdout, sys.stderr:
        await screen.write("out", "x")
        screen.say("y")


def test_a_file_keeps_every_column(monkeypatch, capsys) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)

    assert Screen().out.width > 100

    monkeypatch.setenv("COLUMNS", "70")
    assert 70 == Screen().out.width
