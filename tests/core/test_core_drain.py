"""When an abandoned answer is over."""

from __future__ import annotations

import json

import pytest

from triplane.core.drain import Drain


def frame(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields})


def response(kind: str, number: int = 1, **more: object) -> str:
    return frame(f"response.{kind}", response={"id": f"resp_{number}", "output": [], **more})


DELTA = frame("response.output_text.delta", item_id="m", output_index=0, content_index=0, delta="x")
STEERED = response("incomplete", incomplete_details={"reason": "steered"})
STEER = {"id": "steer_1", "previous_response_id": "resp_1"}
ACCEPTED = frame("response.steer.accepted", steer=STEER)
PENDING = frame("response.steer.pending", steer=STEER, reason="waiting_for_required_input", required_input=[])


@pytest.mark.parametrize(
    ("frames", "over", "clean"),
    [
        ([], False, False),
        ([response("created"), DELTA], False, False),
        ([DELTA, response("completed")], True, True),
        ([response("completed")], True, True),
        ([response("failed", error={"code": "x", "message": "y"})], True, True),
        ([response("incomplete", incomplete_details={"reason": "max_output_tokens"})], True, True),
        ([frame("error", error={"message": "no"})], True, True),
        # A steered response is followed by another one.
        ([DELTA, STEERED], False, False),
        ([DELTA, STEERED, response("created", 2)], False, False),
        ([DELTA, STEERED, response("created", 2), DELTA, response("completed", 2)], True, True),
        ([ACCEPTED, response("completed")], False, False),
        ([ACCEPTED, response("completed"), response("created", 2), response("completed", 2)], True, True),
        # What the server would answer to the next request is not known then.
        ([ACCEPTED, response("completed"), PENDING], True, False),
        (["not json"], True, False),
        ([DELTA, frame("response.done"), frame("keepalive")], False, False),
    ],
)
def test_an_answer(frames, over, clean) -> None:
    drain = Drain()
    for each in frames:
        drain.take([each])
    together = Drain()
    together.take(frames)

    assert (over, clean) == (drain.is_over, drain.is_clean) == (together.is_over, together.is_clean)


def test_what_the_model_says_is_not_kept() -> None:
    drain = Drain()
    drain.take([DELTA] * 1_000)

    assert not drain._turn.response.has_output
