"""How one WebSocket comes to be opened: when it may be dialled, as whom, and what is done about each refusal.

A refusal is answered at most once in each way: a redirect at the same origin is followed, a refused key is replaced if
the endpoint knows how, a 403 gets a second try after a pause if the options say so. What is left is the caller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import trio

from triplane.core.pace import Pace

from .credentials import Credentials

if TYPE_CHECKING:
    import random

    from triplane.core.errors import ConnectFailed
    from triplane.core.options import EngineOptions

    from .dial import Dialler
    from .endpoint import Endpoint

_MAX_REDIRECTS: Final = 5
# More than any engine opens at once; a float holds it.
_LARGEST_BURST: Final = 1_000_000


@final
class Approach:
    """What all connections of an engine to one endpoint share: the key of now, and the pace."""

    def __init__(self, endpoint: Endpoint, options: EngineOptions, rng: random.Random) -> None:
        self.credentials = Credentials(endpoint, options.refresh_timeout)
        self.pace = Pace(options.dial_rate, min(options.dial_burst, _LARGEST_BURST))
        self._rng = rng
        self._queue = trio.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for a turn, or nobody has one for a while."""
        return self._queue.locked() or trio.current_time() < self.pace.ready_at()

    async def turn(self) -> None:
        """Wait until one more connection may be opened, first come first served. A checkpoint.

        Whoever is cancelled while waiting has used nothing up.
        """
        async with self._queue:
            # The moment may move while one waits for it.
            while trio.current_time() < self.pace.ready_at():  # noqa: ASYNC110  # it is no state to be told of
                await trio.sleep_until(self.pace.ready_at())
            self.pace.opened(trio.current_time(), self._rng.random())


@final
class Opening:
    """One attempt to open a WebSocket, over as many streams as it takes.

    Attributes:
        endpoint: Where and as whom; with the key of now once there is a stream.
        resource: Path and query of the upgrade, which redirects change.
    """

    def __init__(
        self, endpoint: Endpoint, approach: Approach, dialler: Dialler, options: EngineOptions
    ) -> None:
        self.endpoint = endpoint
        self.resource = endpoint.resource
        self._approach = approach
        self._dialler = dialler
        self._options = options
        self._redirects = 0
        self._renewed = False
        self._cooled = False

    async def next_stream(self) -> trio.abc.Stream:
        """Wait for its turn and dial.

        Raises:
            ConnectFailed: See `Dialler.dial`; or there is no key.
        """
        self.endpoint = await self._approach.credentials.current()
        await self._approach.turn()
        return await self._dialler.dial(self.endpoint)

    async def answer(self, failure: ConnectFailed) -> None:
        """Prepare the next try after a refused upgrade, which may take a while. A checkpoint.

        Raises:
            ConnectFailed: `failure` itself, if nothing can be done about it; or the fresh key could not be had.
        """
        await trio.lowlevel.checkpoint()
        key = self.endpoint.api_key
        if failure.close is not None:
            raise failure
        if failure.location is not None:
            self._follow(failure.location, failure)
        elif failure.is_auth_refusal and self.endpoint.refresh_key is not None and not self._renewed:
            self._renewed = True
            await self._approach.credentials.renewed(key, failure)
        elif failure.status == 403 and self._options.forbidden_delay is not None and not self._cooled:
            self._cooled = True
            self._keep_quiet(self._options.forbidden_delay)
        else:
            if failure.is_transient and failure.retry_after is not None:
                self._keep_quiet(min(failure.retry_after, self._options.backoff_limit))
            raise failure

    def put_out(self) -> None:
        """Note that the key was refused after the handshake: the next connection asks for a fresh one first."""
        self._approach.credentials.put_out(self.endpoint.api_key)

    def _keep_quiet(self, seconds: float) -> None:
        # For all connections to this endpoint: what the server said of one it would say of the next.
        self._approach.pace.keep_quiet(trio.current_time() + seconds)

    def _follow(self, location: str, failure: ConnectFailed) -> None:
        target = self.endpoint.redirected(location)
        failure.location = self.endpoint.masked(location)
        if target is None:
            raise failure
        self._redirects += 1
        if self._redirects > _MAX_REDIRECTS:
            failure.message = f"{self.endpoint.url} was redirected more than {_MAX_REDIRECTS} times"
            raise failure
        self.resource = target
