"""What a message means that nobody asked for."""

from __future__ import annotations

import json

import pytest

from triplane.core.unasked import judge_unasked, repeats_what_ended


def lifecycle(kind: str, **response: object) -> str:
    return json.dumps(
        {"type": f"response.{kind}", "response": {"status": "completed", "output": [], **response}}
    )


LIMIT = {
    "type": "error",
    "status": 400,
    "error": {"code": "websocket_connection_limit_reached", "message": "60"},
}


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        ('{"type":"keepalive"}', "harmless"),
        ('{"type":"response.done","response":{"id":"resp_1"}}', "harmless"),
        # The end of a response once more, and what else says whose it is.
        (lifecycle("completed", id="resp_1"), "harmless"),
        (lifecycle("in_progress", id="resp_1"), "harmless"),
        (lifecycle("failed", id="resp_1"), "harmless"),
        (json.dumps(LIMIT), "retire"),
        # It could be taken for the beginning, or a part, of the next answer.
        (lifecycle("created", id="resp_2"), "violation"),
        (lifecycle("completed"), "violation"),
        (
            '{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"a"}',
            "violation",
        ),
        ('{"type":"error","status":429,"error":{"code":"rate_limit_exceeded","message":""}}', "violation"),
        ("not JSON", "violation"),
        ("[]", "violation"),
    ],
)
def test_what_it_means(frame: str, verdict: str) -> None:
    assert judge_unasked(frame) == verdict


@pytest.mark.parametrize(
    ("frame", "repeats"),
    [
        (lifecycle("completed", id="resp_1"), True),
        (lifecycle("failed", id="resp_1"), True),
        (lifecycle("in_progress", id="resp_1"), True),
        (lifecycle("created", id="resp_1"), False),
        (lifecycle("completed", id="resp_2", previous_response_id="resp_1"), False),
        (lifecycle("completed", id=["resp_1"]), False),
        ('{"type":"keepalive","id":"resp_1"}', False),
        ("not JSON of resp_1", False),
    ],
)
def test_what_tells_once_more_of_a_response_that_has_ended(frame: str, *, repeats: bool) -> None:
    assert repeats_what_ended(frame, {"resp_1"}) is repeats
