"""Errors of the server, in every shape that was seen, and what is shown of frames."""

import json
import math
import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import triplane.protocol as tp

ERROR = {"type": "invalid_request_error", "code": "some_code", "message": "It broke.", "param": "input"}
JSON_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)

SHAPES: dict[str, tuple[dict[str, Any], tp.ErrorDetail]] = {
    "a: nested": (
        {
            "type": "error",
            "status": 400,
            "stream_id": "a",
            "error": {**ERROR, "headers": {"Retry-After": "7"}},
        },
        tp.ErrorDetail(
            "some_code",
            400,
            "invalid_request_error",
            "input",
            "It broke.",
            {"retry-after": "7"},
            retry_after=7.0,
        ),
    ),
    "b: without a status": (
        {
            "type": "error",
            "sequence_number": 2,
            "error": {"type": "server_error", "code": None, "message": "m"},
        },
        tp.ErrorDetail(type="server_error", message="m"),
    ),
    "c: flat": (
        {"type": "error", "code": "c", "message": "m", "param": None, "sequence_number": 3},
        tp.ErrorDetail("c", message="m"),
    ),
    "d: status_code": (
        {"type": "error", "status_code": 503, "error": {"code": "slow_down", "message": "m"}},
        tp.ErrorDetail("slow_down", 503, message="m"),
    ),
    "e: headers on top": (
        {
            "type": "error",
            "status": 429,
            "headers": {"Retry-After": 2, "X-Flag": True, "X": None},
            "error": {"code": "c"},
        },
        tp.ErrorDetail("c", 429, headers={"retry-after": "2", "x-flag": "true"}, retry_after=2.0),
    ),
    "f: detail": (
        {"type": "error", "status": 400, "error": {"detail": "Bad thing."}},
        tp.ErrorDetail(status=400, message="Bad thing."),
    ),
    "g: usage limit": (
        {
            "type": "error",
            "status": 429,
            "error": {
                "type": "usage_limit_reached",
                "message": "m",
                "plan_type": "plus",
                "resets_at": 1795000000,
            },
        },
        tp.ErrorDetail(status=429, type="usage_limit_reached", message="m", resets_at=1795000000.0),
    ),
    "h: response.failed": (
        {
            "type": "response.failed",
            "response": {"id": "r", "status": "failed", "error": {"code": "server_error", "message": "m"}},
        },
        tp.ErrorDetail("server_error", message="m"),
    ),
    "i: response.error": (
        {"type": "response.error", "error": {"code": "c", "message": "m"}},
        tp.ErrorDetail("c", message="m"),
    ),
    "j: no type": ({"error": {"code": "c", "message": "m"}}, tp.ErrorDetail("c", message="m")),
    "misalignment": (
        {
            "type": "error",
            "error": {"code": "misalignment_policy_violation", "misalignment": {"error_type": "other"}},
        },
        tp.ErrorDetail("misalignment_policy_violation", misalignment={"error_type": "other"}),
    ),
    "steer failed": (
        {
            "type": "response.steer.failed",
            "steer": {"previous_response_id": "r", "input": "x"},
            "error": {"type": "invalid_request_error", "code": "response_not_found", "message": "m"},
        },
        tp.ErrorDetail("response_not_found", type="invalid_request_error", message="m"),
    ),
    "inject failed": (
        {
            "type": "response.inject.failed",
            "response_id": "r",
            "input": [],
            "error": {"code": "response_already_completed", "message": "m"},
        },
        tp.ErrorDetail("response_already_completed", message="m"),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shape(shape: str) -> None:
    """The event and the bare JSON object give the same facts, and the event keeps the object."""
    data, expected = SHAPES[shape]
    event = tp.decode_event(json.dumps(data))

    assert expected == tp.normalise_error(data)
    assert expected == tp.normalise_error(event)
    assert data == tp.to_wire(event)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0] in "abcdefgij" and shape[1] == ":"])
def test_errors_are_error_events(shape: str) -> None:
    event = tp.decode_event(json.dumps(SHAPES[shape][0]))
    assert isinstance(event, tp.ErrorEvent)

    assert SHAPES[shape][1] == event.detail


def test_error_types() -> None:
    assert type(tp.decode_event('{"type":"error"}')) is tp.ErrorEvent
    assert type(tp.decode_event('{"type":"response.error"}')) is tp.ResponseErrorEvent
    assert type(tp.decode_event('{"error":{"message":"m"}}')) is tp.UntypedErrorEvent
    assert type(tp.decode_event('{"type":null,"error":"m"}')) is tp.UntypedErrorEvent


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, tp.ErrorDetail()),
        ({"error": "text"}, tp.ErrorDetail(message="text")),
        ({"type": "error", "error": "text", "code": "c"}, tp.ErrorDetail("c", message="text")),
        ({"type": "error", "error": "text", "message": "more"}, tp.ErrorDetail(message="more")),
        ({"type": "error", "error": ["a"]}, tp.ErrorDetail(message='["a"]')),
        ({"type": "error", "error": None}, tp.ErrorDetail()),
        (ERROR, tp.ErrorDetail("some_code", None, "invalid_request_error", "input", "It broke.")),
        (
            {"error": ERROR, "status": 401},
            tp.ErrorDetail("some_code", 401, "invalid_request_error", "input", "It broke."),
        ),
        ({"detail": [{"loc": ["body"]}]}, tp.ErrorDetail(message='[{"loc":["body"]}]')),
        ({"detail": {1, 2}}, tp.ErrorDetail(message="{1, 2}")),
        ({"error": {"message": {"a": 1}, "detail": "d"}}, tp.ErrorDetail(message='{"a":1}')),
        ({"error": {"message": "", "detail": "d"}}, tp.ErrorDetail(message="d")),
        ({"error": {"code": 400, "param": ["x"]}}, tp.ErrorDetail("400")),
        ({"error": {"status": 500}}, tp.ErrorDetail(status=500)),
        ({"status": "503", "error": {}}, tp.ErrorDetail(status=503)),
        ({"status": "5.3", "error": {}}, tp.ErrorDetail()),
        ({"status": True, "status_code": 502, "error": {}}, tp.ErrorDetail(status=502)),
        (
            {"headers": [1], "error": {"headers": "x", "misalignment": 5, "resets_at": "soon"}},
            tp.ErrorDetail(),
        ),
        ({"error": {"resets_at": True}}, tp.ErrorDetail()),
        ({"response": {"id": "r", "error": None, "status": "failed"}}, tp.ErrorDetail()),
        ({"response": {"id": "r", "error": "text", "status": "failed"}}, tp.ErrorDetail(message="text")),
        (
            {"headers": {"X": "outer", "Y": "y"}, "error": {"headers": {"x": "inner"}}},
            tp.ErrorDetail(headers={"x": "inner", "y": "y"}),
        ),
    ],
)
def test_odd_shape(data: dict[str, Any], expected: tp.ErrorDetail) -> None:
    assert expected == tp.normalise_error(data)


@given(
    st.dictionaries(
        st.sampled_from(
            ["type", "error", "status", "status_code", "headers", "response", "code", "message", "detail"]
        ),
        st.recursive(
            JSON_LEAVES,
            lambda inner: (
                st.dictionaries(
                    st.sampled_from(
                        ["code", "message", "type", "headers", "error", "status", "retry-after", "resets_at"]
                    ),
                    inner,
                )
                | st.lists(inner, max_size=2)
            ),
            max_leaves=8,
        ),
    )
)
def test_any_shape_gives_facts(data: dict[str, Any]) -> None:
    """Nothing a server sends breaks the normaliser, and what it gives has the types it promises."""
    detail = tp.normalise_error(data, now=0.0)

    assert isinstance(detail.message, str)
    for name in (detail.code, detail.type, detail.param):
        assert name is None or isinstance(name, str)
    assert detail.status is None or type(detail.status) is int
    assert all(isinstance(k, str) and isinstance(v, str) for k, v in detail.headers.items())
    assert detail.retry_after is None or 0 <= detail.retry_after < math.inf


def test_other_events_are_no_errors() -> None:
    for event in (tp.ResponseAudioDone(), tp.ResponseCompleted({"id": "r"}), tp.UnknownEvent("x")):
        with pytest.raises(ValueError, match="is not an error"):
            tp.normalise_error(event)


def test_detail_hashes() -> None:
    assert hash(tp.ErrorDetail("c")) == hash(tp.ErrorDetail("c"))
    assert hash(tp.ErrorDetail("c", misalignment={}, headers={"a": "b"})) == hash(tp.ErrorDetail("c"))


# --- when to try again


@pytest.mark.parametrize(
    ("headers", "now", "expected"),
    [
        ({}, None, None),
        ({"retry-after": "3"}, None, 3.0),
        ({"retry-after": "0.5"}, None, 0.5),
        ({"retry-after": "-3"}, None, 0.0),
        ({"retry-after": "nan"}, None, None),
        ({"retry-after": "inf"}, None, None),
        ({"retry-after": "soon"}, None, None),
        ({"retry-after": "soon"}, 0.0, None),
        ({"retry-after-ms": "1500"}, None, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, None, 1.5),
        ({"retry-after-ms": "-1"}, None, 0.0),
        ({"retry-after-ms": "x", "retry-after": "9"}, None, 9.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, None, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 20.0, 40.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 100.0, 0.0),
        ({"retry-after": "Thu, 31 Feb 1970 00:01:00 GMT"}, 20.0, None),
        ({"retry-after": "Thu, 01 Foo 1970 00:01:00 GMT"}, 20.0, None),
    ],
)
def test_retry_delay(headers: dict[str, str], now: float | None, expected: float | None) -> None:
    assert expected == tp.retry_delay(headers, now=now)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Rate limit reached. Please try again in 1.2s. Visit https://x.", 1.2),
        ("Please try again in 450ms.", 0.45),
        ("Please try again in 20s", 20.0),
        ("Please try again in 6m0s.", 360.0),
        ("Please try again in 1m30.5s.", 90.5),
        ("Please Try Again In 2 minutes 3 seconds", 123.0),
        ("try again in 1h", 3600.0),
        ("try again in 2 days", 172800.0),
        ("try again in 5 fortnights", None),
        ("try again in 1 minute 5 fortnights", 60.0),
        ("try again in a while", None),
        ("try again in 9999999999999999999999s", None),
        ("wait 5s", None),
    ],
)
def test_delay_in_words(words: str, expected: float | None) -> None:
    for kind in ({"code": "rate_limit_exceeded"}, {"type": "tokens"}, {"status": 429}):
        assert expected == tp.normalise_error({"error": {"message": words, **kind}}).retry_after
    assert tp.normalise_error({"error": {"message": words, "code": "server_error"}}).retry_after is None


def test_headers_win_over_words() -> None:
    data = {"status": 429, "headers": {"retry-after": "9"}, "error": {"message": "try again in 1s"}}

    assert tp.normalise_error(data).retry_after == 9.0


def test_date_needs_now() -> None:
    data = {"headers": {"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, "error": {}}

    assert tp.normalise_error(data).retry_after is None
    assert tp.normalise_error(data, now=50.0).retry_after == 10.0


# --- what is shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"type":"response.created","n":5}', '{"type":"response.created","n":5}'),
        ('{"type": "error", "message": "hello"}', '{"type": "error", "message": "***"}'),
        ('{"type":"My Password 1"}', '{"type":"***"}'),
        ('{"type":"a\\"b","x":""}', '{"type":"***","x":""}'),
        (
            '{"status":"failed","code":"server_error","role":"user"}',
            '{"status":"failed","code":"server_error","role":"user"}',
        ),
        ('{"status":"Failed2"}', '{"status":"***"}'),
        ('["alpha","beta"]', '["***","***"]'),
        ('{"type":["error"]}', '{"type":["error"]}'),
        ('{"delta":"cut off in the mid', '{"delta":"***'),
        ('{"type":"cut_off', '{"type":"***'),
        ('{"sk-abcdefgh1234":1}', '{"***":1}'),
        ('{"n":123456789012,"m":12345678}', '{"n":***,"m":12345678}'),
        ('{"cache_write_tokens_details_and_more":1}', '{"cache_write_tokens_details_and_more":1}'),
        ("Authorization: Bearer abc.def\nHost: x", "Authorization: ***\nHost: x"),
        ("proxy-authorization=Digest user=u, response=abc", "proxy-authorization=***"),
        ("Set-Cookie: a=b; c=d\r\nHost: x", "Set-Cookie: ***\r\nHost: x"),
        ("{'api_key': 'hunter2', 'x': 1}", "{'api_key': '***', 'x': 1}"),
        ("refresh_token = abc, x", "refresh_token = ***, x"),
        ("proxy said: bearer abc.def!", "proxy said: ***"),
        ("api_key=hunter2&x=1", "api_key=***&x=1"),
        ("password: hunter2, ok", "password: ***, ok"),
        ("<html>502 Bad Gateway</html>", "<html>502 Bad Gateway</html>"),
        ("token QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo= end", "token *** end"),
        ("ghp_0123456789abcdef xoxb-123456-abc eyJhbGciOi.J9", "*** *** ***"),
        ("", ""),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert shown == tp.redact(text)


SECRETS = st.text(string.ascii_letters + string.digits + "+/_-", min_size=24, max_size=60).filter(
    lambda s: any(c in s for c in string.ascii_uppercase + string.digits)
)


@given(SECRETS, st.sampled_from(["{}", '"{}"', '{{"type":"{}"}}', '{{"{}":1}}', '["{}', "x={}", "Bearer {}"]))
def test_long_secrets_are_never_shown(secret: str, around: str) -> None:
    assert secret not in tp.redact(around.format(secret))


@given(st.text(max_size=40), st.sampled_from(["delta", "message", "arguments", "text", "anything"]))
@example('"', "delta")
@example("\\", "delta")
def test_strings_are_never_shown(text: str, key: str) -> None:
    """Whole or cut off at any place."""
    data = json.dumps({key: "BEGIN" + text + "END"})
    for end in range(len(data) + 1):
        assert "BEGIN" not in tp.redact(data[:end])
        assert "END" not in tp.redact(data[:end])


@given(st.text(max_size=2000) | st.binary(max_size=2000), st.integers(1, 300))
def test_excerpt_is_short(data: str | bytes, limit: int) -> None:
    assert len(tp.excerpt(data, limit).encode()) <= limit


@pytest.mark.parametrize("as_type", [str, str.encode])
def test_half_a_credential_at_the_cut_is_not_shown(as_type: Any) -> None:
    """What looked like one as a whole may not when cut, and masking before it may bring it into the excerpt."""
    filler = '{"a":"' + "x" * 780 + '","b":['

    assert tp.excerpt(as_type(filler + "sk-" + "A1" * 50)) == '{"a":"***","b":[***'
    assert tp.excerpt(as_type(filler + "AB")) == '{"a":"***","b":[AB'


def test_redaction_takes_linear_time() -> None:
    for text in ("a" * 300_000, "a_token " * 40_000, '"' * 100_000, '"\\' * 100_000, "Bearer " * 40_000):
        tp.redact(text)


def test_excerpt_of_a_huge_frame_is_cheap() -> None:
    """Only the beginning is looked at."""
    assert tp.excerpt(b'{"delta":"' + b"a" * 10_000_000) == '{"delta":"***'
    assert len(tp.excerpt('"' * 10_000_000)) <= 200
