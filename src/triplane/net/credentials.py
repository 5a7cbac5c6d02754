"""With which key one goes to an endpoint now, and how a fresh one is had when it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import attrs
import trio

from triplane.core.errors import ConfigError, ConnectFailed

if TYPE_CHECKING:
    from .endpoint import Endpoint


@attrs.define(eq=False)
class _Call:
    """One call of the hook, and who waits for it."""

    over: trio.Event = attrs.Factory(trio.Event)
    failure: ConnectFailed | None = None


@final
class Credentials:
    """The key of one endpoint in one engine.

    Args:
        endpoint: Its key is the first one; without a key and with a hook, the hook is asked for that too.
        timeout: Seconds for one call of the hook.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._call: _Call | None = None
        self._put_out: str | None = None

    async def current(self) -> Endpoint:
        """The endpoint with the key of now.

        Raises:
            ConnectFailed: There was none yet, or it was refused after the handshake, and a fresh one could not be had.
        """
        await trio.lowlevel.checkpoint()
        key = self._endpoint.api_key
        if self._endpoint.refresh_key is not None and key in (None, self._put_out):
            return await self.renewed(key, None)
        return self._endpoint

    async def renewed(self, refused: str | None, refusal: ConnectFailed | None) -> Endpoint:
        """The endpoint with another key than the refused one. A checkpoint.

        Whoever comes while the hook is being called shares that call and its end. When the one who makes the call is
        cancelled, the next in line makes it.

        Args:
            refused: The key that was refused.
            refusal: How, for the error.

        Raises:
            ConnectFailed: The hook failed, took too long, or gave what cannot be a key.
        """
        await trio.lowlevel.checkpoint()
        while self._endpoint.api_key == refused:
            if self._call is None:
                await self._make_call(refusal)
                break
            call = self._call
            await call.over.wait()
            if call.failure is not None:
                raise call.failure.again()
        return self._endpoint

    def put_out(self, key: str | None) -> None:
        """Note that a key was refused after the handshake: the next connection asks for a fresh one first."""
        self._put_out = key

    async def _make_call(self, refusal: ConnectFailed | None) -> None:
        call = self._call = _Call()
        try:
            self._endpoint = await self._ask()
            self._put_out = None
        except ConnectFailed as failure:
            if refusal is not None:
                failure.status, failure.body, failure.message = (
                    refusal.status,
                    refusal.body,
                    f"{refusal.message}; {failure.message}",
                )
            call.failure = failure
            raise
        finally:
            self._call = None
            call.over.set()

    async def _ask(self) -> Endpoint:
        hook = self._endpoint.refresh_key
        assert hook is not None, "asked only where there is a hook"
        with trio.move_on_after(self._timeout):
            try:
                key = await hook()
            except Exception as error:
                raise _no_key(f"refresh_key raised {type(error).__name__}") from error
            try:
                fresh = attrs.evolve(self._endpoint, api_key=key)
            except ConfigError:
                raise _no_key("refresh_key must return text that fits in an HTTP header") from None
            if key is None or key == self._endpoint.api_key:
                raise _no_key("refresh_key returned no other key than the one there was")
            return fresh
        raise _no_key(f"refresh_key took longer than {self._timeout:g} s (option refresh_timeout)")


def _no_key(words: str) -> ConnectFailed:
    return ConnectFailed(words, stage="auth")
