"""The race between a host's addresses, on a mock clock: who is tried when, who wins, and that nothing else stays open."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from triplane.net.happy_eyeballs import first_to_connect, in_order


@pytest.mark.parametrize(
    ("resolved", "order"),
    [
        (["192.0.2.1"], ["192.0.2.1"]),
        (
            ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"],
            ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"],
        ),
        (
            ["192.0.2.1", "2001:db8::1", "2001:db8::2", "192.0.2.1"],
            ["192.0.2.1", "2001:db8::1", "2001:db8::2"],
        ),
        (["fe80::1%eth0", "192.0.2.1"], ["fe80::1%eth0", "192.0.2.1"]),
        ([], []),
    ],
)
def test_families_take_turns(resolved, order) -> None:
    assert order == in_order(resolved)


class Addresses:
    """Says of each address after how long it answers, and with what."""

    def __init__(self, **answers: tuple[float, OSError | None]) -> None:
        self._answers = answers
        self.tried: list[tuple[str, float]] = []
        self.opened: list[trio.testing.MemoryReceiveStream] = []

    async def connect(self, address: str) -> trio.abc.Stream:
        self.tried.append((address, trio.current_time()))
        delay, failure = self._answers[address]
        await trio.sleep(delay)
        if failure is not None:
            raise failure
        stream, other = trio.testing.memory_stream_pair()
        self.opened.append(other)
        return stream

    async def count_open(self) -> int:
        """How many streams have not been closed."""
        still_open = 0
        for other in self.opened:
            with trio.move_on_after(0.01) as scope:
                await other.receive_some()
            still_open += scope.cancelled_caught
        return still_open


async def test_the_first_that_answers_wins_and_the_next_gets_a_chance_after_a_quarter_second(
    autojump_clock,
) -> None:
    addresses = Addresses(a=(10, None), b=(0.1, None), c=(0, None))
    await first_to_connect("abc", addresses.connect)

    assert [("a", 0.0), ("b", 0.25)] == addresses.tried
    assert 0.35 == trio.current_time()
    assert 1 == await addresses.count_open()


async def test_a_refusal_gives_the_next_its_turn_at_once(autojump_clock) -> None:
    addresses = Addresses(a=(0.05, OSError("refused")), b=(0, None))
    await first_to_connect("ab", addresses.connect)

    assert [("a", 0.0), ("b", 0.05)] == addresses.tried


async def test_two_that_answer_in_the_same_moment_leave_one_stream(autojump_clock) -> None:
    addresses = Addresses(a=(0, None), b=(0, None))
    answer = trio.Event()

    async def connect(address: str) -> trio.abc.Stream:
        await answer.wait()
        # From here on nothing can be cancelled: both are connected before either is told to stop.
        stream, other = trio.testing.memory_stream_pair()
        addresses.opened.append(other)
        return stream

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first_to_connect, "ab", connect)
        await trio.sleep(1)
        answer.set()

    assert 2 == len(addresses.opened)
    assert 1 == await addresses.count_open()


async def test_if_none_answers_all_causes_are_told(autojump_clock) -> None:
    addresses = Addresses(a=(0, OSError("refused")), b=(0, OSError("unreachable")))
    with pytest.raises(OSError, match="no address answered") as caught:
        await first_to_connect("ab", addresses.connect)

    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert ["refused", "unreachable"] == [str(each) for each in caught.value.__cause__.exceptions]


async def test_a_cancelled_race_leaves_no_stream(autojump_clock) -> None:
    addresses = Addresses(a=(5, None), b=(1, None))
    for moment in (0.1, 0.3, 1.25):
        with trio.move_on_after(moment):
            await first_to_connect("ab", addresses.connect)
            break
    # The last deadline is the moment of the answer: whichever comes first, at most the winner's stream is open.
    assert await addresses.count_open() <= 1


async def test_a_bug_in_connecting_is_no_failure_to_connect(autojump_clock) -> None:
    async def broken(address: str) -> trio.abc.Stream:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        await first_to_connect("ab", broken)
