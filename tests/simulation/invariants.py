"""What must hold after every step? The list, and the exception for what does not.

1.  *at most once*: a call's effect happens once; an idempotent one again only with the same key.
2.  *one output*: in a conversation that the server is sent, every call has exactly one output, the one in the log; a
    call that is async has it once the run is completed.
3.  *known call*: no output is sent for a call that is not in the conversation.
4.  *sockets*: every connection that was opened is closed at the end, at both its ends.
5.  *busy lane*: no request is sent on a lane that still owes an answer, by the server's frames and by the logs.
6.  *bounds*: no more connections than there may be; a lane has the holder that its state says.
7.  *fold*: a log folded again is the live state, after every record.
8.  *append only*: sequence numbers have no gap, what was appended stays as it was, and nothing follows the end.
9.  *write ahead*: a tool's start is durable before its effect, a request before the server sees it.
10. *delivery*: what a run takes for its answer is the server's answer to that run's request.
11. *shown*, *result*: what a reader is left with is the text of the result, which is what the model was to say.
12. *replay*: a turn is tried again where its boundary allows it, told with a reason, within the budget.
13. *evicted*: an id that an error made the server forget is not used again.
14. *known id*: a response is continued only on a connection that knows it, or where it was stored; *refused*: the
    server finds nothing wrong with a request.
15. *tasks*: nothing runs on when the engine has been left.
16. *cancel latency*: whoever is cancelled returns at once; leaving the engine takes `close_grace` at most.
17. *ended*: every run's log says how it ended, cancelled ones included, or that it is parked.
18. *fairness*: who waited longer for a lane is served first, and nobody waits while a lane is free.
19. *liveness*: everything ends, whatever the network does (19 and 20).
22. *secrets*: no key in a log, in the journal or in an error.
23. *errors*: what is raised is one of Triplane's errors; *receipt*: what its receipt says is true.
24. *determinism*: the same scenario makes the same bytes; `test_simulation` holds them against each other.
25. *approval*: a call that needs approval starts once a decision for it is durable, and no other.

How much memory is used (21) is not looked at here.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Found:
    """Something that did not hold.

    Attributes:
        which: One of the words in italics above.
        words: What was seen.
        step: Of the scheduler.
    """

    which: str
    words: str
    step: int


class Broken(AssertionError):  # noqa: N818  # it says what happened
    """Something does not hold."""

    def __init__(self, which: str, words: str) -> None:
        super().__init__(f"{which}: {words}")
        self.which = which
        self.words = words


def require(which: str, holds: object, words: str) -> None:
    """Raise `Broken` unless it holds."""
    if not holds:
        raise Broken(which, words)
