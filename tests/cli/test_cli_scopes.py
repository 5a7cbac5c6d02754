"""Services beside a block, and the signals that end one."""

from __future__ import annotations

import signal
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from triplane.cli.scopes import background, interruptible


async def test_a_service_runs_as_long_as_the_block() -> None:
    log = []

    async def service(*, task_status):
        task_status.started("ready")
        try:
            await trio.sleep_forever()
        finally:
            log.append("service ended")

    async with background(service) as reported:
        log.append(reported)

    assert ["ready", "service ended"] == log


async def test_errors_of_the_block_come_out_bare() -> None:
    async def service(*, task_status):
        task_status.started()
        await trio.sleep_forever()

    with pytest.raises(KeyError, match="mine"):
        async with background(service):
            raise KeyError("mine")


async def test_a_service_that_cannot_start_says_why() -> None:
    async def service(*, task_status):
        raise OSError("in use")

    with pytest.raises(OSError, match="in use"):
        async with background(service):
            pytest.fail("there is no service")


async def test_a_service_that_breaks_ends_the_block() -> None:
    async def service(*, task_status):
        task_status.started()
        raise ValueError("a bug")

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="a bug")):
        async with background(service):
            await trio.sleep_forever()


@contextmanager
def heeded(number):
    """Under nohup the suite is started with SIGHUP ignored, and what is ignored stays so."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_a_signal_ends_the_work_and_its_cleanup_runs(number, status) -> None:
    log = []
    with heeded(number), interruptible() as interruption:
        with interruption.scope:
            try:
                signal.raise_signal(number)
                await trio.sleep_forever()
            finally:
                with trio.move_on_after(1, shield=True):
                    await trio.lowlevel.checkpoint()
                    log.append("cleaned up")
            log.append("not reached")
        log.append("outside")

    assert interruption
    assert ["cleaned up", "outside"] == log
    assert (number, status) == (interruption.received, interruption.exit_status)


async def test_without_a_signal_nothing_was_interrupted() -> None:
    with interruptible() as interruption, interruption.scope:
        await trio.lowlevel.checkpoint()

    assert not interruption
    assert interruption.received is None


async def test_a_signal_that_comes_after_the_last_step_interrupts_nothing() -> None:
    with interruptible() as interruption:
        with interruption.scope:
            await trio.lowlevel.checkpoint()
        signal.raise_signal(signal.SIGINT)
        await trio.testing.wait_all_tasks_blocked()

    assert not interruption
    assert signal.SIGINT == interruption.received


async def test_a_second_signal_during_the_cleanup_does_not_disturb_it() -> None:
    done = False
    with interruptible() as interruption, interruption.scope:
        try:
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(1, shield=True):
                signal.raise_signal(signal.SIGTERM)
                await trio.testing.wait_all_tasks_blocked()
                done = True

    assert done
    assert signal.SIGINT == interruption.received


async def test_whoever_asks_again_later_gets_the_end_the_system_has(monkeypatch) -> None:
    raised = []
    now = 100.0
    monkeypatch.setattr("triplane.cli.scopes.time.monotonic", lambda: now)
    with interruptible() as interruption:
        handler = signal.getsignal(signal.SIGINT)
        handler(signal.SIGINT, None)
        now += 1.1
        monkeypatch.setattr(signal, "raise_signal", raised.append)
        handler(signal.SIGINT, None)

        assert signal.SIG_DFL is signal.getsignal(signal.SIGINT)
    assert [signal.SIGINT] == raised
    assert not interruption


async def test_errors_pass_through_and_the_old_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]

    with pytest.raises(KeyError, match="mine"), interruptible():
        assert before[1] is not signal.getsignal(signal.SIGTERM)
        raise KeyError("mine")

    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


async def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible() as interruption:
            signal.raise_signal(signal.SIGHUP)
            await trio.testing.wait_all_tasks_blocked()
    finally:
        signal.signal(signal.SIGHUP, before)

    assert interruption.received is None
