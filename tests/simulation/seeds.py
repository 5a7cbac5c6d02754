"""What was found by simulation? Every bug by name, with the seed it came from, made small, and what it showed.

The scenario is written out, so that it stays the same when drawing changes. Where the order of tasks matters and code
has changed since, it may not show the bug any more: then the test that came of it does.
"""

from __future__ import annotations

import attrs

from triplane.server import Duplicate, Malformed, Omit, SpoilOutput

from .scenario import FanOut, Lane, Run, Scenario, Word


@attrs.frozen
class Seed:
    """A bug that was found.

    Attributes:
        name: For the test.
        showed: What did not hold.
        scenario: A small one in which it did not.
    """

    name: str
    showed: str
    scenario: Scenario


FOUND = (
    Seed(
        "a lane at the age limit was handed on",
        "A bare lane ended with the announcement of the age limit, in the middle of a response that went on. The next"
        " run on the connection took the rest of it for its own answer.",
        Scenario(
            seed=874,
            jobs=(
                Lane(programs=(("WAIT 5000",),)),
                Run(lines=("WAIT 25000",)),
                Run(lines=(), reader="all"),
            ),
            server={"max_age": 5.0, "on_max_age": "cut"},
        ),
    ),
    Seed(
        "a run that gave up at the age limit handed its connection on",
        "The last attempt of a turn met the age limit, and the connection went back to the pool as a free one.",
        Scenario(
            seed=66,
            jobs=(Run(lines=("WAIT 5000",)), Run(lines=('CALL hang {"number": 8}', "WAIT 5000"))),
            server={"max_age": 1.0, "on_max_age": "cut", "max_age_close_code": None},
        ),
    ),
    Seed(
        "an empty list at the end took the text away",
        "The terminal event's output was [], and replaced a message that had been streamed to its end.",
        Scenario(
            seed=204,
            jobs=(
                FanOut(programs=(('CALL put {"number": 2}',),), max_runs=1, ordered=True),
                Run(lines=("SAY 9 word ",)),
            ),
            faults=(SpoilOutput(nth=2, output="empty"), SpoilOutput(nth=3, output="empty")),
        ),
    ),
    Seed(
        "a receipt said to begin again after tools had run",
        "A connection died between the record of a later turn's request and its first byte: nothing of that request"
        " was sent, but to call again would have repeated what the tools had done.",
        Scenario(
            seed=457,
            jobs=(
                Run(
                    lines=(
                        'CALL helper {"question": "#2c.0.0\\nSAY 3 word "}',
                        "SAY 3 well ",
                        'CALL look {"number": 8}',
                        'CALL put {"number": 5}',
                        'CALL nothing {"number": 9}',
                        "SAY 3 well ",
                        'CALL cut {"number": 9}',
                    )
                ),
            ),
            options={"max_connections": 1, "replay_attempts": 0},
        ),
    ),
    Seed(
        "a bare lane forgot what it had sent",
        "A frame that is not JSON came out as an error whose receipt said that nothing had been sent.",
        Scenario(
            seed=52,
            jobs=(Lane(programs=((), ())), Run(lines=('CALL look {"number": 4}',))),
            faults=(Malformed(after_events=4, nth=4),),
        ),
    ),
    Seed(
        "a lane that was being read off at the age limit was handed on",
        "A run was cancelled, and its answer read off in the background. The announcement of the age limit was taken for"
        " the end of it, and the next run took the rest for its own answer.",
        Scenario(
            seed=40218,
            jobs=(Run(lines=("WAIT 4000", "SAY 9 late "), cancel_after=1.5), Run(lines=(), at=2.2)),
            options={"max_connections": 1},
            server={"max_age": 2.0, "on_max_age": "announce", "max_age_close_code": None},
        ),
    ),
    Seed(
        "a reader waited for a fork of the run that it read",
        "The fork needed the only lane, which its source held; and the source had stopped reading, since its reader was"
        " max_unread bytes behind.",
        Scenario(
            seed=60308,
            jobs=(
                Run(
                    lines=('CALL write {"number": 4}', "SAY 5 late "),
                    reader="all",
                    words=(Word(after=18, how="fork", text="WAIT 300"),),
                ),
            ),
            options={"max_connections": 1, "max_unread": 1000},
            endpoint={"max_age": None},
        ),
    ),
    Seed(
        "half a request over HTTP was taken for one that the server finds fault with",
        "A run was cancelled after the head of its request and before the body. The server said so, to nobody; the"
        " check took that for a request that we had made wrong.",
        Scenario(
            seed=1260,
            jobs=(
                Run(lines=(), reader="all"),
                FanOut(cancel_at_step=74, programs=((), ()), ordered=True),
            ),
            options={"max_connections": 3},
            endpoint={"transport": "http"},
        ),
    ),
    Seed(
        "the end of a response, sent twice, answered another run",
        "A server sent response.completed twice. The second was still to be read when the lane went to another run, which"
        " took it for its own answer.",
        Scenario(
            seed=1920,
            jobs=(
                Run(lines=('REPEAT 2 CALL look {"number": 3}',)),
                FanOut(programs=(('CALL look {"number": 4}',), ())),
            ),
            faults=(Duplicate(after_events=6, nth=4),),
        ),
    ),
    Seed(
        "a piece of text that the server left out was held against the reader",
        "A delta never came; the end of the response had all of the text, and the run said that they differ. The check"
        " did not listen to that.",
        Scenario(
            seed=1947,
            jobs=(Run(lines=('CALL write {"number": 0}', "SAY 9 word "), reader="all"),),
            faults=(Omit(after_events=10, nth=2),),
        ),
    ),
)
