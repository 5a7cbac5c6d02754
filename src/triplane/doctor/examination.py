"""The examination of an endpoint: what is tried, in which order, and what each result means.

It costs a little: two short turns, and two warm-ups that generate nothing. Nothing is retried, since a doctor who
tries until it works would say that it works.
"""

from __future__ import annotations

import ipaddress
import math
import time
from typing import TYPE_CHECKING, Any, Final, final

import attrs
import orjson
import trio

from triplane.core.errors import ConnectFailed, Stalled, TriplaneError
from triplane.core.options import EngineOptions
from triplane.net.dial import Dialler, TcpNetwork
from triplane.net.refusal import quote
from triplane.protocol import ResponseCreate

from .checks import NAMES, Check, Name, Report
from .http import Answer, NoAnswerError, ask
from .talk import open_talk
from .way import Way

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from triplane.core.errors import CloseInfo
    from triplane.net.dial import Network
    from triplane.net.endpoint import Endpoint

    from .talk import Reply, Talk

_TURNS: Final[tuple[Name, ...]] = ("turn", "continuation", "warm-up", "lanes")
_TALK: Final[tuple[Name, ...]] = ("ping", *_TURNS)
_PROMPT: Final = "Reply with the one word: ok"
_LANE: Final = "triplane-doctor"
_MOST_TOKENS: Final = 256
# Documented by the services (OpenAI's, Microsoft's and xAI's WebSocket-mode pages), in minutes.
_AGE_LIMITS: Final = {".openai.com": 60, ".openai.azure.com": 60, ".x.ai": 25}
# The local server's models that answer to anything.
_LOCAL_MODELS: Final = ("echo", "directive")


async def examine(
    endpoint: Endpoint,
    *,
    model: str | None = None,
    patience: float = 60.0,
    options: EngineOptions | None = None,
    network: Network | None = None,
    environ: Mapping[str, str] | None = None,
    told: Callable[[Check], None] | None = None,
) -> Report:
    """Try what an endpoint can do, check by check. Expected failures are checks, not errors.

    Cancelling it closes what is open.

    Args:
        endpoint: Where and as whom. The key goes to it and nowhere else, and is in no check.
        model: Who is asked for turns; without it turns are only tried at a server on this machine, with a model of its
            own list.
        patience: Seconds for each answer.
        options: The deadlines of the stages of connecting.
        network: How TCP connections are made.
        environ: Where proxies are looked for, by default the process's environment.
        told: Gets each check as soon as it is made.
    """
    examination = _Examination(
        endpoint, model, patience, options or EngineOptions(), told or (lambda _check: None)
    )
    await examination.run(network or TcpNetwork(), environ)
    return examination.report()


@final
class _Examination:
    def __init__(
        self,
        endpoint: Endpoint,
        model: str | None,
        patience: float,
        options: EngineOptions,
        told: Callable[[Check], None],
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._patience = patience
        # A pace is for crowds.
        self._options = attrs.evolve(options, dial_rate=math.inf)
        self._told = told
        self._checks: dict[Name, Check] = {}
        self._untold = list(NAMES)

    def report(self) -> Report:
        """What is known, with a reason for what could not be tried."""
        for name in NAMES:
            self._note(Check(name, "skipped", "not reached"))
        return Report(self._endpoint.url, tuple(self._checks[name] for name in NAMES))

    def _note(self, check: Check) -> None:
        """Keep a check, the first of its name, and tell of all whose turn it is."""
        self._checks.setdefault(check.name, check)
        while self._untold and self._untold[0] in self._checks:
            self._told(self._checks[self._untold.pop(0)])

    def _skip(self, reason: str, *names: Name) -> None:
        for name in names:
            self._note(Check(name, "skipped", reason))

    async def run(self, network: Network, environ: Mapping[str, str] | None) -> None:
        """Make all checks."""
        self._note(_url(self._endpoint))
        way = Way(self._endpoint, self._note, time.time())
        dialler = Dialler(network, self._options, environ, told=way.passed)
        way.begin()
        reached = await self._talk(dialler, way)
        if reached:
            self._note(await self._http(dialler))
        self._note(_age_limit(self._endpoint))

    async def _talk(self, dialler: Dialler, way: Way) -> bool:
        """All that needs a WebSocket; whether something answered there at all."""
        try:
            async with open_talk(dialler, self._endpoint, self._options, self._patience) as talk:
                self._note(_upgraded(talk, self._endpoint, way.elapsed()))
                if await self._is_let_in(talk, way.elapsed()):
                    await self._turns(dialler, talk)
        except ConnectFailed as failure:
            if failure.stage in ("upgrade", "auth"):
                self._refused(failure)
                return True
            way.failed(failure)
            return False
        return True

    def _refused(self, failure: ConnectFailed) -> None:
        quote(failure, self._endpoint)
        facts = {"status": failure.status, "retry_after": failure.retry_after, "body": failure.body}
        if failure.is_auth_refusal:
            self._skip("the key was refused first", "upgrade")
            self._note(Check("auth", "failed", str(failure), _advice_on_key(self._endpoint), facts=facts))
            self._skip("the key was refused", *_TALK)
            return
        # The check over HTTP, below, says whether that works.
        advice = (
            "check the URL's path; if that is right, triplane run --transport auto, or in a program"
            ' Endpoint(transport="auto"), goes over HTTP'
            if failure.is_unsupported
            else ""
        )
        if failure.retry_after is not None:
            advice = f"the server asks to wait {failure.retry_after:g} s"
        self._note(Check("upgrade", "failed", str(failure), advice, facts=facts))
        self._skip("no WebSocket was opened", "auth", *_TALK)

    async def _is_let_in(self, talk: Talk, upgrade_took: float) -> bool:
        """Whether the connection stays: some servers accept everybody and then close."""
        key = "the key was accepted" if self._endpoint.api_key else "no key was asked for"
        try:
            await talk.settle(upgrade_took)
            trip = await talk.ping()
        except ConnectFailed as failure:
            close = failure.close
            facts = {} if close is None else _close_facts(close)
            self._note(Check("auth", "failed", str(failure), _advice_on_key(self._endpoint), facts=facts))
            self._skip("the key was refused", *_TALK)
            return False
        except Stalled as error:
            self._note(Check("auth", "ok", key))
            advice = "an engine takes a peer that answers no ping for dead; look for a proxy that drops control frames"
            self._note(Check("ping", "failed", str(error), advice))
            return True
        except TriplaneError as error:
            self._note(Check("auth", "failed", str(error), "the connection ended before anything was asked"))
            self._skip("the connection is gone", *_TALK)
            return False
        self._note(Check("auth", "ok", key))
        self._note(
            Check("ping", "ok", "answered", seconds=trip, facts={"round_trip_seconds": round(trip, 6)})
        )
        return True

    async def _turns(self, dialler: Dialler, talk: Talk) -> None:
        model = self._model or await self._local_model(dialler)
        if model is None:
            self._skip("needs --model, since a turn costs tokens", *_TURNS)
            return
        ask_for = ResponseCreate(model=model, store=False, max_output_tokens=_MOST_TOKENS, input=_PROMPT)
        try:
            first = await talk.ask(ask_for)
            self._note(_turn(first, model))
            prepare = ResponseCreate(
                model=model, store=False, instructions="Be brief.", input=(), generate=False
            )
            if _is_done(first):
                again = attrs.evolve(ask_for, previous_response_id=first.response.id, input="Once more.")
                self._note(_continuation(await talk.ask(again)))
                self._note(_warm_up(await talk.ask(prepare)))
            else:
                self._skip("the turn failed", "continuation", "warm-up")
            self._note(_lanes(await talk.ask(attrs.evolve(prepare, stream_id=_LANE))))
        except TriplaneError as error:
            waiting: list[Name] = [name for name in _TURNS if name not in self._checks]
            self._note(Check(waiting[0], "failed", str(error), "the connection did not survive this request"))
            self._skip("the connection is gone", *waiting[1:])

    async def _local_model(self, dialler: Dialler) -> str | None:
        """A model of a server on this machine, where a turn costs nothing; else None."""
        if not _is_local(self._endpoint.host):
            return None
        path = self._endpoint.resource.partition("?")[0].removesuffix("/responses") + "/models"
        try:
            answer = await self._ask_over_http(dialler, "GET", path)
            names = [str(each["id"]) for each in orjson.loads(answer.body)["data"]]
        except (TriplaneError, NoAnswerError, orjson.JSONDecodeError, KeyError, TypeError):
            return None
        known = [name for name in _LOCAL_MODELS if name in names]
        return next(iter([*known, *names]), None)

    async def _http(self, dialler: Dialler) -> Check:
        began = trio.current_time()
        # What cannot be read cannot cost anything. Only who serves the route complains about it.
        try:
            answer = await self._ask_over_http(dialler, "POST", self._endpoint.resource, b"{")
        except (TriplaneError, NoAnswerError) as error:
            return Check("http", "failed", f"no answer to a POST: {error}", "turns over HTTP would fail")
        return _over_http(answer, trio.current_time() - began)

    async def _ask_over_http(self, dialler: Dialler, method: str, path: str, body: bytes = b"") -> Answer:
        with trio.move_on_after(self._patience):
            return await ask(dialler, self._endpoint, method, path, body)
        raise NoAnswerError(f"nothing came within {self._patience:g} s")


def _url(endpoint: Endpoint) -> Check:
    key = "with a key" if endpoint.api_key else "without a key"
    return Check(
        "url",
        "ok",
        f"{endpoint.url}, {key}",
        facts={"url": endpoint.url, "key": endpoint.api_key is not None},
    )


def _upgraded(talk: Talk, endpoint: Endpoint, took: float) -> Check:
    found = "the server speaks WebSocket here"
    if talk.resource != endpoint.resource:
        found += f", after a redirect to {talk.resource}"
    return Check("upgrade", "ok", found, seconds=took, facts={"resource": talk.resource})


def _advice_on_key(endpoint: Endpoint) -> str:
    if endpoint.api_key is None:
        return "no key was sent: set OPENAI_API_KEY, or name another variable with --api-key-env"
    return "check that the key is whole, not revoked, of this service, and allowed to use the Responses API"


def _close_facts(close: CloseInfo) -> dict[str, Any]:
    return {"close_code": close.code, "close_reason": close.reason}


def _is_done(reply: Reply) -> bool:
    return reply.response.status in ("completed", "incomplete") and reply.response.id is not None


def _complaint(reply: Reply) -> str:
    error = reply.response.error
    if error is None:
        return f"the response ended as {reply.response.status}"
    label = error.code or error.type or "error"
    status = "" if error.status is None else f" ({error.status})"
    return f"{label}{status}: {error.message or 'no message'}"


def _turn(reply: Reply, model: str) -> Check:
    if not _is_done(reply):
        advice = "check --model and that the key may use it"
        return Check("turn", "failed", _complaint(reply), advice, reply.seconds, {"model": model})
    usage = reply.response.usage or {}
    tokens = {name: usage.get(f"{name}_tokens") for name in ("input", "output")}
    cost = (
        "no usage told" if None in tokens.values() else f"{tokens['input']} tokens in, {tokens['output']} out"
    )
    facts = {"model": model, "first_event_seconds": round(reply.first_event, 6), **tokens}
    return Check("turn", "ok", f"{model} answered, {cost}", seconds=reply.seconds, facts=facts)


def _continuation(reply: Reply) -> Check:
    if _is_done(reply):
        found = f"incremental: {reply.bytes_up} bytes went up, and nothing of what was said before"
        return Check("continuation", "ok", found, seconds=reply.seconds, facts={"bytes_up": reply.bytes_up})
    return Check(
        "continuation",
        "failed",
        _complaint(reply),
        "runs work all the same, but send their whole conversation with every turn",
        reply.seconds,
    )


def _warm_up(reply: Reply) -> Check:
    if not _is_done(reply):
        return Check("warm-up", "skipped", f"not offered: {_complaint(reply)}")
    if reply.response.output:
        return Check("warm-up", "skipped", "not offered: the server ignores generate=false and answers")
    return Check("warm-up", "ok", "prepared, and nothing generated", seconds=reply.seconds)


def _lanes(reply: Reply) -> Check:
    if reply.lane == _LANE:
        found = "stream_id is echoed: several responses at once on one connection"
        return Check("lanes", "ok", found, facts={"lanes": True})
    why = "stream_id is not echoed" if _is_done(reply) else _complaint(reply)
    found = f"not offered: {why}; one response at a time on each connection"
    return Check("lanes", "skipped", found, facts={"lanes": False})


def _age_limit(endpoint: Endpoint) -> Check:
    rotated = "never" if endpoint.max_age is None else f"after {endpoint.max_age / 60:g} min"
    facts: dict[str, Any] = {"max_age_seconds": endpoint.max_age}
    for domain, minutes in _AGE_LIMITS.items():
        if endpoint.host.endswith(domain):
            found = f"{minutes} min, as documented; connections are replaced {rotated}"
            too_late = endpoint.max_age is None or endpoint.max_age > minutes * 60
            advice = "the server is first: lower Endpoint(max_age=…)" if too_late else ""
            return Check("age limit", "ok", found, advice, facts={**facts, "limit_minutes": minutes})
    return Check("age limit", "skipped", f"not known; connections are replaced {rotated}", facts=facts)


def _over_http(answer: Answer, took: float) -> Check:
    facts = {"status": answer.status}
    if answer.status in (404, 405, 501):
        return Check("http", "skipped", f"not offered: POST is answered with {answer.status}", facts=facts)
    if answer.status in (401, 403):
        return Check("http", "failed", f"the key is refused here too, with {answer.status}", "", took, facts)
    if answer.status == 429 or answer.status >= 500:
        return Check(
            "http", "failed", f"POST is answered with {answer.status}", "try again later", took, facts
        )
    found = "POST is served; checked with a request that is none and costs nothing"
    return Check("http", "ok", found, seconds=took, facts=facts)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
