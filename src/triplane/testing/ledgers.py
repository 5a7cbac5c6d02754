"""What every ledger must do, as checks: for whoever writes a store of their own.

    @asynccontextmanager
    async def open_store():
        async with open_my_ledger("…") as ledger:
            yield ledger

    @pytest.mark.parametrize("check", triplane.testing.LEDGER_CHECKS, ids=lambda check: check.__name__)
    async def test_my_ledger(check):
        await check(open_store)

Each call of `open_store` opens the same store, also while it is open already; each check begins runs of its own in it,
so that a store which several checks share will do. A store in memory always gives the same object. Checks run in Trio,
on its real clock or on a mock one, and raise `AssertionError`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from triplane.core.errors import ConfigError, LedgerFailed
from triplane.core.outcome import ToolOutcome
from triplane.core.records import (
    DifferencesFound,
    FramesReceived,
    InputAdded,
    RequestSent,
    RetryScheduled,
    RunEnded,
    RunStarted,
    StillWaiting,
    ToolFinished,
    ToolStarted,
    UnknownRecord,
)
from triplane.core.reducer import RunReducer
from triplane.core.store import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from triplane.core.records import Body, Record
    from triplane.core.store import ClaimedLog

OpenStore = Callable[[], AbstractAsyncContextManager[Ledger]]

_PATIENCE = 20.0
_NUMBERS = count(1)

# One of nearly every kind, with what is hard to store in it.
SAMPLE: tuple[Body, ...] = (
    RunStarted(
        "run", "agent", "model", "fingerprint", ({"role": "user", "content": 'é "\u2028\\ \U0001f600'},)
    ),
    RequestSent(1, 1, "c1", "full", "first_turn", None, 1, 120),
    FramesReceived("c1", ('{"type":"response.created","response":{"id":"r","status":"in_progress"}}',)),
    StillWaiting(1, "c1", "model_thinking", 10.5, None, 0.25),
    RetryScheduled(1, 2, 0.5, asked=True),
    FramesReceived("c1", ("{", '{"a":\n"line"}', "", "\x00 é \U0001f600")),
    FramesReceived("c1", ()),
    ToolStarted("call_1", "look", '{"path": "é"}', "write", "key"),
    ToolFinished("call_1", "look", ToolOutcome("ok", "x" * 5_000, None, 0.5, 5_000, 5_000)),
    InputAdded(({"role": "user", "content": [{"type": "input_text", "text": ""}], "n": 1.5, "none": None},)),
    DifferencesFound(1, None, ({"kind": "x"},), ()),
    UnknownRecord("from_the_future", 7, essential=False, data=b'{"a":1}'),
)


def _new_id() -> str:
    return f"check_{next(_NUMBERS)}_{trio.current_time():.9f}".replace(".", "_")


@contextmanager
def _patience() -> Iterator[None]:
    with trio.fail_after(_PATIENCE):
        yield


async def _ended(ledger: Ledger, run_id: str, bodies: Sequence[Body] = SAMPLE) -> list[Record]:
    """A whole run."""
    log = ledger.create(run_id)
    records = [log.append(body) for body in (*bodies, RunEnded("completed"))]
    await log.durable()
    log.release()
    await log.durable()
    return records


async def _refusal(wanted: type[Exception] | tuple[type[Exception], ...], attempt: Callable[[], Any]) -> Any:
    try:
        found = attempt()
        if hasattr(found, "__await__"):
            found = await found
    except wanted as error:
        return error
    names = " or ".join(each.__name__ for each in (wanted if isinstance(wanted, tuple) else (wanted,)))
    raise AssertionError(f"{names} was due, and {found!r} came")


async def records_are_numbered_and_come_back_as_they_were(open_store: OpenStore) -> None:
    """From 0 without a gap, in order, equal to what was appended, frames to the letter."""
    run_id = _new_id()
    with _patience():
        async with open_store() as ledger:
            appended = await _ended(ledger, run_id)
            assert [*range(len(SAMPLE) + 1)] == [record.sequence for record in appended]
            assert (*SAMPLE, RunEnded("completed")) == tuple(record.body for record in appended)
            log = await ledger.open(run_id)
            assert run_id == log.run_id
            assert appended == list(await log.read(-1))


async def what_is_durable_is_there_when_the_store_is_opened_again(open_store: OpenStore) -> None:
    """And while it is still open."""
    run_id = _new_id()
    with _patience():
        async with open_store() as ledger:
            log = ledger.create(run_id)
            appended = [log.append(body) for body in SAMPLE]
            await log.durable()
            async with open_store() as other:
                assert appended == list(await (await other.open(run_id)).read(-1))
        async with open_store() as again:
            assert appended == list(await (await again.open(run_id)).read(-1))
            assert run_id in await again.run_ids()


async def parts_of_a_log_can_be_read(open_store: OpenStore) -> None:
    """From any place, and not more than asked for."""
    run_id = _new_id()
    with _patience():
        async with open_store() as ledger:
            appended = await _ended(ledger, run_id)
            log = await ledger.open(run_id)
            for after in range(-1, len(appended) + 2):
                for limit in (1, 3, 1_000):
                    assert appended[after + 1 : after + 1 + limit] == list(await log.read(after, limit))
            assert appended == list(await log.read(-7))


async def appending_never_waits_and_everything_else_is_a_checkpoint(open_store: OpenStore) -> None:
    """So nothing can be cancelled between receiving and recording."""
    run_id = _new_id()
    with _patience():
        async with open_store() as ledger:
            with trio.testing.assert_no_checkpoints():
                log = ledger.create(run_id)
                log.append(SAMPLE[0])
            for step in (
                log.durable,
                lambda: log.read(-1),
                lambda: log.wait(-1),
                lambda: ledger.open(run_id),
                ledger.run_ids,
            ):
                with trio.testing.assert_checkpoints():
                    await step()
            with trio.testing.assert_no_checkpoints():
                log.release()


async def whoever_waits_is_woken(open_store: OpenStore) -> None:
    """All of them, and whoever is cancelled loses nothing."""
    with _patience():
        async with open_store() as ledger:
            log = ledger.create(_new_id())
            log.append(SAMPLE[0])
            woken: list[Sequence[Record]] = []

            async def viewer() -> None:
                await log.wait(0)
                woken.append(await log.read(0))

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(viewer)
                with trio.move_on_after(0.01):
                    await log.wait(0)
                assert not woken
                log.append(SAMPLE[1])
            assert [[SAMPLE[1]]] * 3 == [[record.body for record in each] for each in woken]


async def a_cancelled_wait_for_durability_changes_nothing(open_store: OpenStore) -> None:
    """What was appended stays appended, once."""
    with _patience():
        async with open_store() as ledger:
            log = ledger.create(_new_id())
            for body in SAMPLE:
                log.append(body)
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await log.durable()
            await log.durable()
            assert list(SAMPLE) == [record.body for record in await log.read(-1)]


async def a_run_begins_once(open_store: OpenStore) -> None:
    """A second one of the same id is refused, at once or when it would be written."""
    run_id = _new_id()
    with _patience():
        async with open_store() as ledger:
            appended = await _ended(ledger, run_id)

            async def begin_again() -> None:
                log = ledger.create(run_id)
                log.append(SAMPLE[1])
                await log.durable()

            error = await _refusal((ConfigError, LedgerFailed), begin_again)
            assert isinstance(error, ConfigError) or error.reason == "claimed"
            async with open_store() as again:
                assert appended == list(await (await again.open(run_id)).read(-1))


async def a_run_that_two_begin_at_once_is_claimed_by_one(open_store: OpenStore) -> None:
    """Whoever asks for it meanwhile learns that it is being driven, even if the store has not written it yet."""
    run_id = _new_id()
    with _patience():
        async with open_store() as ledger, open_store() as other:
            claimed: list[ClaimedLog] = []
            refused: list[LedgerFailed] = []

            async def take_or_begin(store: Ledger) -> None:
                try:
                    try:
                        log = await store.claim(run_id)
                    except ConfigError:
                        log = store.create(run_id)
                    log.append(SAMPLE[0])
                    await log.durable()
                except LedgerFailed as error:
                    refused.append(error)
                else:
                    claimed.append(log)

            async with trio.open_nursery() as nursery:
                for store in (ledger, other, ledger, other):
                    nursery.start_soon(take_or_begin, store)
            assert len(refused) == 3
            assert {("claim", "claimed")} == {(error.operation, error.reason) for error in refused}
            (log,) = claimed
            assert [SAMPLE[0]] == [record.body for record in await log.read(-1)]
            log.release()

            begun = ledger.create(_new_id())
            error = await _refusal(LedgerFailed, lambda: ledger.claim(begun.run_id))
            assert (error.operation, error.reason) == ("claim", "claimed")
            begun.append(SAMPLE[0])
            await begun.durable()
            begun.release()


async def unknown_runs_are_refused(open_store: OpenStore) -> None:
    """By whatever asks for one."""
    run_id = _new_id()
    with _patience():
        async with open_store() as ledger:
            await _refusal(ConfigError, lambda: ledger.open(run_id))
            await _refusal(ConfigError, lambda: ledger.claim(run_id))
            await _refusal(ConfigError, lambda: anext(ledger.follow(run_id)))
            assert run_id not in await ledger.run_ids()
            # What can be no id at all is no damage.
            nonsense: tuple[Any, ...] = ("", "a\nb", "\ud800", "x" * 201, 7, ["x"])
            for wrong in nonsense:
                for method in (ledger.create, ledger.open, ledger.claim):
                    await _refusal(ConfigError, partial(method, wrong))


async def runs_are_listed_as_they_began_and_do_not_mix(open_store: OpenStore) -> None:
    """Whatever the order in which they go on."""
    first, second, third = _new_id(), _new_id(), _new_id()
    with _patience():
        async with open_store() as ledger:
            logs = [ledger.create(run_id) for run_id in (first, second, third)]
            for number, log in enumerate(logs):
                log.append(InputAdded(({"n": number},)))
            for step in range(30):
                logs[step % 3].append(InputAdded(({"n": step % 3},)))
            for log in logs:
                await log.durable()
            assert [first, second, third] == [
                each for each in await ledger.run_ids() if each.startswith("check_")
            ][-3:]
            async with open_store() as other:
                for number, run_id in enumerate((first, second, third)):
                    records = await (await other.open(run_id)).read(-1)
                    assert [InputAdded(({"n": number},))] * 11 == [record.body for record in records]


async def one_at_a_time_has_the_claim(open_store: OpenStore) -> None:
    """It is refused as long as somebody has it, and each has a larger token than the one before."""
    run_id = _new_id()
    with _patience():
        async with open_store() as ledger, open_store() as other:
            log: ClaimedLog = ledger.create(run_id)
            log.append(SAMPLE[0])
            await log.durable()
            for store in (ledger, other):
                error = await _refusal(LedgerFailed, partial(store.claim, run_id))
                assert (error.operation, error.reason) == ("claim", "claimed")
            log.append(SAMPLE[1])
            log.release()
            log.release()
            await log.durable()
            error = await _refusal(LedgerFailed, lambda: log.append(SAMPLE[2]))
            assert error.reason == "claim_lost"
            taken = await other.claim(run_id)
            assert taken.token > log.token
            assert taken.append(SAMPLE[2]).sequence == 2
            await taken.durable()
            await _refusal(LedgerFailed, lambda: ledger.claim(run_id))
            assert list(SAMPLE[:3]) == [record.body for record in await taken.read(-1)]
            taken.release()
            await taken.durable()
            again = await ledger.claim(run_id)
            assert again.token > taken.token
            assert again.append(SAMPLE[3]).sequence == 3
            await again.durable()
            assert list(SAMPLE[:4]) == [record.body for record in await (await other.open(run_id)).read(-1)]
            again.release()
            # In the same store at once, without waiting.
            assert (await ledger.claim(run_id)).token > again.token


async def a_run_is_followed_from_any_place_to_its_end(open_store: OpenStore) -> None:
    """What is there, then what comes; from here and from another handle; by viewers who come and go."""
    run_id = _new_id()
    with _patience():
        async with open_store() as ledger, open_store() as other:
            log = ledger.create(run_id)
            for body in SAMPLE[:4]:
                log.append(body)
            await log.durable()
            seen: dict[tuple[int, int], list[Record]] = {}

            async def view(place: int, store: Ledger, after: int) -> None:
                seen[place, after] = [record async for record in store.follow(run_id, after)]

            async with trio.open_nursery() as nursery:
                for after in (-1, 2, 3, 6):
                    nursery.start_soon(view, 0, ledger, after)
                    nursery.start_soon(view, 1, other, after)
                follower = other.follow(run_id)
                assert SAMPLE[0] == (await anext(follower)).body
                for body in SAMPLE[4:]:
                    log.append(body)
                    await log.durable()
                log.append(RunEnded("completed"))
                await log.durable()
            everything = [*SAMPLE, RunEnded("completed")]
            for (_, after), records in seen.items():
                assert everything[after + 1 :] == [record.body for record in records]
            # Behind the end there is nothing to wait for.
            assert [record async for record in other.follow(run_id, len(everything) - 1)] == []
            assert SAMPLE[1] == (await anext(follower)).body


async def a_run_that_goes_on_is_followed_whoever_appends_to_it(open_store: OpenStore) -> None:
    """Viewers who were there before it was left, as a run is that waits for a person."""
    run_id = _new_id()
    with _patience():
        async with open_store() as ledger, open_store() as other:
            log = ledger.create(run_id)
            log.append(SAMPLE[0])
            await log.durable()
            followers = [store.follow(run_id) for store in (ledger, other)]
            for follower in followers:
                assert SAMPLE[0] == (await anext(follower)).body

            async def expect(follower: AsyncIterator[Record], body: Body) -> None:
                assert body == (await anext(follower)).body

            for store, body in ((ledger, SAMPLE[1]), (other, SAMPLE[2]), (ledger, SAMPLE[3])):
                async with trio.open_nursery() as nursery:
                    for follower in followers:
                        nursery.start_soon(expect, follower, body)
                    # They wait by now.
                    await trio.testing.wait_all_tasks_blocked()
                    log.release()
                    await log.durable()
                    log = await store.claim(run_id)
                    log.append(body)
                    await log.durable()


async def folding_what_is_read_gives_the_state_of_the_run(open_store: OpenStore) -> None:
    """At every prefix."""
    run_id = _new_id()
    with _patience():
        async with open_store() as ledger:
            appended = await _ended(ledger, run_id)
            live, replayed = RunReducer(), RunReducer()
            async with open_store() as other:
                for ours, stored in zip(appended, await (await other.open(run_id)).read(-1), strict=True):
                    live.apply(ours)
                    replayed.apply(stored)
                    assert live.canonical() == replayed.canonical()


LEDGER_CHECKS: tuple[Callable[[OpenStore], Any], ...] = (
    records_are_numbered_and_come_back_as_they_were,
    what_is_durable_is_there_when_the_store_is_opened_again,
    parts_of_a_log_can_be_read,
    appending_never_waits_and_everything_else_is_a_checkpoint,
    whoever_waits_is_woken,
    a_cancelled_wait_for_durability_changes_nothing,
    a_run_begins_once,
    a_run_that_two_begin_at_once_is_claimed_by_one,
    unknown_runs_are_refused,
    runs_are_listed_as_they_began_and_do_not_mix,
    one_at_a_time_has_the_claim,
    a_run_is_followed_from_any_place_to_its_end,
    a_run_that_goes_on_is_followed_whoever_appends_to_it,
    folding_what_is_read_gives_the_state_of_the_run,
)
