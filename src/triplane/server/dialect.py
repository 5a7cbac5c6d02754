"""How servers of this API differ from each other. Pure data.

The Responses API in WebSocket mode began as one response at a time on each connection, and some servers are still like
that. A mode is a set of such differences under the name of a server that has them; see `Dialect` for what they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIALECTS", "Dialect", "Mode"]

Mode: TypeAlias = Literal["openai", "azure", "xai", "spec", "rejecting"]
"""What `serve(mode=...)` takes; see `DIALECTS`."""

_HOUR: Final = 3600.0

# The code whose sample in the pages of Azure and xAI has an error object without `type`.
_NOT_FOUND: Final = frozenset({"previous_response_not_found"})


@final
@attrs.frozen(kw_only=True)
class Dialect:
    """What a server does that another one does not.

    Attributes:
        lanes: whether `stream_id` opens lanes. Otherwise it is ignored like an unknown field, and a connection has one
            response at a time.
        steering: whether `response.steer` is known.
        inject: whether `response.inject` is known, to connections that asked for the multi-agent beta.
        queues: whether a create on a busy lane waits for its turn. Otherwise it is refused while the connection has
            any response in flight.
        max_age: seconds after which a connection has reached its limit, unless the option says otherwise.
        unsupported: fields of `response.create` that are refused; null is as good as leaving them out.
        untyped: codes of errors whose error object has no `type`.
    """

    lanes: bool = False
    steering: bool = False
    inject: bool = False
    queues: bool = True
    max_age: float = _HOUR
    unsupported: frozenset[str] = frozenset({"background"})
    untyped: frozenset[str] = frozenset()


DIALECTS: Final[Mapping[Mode, Dialect]] = {
    "openai": Dialect(lanes=True, steering=True, inject=True),
    "azure": Dialect(untyped=_NOT_FOUND),
    "xai": Dialect(untyped=_NOT_FOUND, max_age=25 * 60.0),
    # The Open Responses specification has neither of these fields on a WebSocket.
    "spec": Dialect(unsupported=frozenset({"background", "stream", "stream_options"})),
    "rejecting": Dialect(queues=False),
}
"""The modes: OpenAI as it is, Azure OpenAI, xAI, the Open Responses specification to the letter, and a server that
refuses what it cannot begin at once, as some that speak this protocol do."""
