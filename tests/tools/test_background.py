"""What comes out of a block with tasks in its background."""

from __future__ import annotations

import pytest
import trio

from triplane.tools.background import open_background


@pytest.mark.parametrize(
    "error", [KeyError("mine"), KeyboardInterrupt(), ExceptionGroup("mine", [ValueError()])]
)
async def test_the_blocks_own_error_comes_out_as_it_was_raised(error) -> None:
    with pytest.raises(type(error)) as caught:
        async with open_background() as background:
            background.start_soon(trio.lowlevel.checkpoint)
            raise error

    assert error is caught.value


async def test_a_bug_in_the_background_comes_out_in_a_group() -> None:
    async def bug() -> None:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        async with open_background() as background:
            background.start_soon(bug)
            await trio.sleep_forever()


async def test_both_come_out_together() -> None:
    async def die(task_status) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    with pytest.RaisesGroup(KeyError, ZeroDivisionError):
        async with open_background() as background:
            await background.start(die)
            background.cancel_scope.cancel()
            raise KeyError("mine")


@pytest.mark.parametrize("nested", [False, True])
async def test_a_cancellation_reaches_its_scope(nested) -> None:
    after = False
    with trio.CancelScope() as scope:
        async with open_background():
            scope.cancel()
            if nested:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()
        after = True

    assert scope.cancelled_caught
    assert not after
