"""Resolving as a stage of its own: its deadline, its error, and that a name is resolved once."""

from __future__ import annotations

import socket
from functools import partial

import pytest
import trio
import trio.socket
import trio.testing

import triplane
from triplane import ConnectFailed, Endpoint, EngineOptions
from triplane.net.dial import Dialler, Resolver, TcpNetwork

URL = "ws://api.example.com/v1"


class Names(trio.abc.HostnameResolver):
    """A resolver that takes its time, then gives addresses or fails; counts its questions."""

    def __init__(self, answer: list[str] | OSError, delay: float = 0.0) -> None:
        self._answer = answer
        self._delay = delay
        self.questions: list[bytes | str | None] = []

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002 - Trio's names
        self.questions.append(host)
        await trio.sleep(self._delay)
        if isinstance(self._answer, OSError):
            raise self._answer
        kind = socket.SOCK_STREAM
        return [
            (socket.AF_INET6, kind, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, kind, 6, "", (address, port))
            for address in self._answer
        ]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


@pytest.fixture
def names():
    """Makes the resolver of this Trio run."""

    def use(*arguments, **options) -> Names:
        resolver = Names(*arguments, **options)
        trio.socket.set_custom_hostname_resolver(resolver)
        return resolver

    return use


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), "could not be resolved"),
        (socket.gaierror(-3, "Temporary failure in name resolution"), "could not be resolved"),
        (OSError("no resolver"), "no resolver"),
        ([], "it has no addresses"),
        (["nonsense"], "could not be resolved"),
    ],
)
async def test_a1_a_name_that_cannot_be_resolved_fails_at_its_stage(names, answer, words) -> None:
    names(answer)
    with pytest.raises(ConnectFailed, match=words) as caught:
        await Dialler(TcpNetwork(), EngineOptions(), {}).dial(Endpoint(URL))

    assert ("dns", True) == (caught.value.stage, caught.value.is_transient)
    assert "api.example.com" in str(caught.value)


async def test_a1_a_slow_resolver_has_a_deadline_of_its_own(names, autojump_clock) -> None:
    names(["192.0.2.1"], delay=60)
    with pytest.raises(ConnectFailed, match=r"not resolved within 3 s \(option dns_timeout\)") as caught:
        await Dialler(TcpNetwork(), EngineOptions(dns_timeout=3, tcp_timeout=1), {}).dial(Endpoint(URL))

    assert ("dns", True, 3.0) == (caught.value.stage, caught.value.is_transient, trio.current_time())


async def test_a1_resolving_does_not_use_up_the_time_for_tcp(names, autojump_clock) -> None:
    class SlowNetwork:
        """Resolves in 4 s and connects in 4 s."""

        async def resolve(self, host: str, port: int) -> list[str]:
            await trio.sleep(4)
            return ["192.0.2.1"]

        async def connect(self, host: str, port: int) -> trio.abc.Stream:
            assert ("192.0.2.1", 80) == (host, port)
            await trio.sleep(4)
            return trio.testing.memory_stream_pair()[0]

    assert isinstance(SlowNetwork(), Resolver)
    await Dialler(SlowNetwork(), EngineOptions(dns_timeout=5, tcp_timeout=5), {}).dial(Endpoint(URL))

    assert 8 == trio.current_time()


async def test_a1_who_waits_for_a_lane_hears_of_it_and_no_slot_is_lost(names, autojump_clock) -> None:
    resolver = names(socket.gaierror(-2, "Name or service not known"))
    options = EngineOptions(max_connections=1, dial_attempts=3)
    async with triplane.open_engine(Endpoint(URL), options=options) as engine:
        for tries in (3, 6):
            with pytest.raises(ConnectFailed) as caught:
                await engine.run(triplane.Agent("m"), "hello")
            assert ("dns", 3) == (caught.value.stage, caught.value.attempts)
            assert tries == len(resolver.questions)
        assert (0, 0) == (engine.statistics().pool.dialling, engine.statistics().pool.waiting)


async def test_a1_a_name_is_resolved_once_and_all_its_addresses_are_tried(names, nursery) -> None:
    """On real sockets: nothing listens on the first address."""
    listeners = await nursery.start(partial(trio.serve_tcp, _close, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    resolver = names(["::1", "127.0.0.1"])
    endpoint = Endpoint(f"ws://api.example.com:{port}/v1")
    stream = await Dialler(TcpNetwork(), EngineOptions(), {}).dial(endpoint)
    await trio.aclose_forcefully(stream)

    assert ["api.example.com"] == [
        each.decode() if isinstance(each, bytes) else each for each in resolver.questions
    ]
    nursery.cancel_scope.cancel()


async def _close(stream: trio.abc.Stream) -> None:
    await stream.aclose()


async def test_a2_a_refused_connection_says_so_and_may_be_tried_again() -> None:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConnectFailed, match="refused.*is a server running there") as caught:
            await Dialler(TcpNetwork(), EngineOptions(), {}).dial(Endpoint(f"ws://127.0.0.1:{port}"))

    assert ("tcp", True) == (caught.value.stage, caught.value.is_transient)


async def test_a2_a_host_that_never_answers_has_a_deadline(autojump_clock) -> None:
    class BlackHole:
        async def resolve(self, host: str, port: int) -> list[str]:
            await trio.lowlevel.checkpoint()
            return ["192.0.2.1", "2001:db8::1"]

        async def connect(self, host: str, port: int) -> trio.abc.Stream:
            await trio.sleep_forever()
            raise AssertionError

    with pytest.raises(ConnectFailed, match="within 7 s") as caught:
        await Dialler(BlackHole(), EngineOptions(tcp_timeout=7), {}).dial(Endpoint(URL))

    assert ("tcp", True, 7.0) == (caught.value.stage, caught.value.is_transient, trio.current_time())
