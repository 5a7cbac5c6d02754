"""A Trio function in a thread of its own."""

from __future__ import annotations

import threading
import time

import pytest
import trio
import trio.testing

from triplane.testing import threads
from triplane.testing.threads import ServiceError, in_thread


async def ready(*, task_status):
    task_status.started(trio.lowlevel.current_trio_token())
    await trio.sleep_forever()


def alive():
    return [thread.name for thread in threading.enumerate() if thread.name == "service"]


def test_a_service_runs_beside_the_block_and_ends_with_it():
    with in_thread(ready, name="service") as running:
        assert alive()
        assert running.call(trio.lowlevel.current_trio_token) is running.value
    assert not alive()
    with pytest.raises(ServiceError, match="service has ended"):
        running.call(lambda: None)


async def test_a_service_can_be_used_from_another_trio():
    with in_thread(ready, name="service") as running:
        assert running.value is not trio.lowlevel.current_trio_token()
        assert running.call(lambda: 7) == 7


def test_what_a_call_raises_is_raised_here():
    with in_thread(ready, name="service") as running:
        with pytest.raises(ZeroDivisionError):
            running.call(lambda: 1 / 0)
        assert running.call(lambda: 7) == 7


def test_a_service_that_does_not_start_raises_when_the_block_is_entered():
    async def broken(*, task_status):
        raise ValueError("no such option")

    with pytest.raises(ValueError, match="no such option"), in_thread(broken, name="service"):
        raise AssertionError("never entered")
    assert not alive()


def test_a_service_that_fails_later_raises_when_the_block_is_left():
    async def broken(*, task_status):
        task_status.started()
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"), in_thread(broken, name="service") as running:
        running.join()


def test_the_blocks_own_error_is_not_replaced():
    async def broken(*, task_status):
        task_status.started()
        raise ValueError("a bug")

    with pytest.raises(KeyError) as caught, in_thread(broken, name="service") as running:
        running.join()
        raise KeyError("mine")
    assert caught.value.__notes__ == ["Beside this, the service failed: ValueError('a bug')"]


def test_a_service_that_hangs_is_given_up_and_the_message_says_where(monkeypatch):
    monkeypatch.setattr(threads, "_STOP_SECONDS", 0.05)
    blocked, let_go = threading.Event(), threading.Event()

    async def hanging(*, task_status):
        task_status.started()
        await trio.testing.wait_all_tasks_blocked()
        blocked.set()
        let_go.wait()

    try:
        started = time.monotonic()
        with pytest.raises(ServiceError, match=r"(?s)service did not stop within 0\.05 s.*let_go\.wait"):
            with in_thread(hanging, name="service") as running:
                assert blocked.wait(5)
                with pytest.raises(ServiceError, match="is busy"):
                    running.call(lambda: None)
        assert time.monotonic() - started < 5
    finally:
        let_go.set()
        for thread in threading.enumerate():
            if thread.name == "service":
                thread.join(5)
