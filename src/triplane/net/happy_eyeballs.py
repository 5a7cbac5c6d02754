"""Which of a host's addresses answers first (RFC 8305, "happy eyeballs").

`trio.open_tcp_stream` races too, but resolves the name in the same call, so that a slow resolver and a silent server
look the same. Here the addresses are known already.
"""

from __future__ import annotations

import ipaddress
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

# Seconds until the next address is tried beside one that has not answered yet: what RFC 8305 recommends.
_DELAY: Final = 0.25


def in_order(addresses: Sequence[str]) -> list[str]:
    """The addresses in the order in which they are tried: as resolved, but IPv6 and IPv4 in turns.

    Raises:
        ValueError: One is no address.
    """
    versions = {address: ipaddress.ip_address(address.partition("%")[0]).version for address in addresses}
    preferred = next(iter(versions.values()), None)
    first = [address for address, version in versions.items() if version == preferred]
    second = [address for address, version in versions.items() if version != preferred]
    turns = zip_longest(first, second)
    return [address for turn in turns for address in turn if address is not None]


async def first_to_connect(
    addresses: Sequence[str], connect: Callable[[str], Awaitable[trio.abc.Stream]]
) -> trio.abc.Stream:
    """Connect to the first address that answers. No other stream is left open, also when this is cancelled.

    Args:
        addresses: At least one; each gets a head start of a quarter of a second before the next.
        connect: Opens a stream to an address.

    Raises:
        OSError: None answered; its cause is a group of what each attempt met.
    """
    streams: list[trio.abc.Stream] = []
    failures: list[OSError] = []
    won = False

    async def attempt(address: str, failed: trio.Event) -> None:
        try:
            streams.append(await connect(address))
        except OSError as failure:
            failures.append(failure)
            failed.set()
        else:
            nursery.cancel_scope.cancel(reason="an address has answered")

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed, name=f"connecting to {address}")
                with trio.move_on_after(_DELAY):
                    await failed.wait()
        won = bool(streams)
    finally:
        # Two may have answered in the same moment, or the caller may have gone.
        for stream in streams[1:] if won else streams:
            await trio.aclose_forcefully(stream)
    if not won:
        raise OSError("no address answered") from ExceptionGroup("no address answered", failures)
    return streams[0]
