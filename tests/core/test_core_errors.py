"""The closed list of errors: their facts, their text, and that they survive being copied and pickled."""

from __future__ import annotations

import copy
import pickle
import re

import attrs
import pytest

from triplane.core import errors
from triplane.core.errors import (
    ApprovalRequired,
    CloseInfo,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    Effect,
    EngineClosed,
    LedgerCorrupt,
    LedgerFailed,
    LimitReached,
    McpFailed,
    ProtocolViolation,
    Receipt,
    RunFailed,
    ServerError,
    Stalled,
    TriplaneError,
)
from triplane.protocol import ErrorDetail

RECEIPT = Receipt(sent="accepted", shown=3, effects=(Effect("call_1", "write", "unknown"),), next="inspect")
ONE_OF_EACH = [
    ConfigError("m", receipt=RECEIPT),
    EngineClosed(),
    ConnectFailed("m", stage="upgrade", status=429, body="slow", retry_after=2.5, attempts=3),
    ConnectionLost("m", close=CloseInfo(1011, "ping", "peer"), connection="c1"),
    Stalled("m", phase="first_event", silence=600.0),
    ServerError("m", code="c", status=400, param="input", type="t", headers={"a": "b"}, retry_after=1.0),
    ProtocolViolation("m", excerpt="{"),
    RunFailed("m", run_id="run_1", code="server_error", attempts=2),
    ApprovalRequired("m", run_id="run_1"),
    LimitReached("m", which="max_turns", limit=3),
    LedgerCorrupt("m", path="/x", offset=7),
    LedgerFailed("m", path="/x", operation="write", reason="full"),
    McpFailed("m", server="git", moment="call", exit_status=3, stderr="x"),
]


def facts(error: TriplaneError) -> dict[str, object]:
    return attrs.asdict(error, recurse=False)


def test_the_list_is_closed_and_documented() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, TriplaneError) and value is not TriplaneError
    }

    assert defined == {type(error).__name__ for error in ONE_OF_EACH}
    assert defined == set(re.findall(r"^\* `(\w+)`:", errors.__doc__ or "", re.MULTILINE))


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "remake",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_an_error_can_cross_a_process(error: TriplaneError, remake) -> None:
    error.add_note("a note")
    again = remake(error)

    assert type(again) is type(error)
    assert facts(again) == facts(error)
    assert str(again) == str(error)
    assert again.__notes__ == error.__notes__


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_an_error_is_its_message_and_keeps_its_identity(error: TriplaneError) -> None:
    assert str(error) == error.message
    assert error == error  # noqa: PLR0124  # by identity: two alike are two
    assert error != attrs.evolve(error)
    assert len({error, attrs.evolve(error)}) == 2


def test_what_would_fail_again_says_so_and_the_rest_may_be_retried() -> None:
    assert ConfigError("m").receipt.next == "change"
    assert EngineClosed().receipt.next == "change"
    assert ConnectionLost("m").receipt == Receipt(sent="nothing", shown=0, effects=(), next="retry")


def test_an_error_can_be_raised_again_in_another_task() -> None:
    error = ConnectionLost("m", close=CloseInfo(1011), connection="c1")
    error.__cause__ = cause = OSError("gone")
    again = error.again()

    assert again is not error
    assert facts(again) == facts(error)
    assert again.__cause__ is cause
    assert again.__traceback__ is None


def test_a_receipt_can_be_filled_in_later() -> None:
    error = ConnectionLost("m")
    error.receipt = RECEIPT

    assert pickle.loads(pickle.dumps(error)).receipt == RECEIPT


def test_a_connection_lost_without_a_close_frame_is_1006() -> None:
    assert ConnectionLost("m").close == CloseInfo(1006, "", "network")


@pytest.mark.parametrize(
    ("stage", "status", "transient"),
    [
        ("url", None, False),
        ("dns", None, True),
        ("tcp", None, True),
        ("tls", None, False),
        ("upgrade", None, True),
        ("upgrade", 401, False),
        ("upgrade", 403, False),
        ("upgrade", 404, False),
        ("upgrade", 408, True),
        ("upgrade", 425, True),
        ("upgrade", 426, False),
        ("upgrade", 429, True),
        ("upgrade", 500, True),
        ("upgrade", 599, True),
        ("upgrade", 600, False),
    ],
)
def test_which_failures_to_connect_are_transient(stage, status, transient) -> None:
    failure = ConnectFailed("m", stage=stage, status=status)

    assert failure.is_transient is transient
    assert failure.receipt.next == ("retry" if transient else "change")


@pytest.mark.parametrize(
    ("stage", "status", "unsupported"),
    [
        ("upgrade", 200, True),
        ("upgrade", 204, True),
        ("upgrade", 404, True),
        ("upgrade", 405, True),
        ("upgrade", 426, True),
        ("proxy", 404, False),
        ("upgrade", None, False),
        ("upgrade", 401, False),
        ("upgrade", 307, False),
        ("upgrade", 501, False),
        ("upgrade", 101, False),
    ],
)
def test_what_says_that_there_is_no_websocket_mode(stage, status, unsupported) -> None:
    assert unsupported is ConnectFailed("m", stage=stage, status=status).is_unsupported


@pytest.mark.parametrize(
    ("facts", "refused"),
    [
        ({"status": 401}, True),
        ({"status": 403}, True),
        ({"close": CloseInfo(4401, "who are you", "peer")}, True),
        ({"status": 404}, False),
        ({"status": 407}, False),
        ({}, False),
    ],
)
def test_what_refuses_the_key(facts, refused) -> None:
    failure = ConnectFailed("m", stage="upgrade", **facts)

    assert refused is failure.is_auth_refusal
    assert not (refused and failure.is_transient)
    assert not ConnectFailed("m", stage="proxy", **facts).is_auth_refusal


def test_a_server_error_has_the_facts_of_its_detail() -> None:
    detail = ErrorDetail(
        code="rate_limit_exceeded",
        status=429,
        type="tokens",
        param="input",
        message="slow down",
        headers={"retry-after": "2"},
        retry_after=2.0,
    )
    error = ServerError.from_detail(detail, receipt=RECEIPT)

    assert str(error) == "the server answered rate_limit_exceeded (429): slow down"
    assert facts(error) == {
        "message": str(error),
        "receipt": RECEIPT,
        "code": "rate_limit_exceeded",
        "status": 429,
        "type": "tokens",
        "param": "input",
        "headers": {"retry-after": "2"},
        "retry_after": 2.0,
    }


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        (ErrorDetail(), "the server answered error: the server gave no message"),
        (ErrorDetail(type="server_error", message="oops"), "the server answered server_error: oops"),
        (
            ErrorDetail(code="c", type="t", status=500),
            "the server answered c (500): the server gave no message",
        ),
    ],
)
def test_a_server_error_names_what_it_knows(detail: ErrorDetail, text: str) -> None:
    assert str(ServerError.from_detail(detail)) == text


def test_the_repr_shows_every_fact() -> None:
    assert repr(ConfigError("Wrong.")).startswith("ConfigError(message='Wrong.', receipt=Receipt(")
