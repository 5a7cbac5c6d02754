"""What an event costs: microseconds for a text delta and for a ``response.completed`` with 20 items.

    python scripts/bench_core.py [--rounds 50]

Four ways to read the same frames are timed in one run, in rounds in which each way has its turn, with the garbage
collector off as `timeit` has it, in processor time:

* `orjson.loads`: the JSON alone;
* `triplane.protocol.decode_event`: a typed event;
* the same, and `triplane.core.turn.TurnAccumulator.apply`: what the engine does with every event before readers see it;
* openai-python's own decoding, as its WebSocket connection does it, without folding.

Shown are medians over the rounds, and quartiles in brackets. Ratios are taken within each round, so that a machine that
is slow for a while is slow for both sides.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from openai.resources.responses.responses import ResponsesConnection

from triplane.core.turn import TurnAccumulator
from triplane.protocol import decode_event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Prepare = Callable[[], Callable[[], object]]

DELTAS = 1000
ENDS = 5
"""Frames in a round."""

WAYS = ("orjson.loads", "decode", "decode and fold", "openai")
MOST = 3.0
LEAST = 40.0
"""The targets for a delta: of `orjson.loads` that decode and fold may cost, and of decode and fold that openai does."""


# --- frames, with ids of the length that OpenAI's have


def item_id(prefix: str, number: int) -> str:
    """An item's id."""
    return f"{prefix}_{number:050x}"


def delta(number: int, **more: str) -> str:
    """One token of an answer."""
    place = {"item_id": item_id("msg", 1), "output_index": 0, "content_index": 0}
    words = ("The", " stream", " is", " read", " once", ",", " and", " then", " folded", ".")
    return text(
        {
            "type": "response.output_text.delta",
            "sequence_number": number,
            **more,
            **place,
            "delta": words[number % len(words)],
            "logprobs": [],
        }
    )


def opening(**more: str) -> list[str]:
    """What comes before the first delta."""
    message = {"id": item_id("msg", 1), "type": "message", "role": "assistant", "status": "in_progress"}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    place = {"item_id": item_id("msg", 1), "output_index": 0, "content_index": 0}
    return [
        text({"type": kind, "sequence_number": number, **more, **body})
        for number, (kind, body) in enumerate(
            [
                ("response.created", {"response": response([], status="in_progress")}),
                ("response.in_progress", {"response": response([], status="in_progress")}),
                ("response.output_item.added", {"output_index": 0, "item": {**message, "content": []}}),
                ("response.content_part.added", {**place, "part": part}),
            ]
        )
    ]


def items() -> list[dict[str, Any]]:
    """Twenty items: ten answers and ten calls."""
    prose = "The heartbeat notices within two intervals that nobody answers, and the lane is given up. " * 3
    output: list[dict[str, Any]] = []
    for number in range(10):
        part = {"type": "output_text", "text": prose, "annotations": [], "logprobs": []}
        output.append(
            {"id": item_id("msg", number), "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        )  # fmt: skip
        arguments = json.dumps({"path": f"src/module_{number}.py", "first_line": 1, "last_line": 200})
        output.append(
            {
                "id": item_id("fc", number),
                "type": "function_call",
                "status": "completed",
                "call_id": f"call_{number:024x}",
                "name": "read_text",
                "arguments": arguments,
            }
        )
    return output


def response(output: list[dict[str, Any]], *, status: str) -> dict[str, Any]:
    """A response object with the fields that OpenAI sends."""
    return {
        "id": f"resp_{1:050x}", "object": "response", "created_at": 1795000000, "status": status, "background": False,
        "completed_at": 1795000009, "error": None, "incomplete_details": None, "instructions": None,
        "max_output_tokens": None, "max_tool_calls": None, "metadata": {}, "model": "gpt-6-astra", "output": output,
        "parallel_tool_calls": True, "previous_response_id": None, "prompt_cache_key": None,
        "reasoning": {"effort": "medium", "summary": None}, "safety_identifier": None, "service_tier": "default",
        "store": False, "temperature": 1.0, "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled",
        "usage": {
            "input_tokens": 812, "input_tokens_details": {"cached_tokens": 768}, "output_tokens": 931,
            "output_tokens_details": {"reasoning_tokens": 128}, "total_tokens": 1743,
        },
        "user": None,
    }  # fmt: skip


def text(frame: dict[str, Any]) -> str:
    """A frame as it comes."""
    return json.dumps(frame, separators=(",", ":"))


# --- what is timed


class Case(NamedTuple):
    """Frames, and what each way makes of them."""

    name: str
    frames: Sequence[str]
    folded_before: Sequence[str]
    """What the accumulator has had before the first frame."""
    one_accumulator: bool
    """Whether one takes all the frames, or each takes one."""

    def ways(self) -> dict[str, Prepare]:
        """What is timed, made anew for each round."""
        return dict(zip(WAYS, (self.loads, self.decode, self.fold, self.openai), strict=True))

    def loads(self) -> Callable[[], object]:
        """The JSON alone."""
        frames, loads = self.frames, orjson.loads

        def run() -> None:
            for frame in frames:
                loads(frame)

        return run

    def decode(self) -> Callable[[], object]:
        """Typed events."""
        frames, decode = self.frames, decode_event

        def run() -> None:
            for frame in frames:
                decode(frame)

        return run

    def fold(self) -> Callable[[], object]:
        """Typed events, folded."""
        decode = decode_event
        accumulators = [TurnAccumulator() for _ in range(1 if self.one_accumulator else len(self.frames))]
        for accumulator in accumulators:
            for frame in self.folded_before:
                accumulator.apply(decode(frame))
        frames, folds = self.frames, [accumulator.apply for accumulator in accumulators]
        if self.one_accumulator:
            (fold,) = folds

            def run() -> None:
                for frame in frames:
                    fold(decode(frame))
        else:

            def run() -> None:
                for frame, fold in zip(frames, folds, strict=True):
                    fold(decode(frame))

        return run

    def openai(self) -> Callable[[], object]:
        """openai-python's typed events.

        `ResponsesConnection.recv` hands the bytes of a frame to `parse_event`, which uses nothing of the connection:
        ``construct_type_unchecked(value=json.loads(data), type_=ResponsesServerEvent)``
        (openai-python 3.52.0, ``src/openai/resources/responses/responses.py``, lines 4495-4537).
        """
        frames = [frame.encode() for frame in self.frames]
        parse: Callable[[Any, bytes], object] = ResponsesConnection.parse_event

        def run() -> None:
            for frame in frames:
                parse(None, frame)

        return run


def cases() -> list[Case]:
    """A delta in three variants, and the end of a response."""

    def deltas(name: str, **more: str) -> Case:
        lane = {key: value for key, value in more.items() if key == "stream_id"}
        before = opening(**lane)
        frames = [delta(number, **more) for number in range(len(before), len(before) + DELTAS)]
        return Case(name, frames, before, one_accumulator=True)

    created = text(
        {"type": "response.created", "sequence_number": 0, "response": response([], status="in_progress")}
    )
    done = [
        text(
            {
                "type": "response.output_item.done",
                "sequence_number": 1 + index,
                "output_index": index,
                "item": item,
            }
        )
        for index, item in enumerate(items())
    ]
    end = text(
        {
            "type": "response.completed",
            "sequence_number": 21,
            "response": response(items(), status="completed"),
        }
    )
    return [
        deltas("delta"),
        deltas("delta in a lane", stream_id="lane-07"),
        # Documented for server-sent events; whether sockets have it is not. No field of ours takes it.
        deltas("delta with obfuscation", obfuscation="kD93nAb0Xq2Lr7"),
        Case("response.completed with 20 items", [end] * ENDS, [created, *done], one_accumulator=False),
    ]  # fmt: skip


def measure(case: Case, rounds: int) -> dict[str, list[float]]:
    """Microseconds for a frame, for each way and round."""
    ways = case.ways()
    times: dict[str, list[float]] = {way: [] for way in ways}
    for prepare in ways.values():
        prepare()()
    for number in range(rounds):
        # Each round begins with another way, so that none always comes after the same.
        order = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        gc.collect()
        for way in order:
            run = ways[way]()
            gc.disable()
            try:
                begin = time.process_time()
                run()
                spent = time.process_time() - begin
            finally:
                gc.enable()
            times[way].append(spent / len(case.frames) * 1e6)
    return times


def spread(values: Sequence[float], unit: str = "", digits: int = 2) -> str:
    """The median, and the quartiles in brackets."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f}{unit} [{low:.{digits}f} - {high:.{digits}f}]"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50, help="at least 2 (default: %(default)s)")
    rounds = max(2, parser.parse_args().rounds)
    # What is there now is never garbage: collecting between the rounds need not look at it.
    gc.collect()
    gc.freeze()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("triplane", "orjson", "openai", "pydantic"))
    print(f"{platform.python_implementation()} {platform.python_version()}, {libraries}")
    print(f"{rounds} rounds; microseconds a frame, median [quartiles]; fold: TurnAccumulator.apply\n")
    for case in cases():
        times = measure(case, rounds)
        print(f"{case.name}: {len(case.frames[-1])} bytes, {len(case.frames)} frames a round")
        for way, values in times.items():
            ratio = [value / base for value, base in zip(values, times["orjson.loads"], strict=True)]
            print(f"    {way:<16} {spread(values):>30}   {spread(ratio, ' x'):>26} orjson.loads")
        cheaper = [
            theirs / ours for theirs, ours in zip(times["openai"], times["decode and fold"], strict=True)
        ]
        dearer = [
            ours / json_ for ours, json_ in zip(times["decode and fold"], times["orjson.loads"], strict=True)
        ]
        most, least = (f"target at most {MOST:g} x, measured ", f"target at least {LEAST:g} x, measured ")
        if not case.one_accumulator:
            most = least = ""
        print(f"    decode and fold / orjson.loads: {most}{spread(dearer, ' x')}")
        print(f"    openai / decode and fold: {least}{spread(cheaper, ' x', 1)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
