"""What `expect` accepts, and what it says."""

from __future__ import annotations

import re

import pytest

from triplane.server.client_requests import ClientRequest
from triplane.testing.expectations import check

LOOK = {"type": "function", "name": "look"}


def seen(
    text="hello", *, transport="websocket", kind="response.create", lane=None, model="gpt-5.5", **fields
):
    json = {"type": kind, "model": model, "input": text, **fields}
    return ClientRequest(1, 1, transport, kind, json, "", {}, lane=lane)


def output(text):
    return {"type": "function_call_output", "call_id": "c", "output": text}


MESSAGE = {"role": "user", "content": [{"type": "input_text", "text": "in a part"}, {"type": "input_image"}]}


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ({}, True),
        ({"model": "gpt-5.5"}, True),
        ({"model": "gpt"}, False),
        ({"model": re.compile("gpt-.*")}, True),
        ({"model": re.compile("gpt-")}, False),
        ({"text": "in a part"}, True),
        ({"text": "facts"}, True),
        ({"text": "nothing like it"}, False),
        ({"text": re.compile("^facts$", re.MULTILINE)}, True),
        ({"text": str.isupper}, False),
        ({"text": lambda text: "part" in text}, True),
        ({"tools": ["look"]}, True),
        ({"tools": ["web_search", "look"]}, True),
        ({"tools": ["other"]}, False),
        ({"instructions": "brief"}, True),
        ({"instructions": None}, False),
        ({"previous_response_id": "resp_1"}, True),
        ({"previous_response_id": ...}, True),
        ({"previous_response_id": None}, False),
        ({"lane": "a"}, True),
        ({"lane": ...}, True),
        ({"lane": None}, False),
        ({"transport": "websocket"}, True),
        ({"transport": "http"}, False),
        ({"kind": "response.steer"}, False),
        ({"where": lambda request: request.json["store"] is False}, True),
        ({"where": lambda request: request.json.get("generate") is False}, False),
    ],
)
def test_each_fact_can_be_expected(pattern, fits):
    request = seen(
        [MESSAGE, output("facts")],
        lane="a",
        tools=[LOOK, {"type": "web_search"}],
        instructions="be brief",
        previous_response_id="resp_1",
        store=False,
    )

    if fits:
        assert check([request], **pattern) == (request,)
    else:
        with pytest.raises(AssertionError, match="none came"):
            check([request], **pattern)
    assert check([request], count=int(fits), **pattern) == (request,) * fits


def test_what_a_request_leaves_out_fits_none():
    request = seen()

    assert check([request], lane=None, previous_response_id=None, instructions=None, tools=[]) == (request,)
    with pytest.raises(AssertionError, match="lane is None"):
        check([request], lane=...)


def test_counts_and_messages():
    requests = [
        seen("one"),
        seen("two", transport="http", lane="b", tools=[LOOK]),
        seen("", kind="response.steer"),
    ]

    with pytest.raises(AssertionError) as caught:
        check(requests, count=2, text="one")
    assert str(caught.value).splitlines() == [
        "expected 2 requests with text='one'; 1 came. The server saw:",
        "  1. websocket, model='gpt-5.5', text='one'",
        "  2. http, lane='b', model='gpt-5.5', text='two', tools=['look'] - text is 'two'",
        "  3. websocket response.steer, model='gpt-5.5' - kind is 'response.steer'; text is ''",
    ]
    with pytest.raises(
        AssertionError, match="expected 1 request; none came. The server saw no request at all"
    ):
        check([], count=1)
    assert check([], count=0) == ()
    with pytest.raises(AssertionError, match=r"with model=/x\.\*/, lane=any"):
        check(requests, model=re.compile("x.*"), lane=...)


def test_order():
    one, two, three = seen("one"), seen("two"), seen("three", lane="a")

    assert check([one, two, three], order=[{"text": "one"}, {"text": "three"}]) == (one, three)
    assert check([one, two, three], order=[{"text": "one"}], count=3) == (one,)
    assert check([one, two, three], order=[]) == ()
    with pytest.raises(
        AssertionError, match="as number 2 in order, a request with text='one' after request 2"
    ):
        check([one, two, three], order=[{"text": "two"}, {"text": "one"}])
    with pytest.raises(AssertionError, match="as number 1 in order, a request with text='one'; none came"):
        check([one, two, three], order=[{"text": "one"}], lane="a")
    with pytest.raises(AssertionError, match="expected 2 requests; 3 came"):
        check([one, two, three], order=[{"text": "one"}], count=2)


def test_what_there_is_not_is_no_expectation():
    with pytest.raises(TypeError, match="there is no txt to expect; there are kind, .*, count, order"):
        check([], txt="x")
    with pytest.raises(TypeError, match="no txt"):
        check([], order=[{"txt": "x"}])


@pytest.mark.parametrize(
    "json", [None, [], {"input": 7, "tools": 7, "model": 7}, {"input": [7, {"content": [7]}]}]
)
def test_what_is_no_proper_request_is_listed_too(json):
    request = ClientRequest(1, 1, "websocket", "", json, "?", {})

    with pytest.raises(AssertionError, match="websocket that has no type - kind is ''"):
        check([request])
