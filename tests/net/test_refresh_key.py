"""A refused key: asked for anew once, shared by those who are refused together, and never tried again blindly."""

from __future__ import annotations

import traceback

import attrs
import pytest
import trio
import trio.testing

import triplane
from triplane import ConfigError, ConnectFailed, Endpoint, EngineOptions
from triplane.net.credentials import Credentials
from triplane.server import CloseAtOnce, RefuseUpgrade

URL = "ws://memory/v1"
AGENT = triplane.Agent("m")
STALE, FRESH = "sk-stale-canary", "sk-fresh-canary"


class Keys:
    """A hook that gives keys, counts its calls, and can take its time or fail."""

    def __init__(self, *keys: object, delay: float = 0.0) -> None:
        self._keys = list(keys)
        self._delay = delay
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        await trio.sleep(self._delay)
        key = self._keys.pop(0) if len(self._keys) > 1 else self._keys[0]
        if isinstance(key, BaseException):
            raise key
        return key  # type: ignore[return-value]


def test_a_hook_that_cannot_be_part_of_an_endpoint_is_refused() -> None:
    @attrs.define
    class Hook:
        name: str

        async def __call__(self) -> str:
            return FRESH

    with pytest.raises(ConfigError, match="refresh_key must be hashable"):
        Endpoint(URL, refresh_key=Hook("a"))


@pytest.mark.parametrize("status", [401, 403])
async def test_a5_a_refused_key_is_not_tried_again(bench, autojump_clock, status) -> None:
    async with bench(faults=[RefuseUpgrade(status)]) as b:
        with pytest.raises(ConnectFailed) as caught:
            await b.engine.run(AGENT, "hello")
        assert 1 == b.network.opened

    assert (status, 1, True, False, "change") == (
        caught.value.status,
        caught.value.attempts,
        caught.value.is_auth_refusal,
        caught.value.is_transient,
        caught.value.receipt.next,
    )
    assert 0 == trio.current_time()


async def test_a5_a_fresh_key_is_asked_for_once_and_used_from_then_on(bench, autojump_clock) -> None:
    keys = Keys(FRESH)
    endpoint = Endpoint(URL, api_key=STALE, refresh_key=keys)
    async with bench(endpoint=endpoint, api_key=FRESH) as b:
        assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text
        assert (1, 2) == (keys.calls, b.network.opened)
        async with b.engine.lane(), b.engine.lane():
            # A second connection begins with the fresh key.
            assert (1, 3) == (keys.calls, b.network.opened)
        assert 0 == b.engine.statistics().pool.dial_failures


async def test_a5_those_who_are_refused_together_share_one_call(bench, autojump_clock) -> None:
    keys = Keys(FRESH, delay=5)
    endpoint = Endpoint(URL, api_key=STALE, refresh_key=keys)
    options = EngineOptions(max_connections=8)
    async with (
        bench(endpoint=endpoint, api_key=FRESH, options=options) as b,
        b.engine.fan_out(AGENT, ["hello"] * 8, max_runs=8) as results,
    ):
        texts = [result.result.text async for result in results]

    assert ["echo: hello"] * 8 == texts
    assert (1, 16) == (keys.calls, b.network.opened)


async def test_a5_a_fresh_key_that_is_refused_as_well_ends_it(bench, autojump_clock) -> None:
    keys = Keys("another-1", "another-2")
    endpoint = Endpoint(URL, api_key=STALE, refresh_key=keys)
    async with bench(endpoint=endpoint, api_key=FRESH) as b:
        for tries in (1, 2):
            with pytest.raises(ConnectFailed, match="HTTP status 401") as caught:
                await b.engine.run(AGENT, "hello")
            assert tries == keys.calls
            assert not caught.value.is_transient
        # The second run began with the key that the first had been given.
        assert 4 == b.network.opened


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (OSError("the vault said canary-secret"), "refresh_key raised OSError"),
        ("with a newline\n", "must return text that fits in an HTTP header"),
        (None, "no other key"),
        (STALE, "no other key"),
        (7, "must return text"),
    ],
)
async def test_a5_a_hook_that_fails_is_a_typed_error_and_everybody_hears_of_it(
    bench, autojump_clock, key, words
) -> None:
    keys = Keys(key, delay=1)
    endpoint = Endpoint(URL, api_key=STALE, refresh_key=keys)
    async with (
        bench(endpoint=endpoint, api_key=FRESH) as b,
        b.engine.fan_out(AGENT, ["hello"] * 3, max_runs=3) as results,
    ):
        errors = [result.error async for result in results]

    assert 1 == keys.calls
    for error in errors:
        assert isinstance(error, ConnectFailed)
        assert ("auth", 401, True, False) == (
            error.stage,
            error.status,
            error.is_auth_refusal,
            error.is_transient,
        )
        assert words in str(error)
        assert "HTTP status 401" in str(error)
        assert isinstance(error.__cause__, OSError) or not isinstance(key, OSError)
        assert "canary" not in f"{error}{error!r}"


async def test_a5_a_hook_that_hangs_is_given_up(bench, autojump_clock) -> None:
    keys = Keys(FRESH, delay=1e6)
    endpoint = Endpoint(URL, api_key=STALE, refresh_key=keys)
    async with bench(endpoint=endpoint, api_key=FRESH, options=EngineOptions(refresh_timeout=4)) as b:
        with pytest.raises(ConnectFailed, match=r"longer than 4 s \(option refresh_timeout\)"):
            await b.engine.run(AGENT, "hello")

    assert 4 == trio.current_time()


async def test_leaving_the_engine_ends_the_hook(bench, autojump_clock) -> None:
    keys = Keys(FRESH, delay=1e6)
    endpoint = Endpoint(URL, api_key=STALE, refresh_key=keys)
    async with bench(endpoint=endpoint, api_key=FRESH) as b:
        with trio.move_on_after(3):
            await b.engine.run(AGENT, "hello")
    assert (3, 1) == (trio.current_time(), keys.calls)


async def test_the_first_key_may_come_from_the_hook(bench, autojump_clock) -> None:
    keys = Keys(FRESH)
    async with bench(endpoint=Endpoint(URL, refresh_key=keys), api_key=FRESH) as b:
        assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text
        assert (1, 1) == (keys.calls, b.network.opened)


async def test_when_the_one_who_asks_is_cancelled_the_next_in_line_asks(autojump_clock) -> None:
    keys = Keys(FRESH, delay=2)
    credentials = Credentials(Endpoint(URL, api_key=STALE, refresh_key=keys), timeout=30)
    got: list[str | None] = []

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            got.append((await credentials.renewed(STALE, None)).api_key)

    scopes = [trio.CancelScope() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(ask, scope)
            await trio.testing.wait_all_tasks_blocked()
        scopes[0].cancel()

    assert ([FRESH, FRESH], 2) == (got, keys.calls)


@pytest.mark.parametrize("code", [1008, 3000, 4401, 4403])
async def test_a13_let_in_and_put_out_at_once_is_a_refused_key_and_no_loop(
    bench, autojump_clock, code
) -> None:
    async with (
        bench(
            faults=[CloseAtOnce(code, reason="who are you?")], options=EngineOptions(max_connections=1)
        ) as b,
        b.engine.fan_out(AGENT, ["hello"] * 5, max_runs=5) as results,
    ):
        errors = [result.error async for result in results]
        assert b.network.opened <= 2

    refusals = [error for error in errors if isinstance(error, ConnectFailed)]
    assert refusals == errors
    for error in refusals:
        assert error.close is not None
        assert (code, "who are you?", "upgrade", None) == (
            error.close.code,
            error.close.reason,
            error.stage,
            error.status,
        )
        assert (True, False, "change") == (
            error.is_auth_refusal,
            error.is_transient,
            error.receipt.next,
        )


async def test_a13_the_next_connection_asks_for_a_fresh_key(bench, autojump_clock) -> None:
    keys = Keys(FRESH)
    endpoint = Endpoint(URL, api_key=STALE, refresh_key=keys)
    async with bench(endpoint=endpoint, faults=[CloseAtOnce(4401, nth=1)]) as b:
        with pytest.raises(ConnectFailed):
            await b.engine.run(AGENT, "hello")
        assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text

    assert (1, 2) == (keys.calls, b.network.opened)


async def test_a13_a_close_long_after_the_handshake_is_no_refusal(bench, autojump_clock) -> None:
    keys = Keys(FRESH)
    endpoint = Endpoint(URL, api_key=STALE, refresh_key=keys)
    async with bench(endpoint=endpoint, faults=[CloseAtOnce(1008, delay=65, nth=1)]) as b:
        async with b.engine.lane():
            pass
        await trio.sleep(66)
        assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text
        assert (2, 0) == (b.network.opened, keys.calls)


def test_neither_the_hook_nor_a_key_is_shown() -> None:
    keys = Keys(FRESH)
    endpoint = Endpoint(URL, api_key=STALE, refresh_key=keys)

    assert "canary" not in repr(endpoint)
    assert "Keys" not in repr(endpoint)
    assert hash(endpoint) == hash(Endpoint(URL, api_key=STALE, refresh_key=keys))
    assert endpoint != Endpoint(URL, api_key=STALE)


async def test_no_key_is_in_a_traceback(bench, autojump_clock) -> None:
    endpoint = Endpoint(URL, api_key=STALE, refresh_key=Keys(FRESH))
    async with bench(endpoint=endpoint, api_key="neither") as b:
        with pytest.raises(ConnectFailed) as caught:
            await b.engine.run(AGENT, "hello")

    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_a_hook_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigError, match="refresh_key must be an async function"):
        Endpoint(URL, refresh_key="sk-x")  # type: ignore[arg-type]
