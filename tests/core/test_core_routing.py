"""The frames of a shared connection: whose each is, what waits, and what becomes of a lane that nobody reads."""

from __future__ import annotations

import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from triplane.core.errors import ProtocolViolation
from triplane.core.routing import Mailbox, Router, what_it_tells

MIB = 2**20


def frame(kind: str, lane: str | None = None, **fields: object) -> str:
    tag = {} if lane is None else {"stream_id": lane}
    return json.dumps({"type": kind, **tag, **fields}, separators=(",", ":"))


def delta(lane: str | None, text: str = "x") -> str:
    return frame("response.output_text.delta", lane, item_id="m", output_index=0, content_index=0, delta=text)


def error(lane: str | None = None, **fields: object) -> str:
    status = fields.pop("status", None)
    return frame("error", lane, status=status, error={"message": "no", "code": None, **fields})


def router(slow_lane="spill", lane_limit=MIB, limit=MIB) -> Router:
    return Router(slow_lane=slow_lane, lane_limit=lane_limit, limit=limit)


def two(**limits) -> tuple[Router, Mailbox, Mailbox]:
    r = router(**limits)
    a, b = r.open("a"), r.open("b")
    r.ask(a)
    r.ask(b)
    return r, a, b


def test_frames_go_to_their_lanes_in_order() -> None:
    r, a, b = two()
    frames = [delta("a", "1"), delta("b", "2"), delta("a", "3"), frame("vendor.thing", "b")]

    assert [[a], [b], [a], [b]] == [list(r.route(each)) for each in frames]
    assert (frames[0], frames[2]) == r.take(a)
    assert (frames[1], frames[3]) == r.take(b)
    assert (0, 0) == (r.size, r.dropped)


def test_bytes_are_counted_and_not_characters() -> None:
    r, a, _ = two()
    r.route(delta("a", "ä"))  # escaped
    plain = r.size
    r.route(delta("a", "x").replace('"x"', '"ä€"'))

    assert plain + len(delta("a", "").encode()) + 5 == r.size == a.size


def test_what_belongs_to_no_lane_is_dropped_and_counted() -> None:
    r, a, b = two()
    r.route(delta("a"))
    r.close(b)
    for late in (delta("b"), delta("never"), frame("keepalive"), delta(None)):
        assert [] == list(r.route(late))

    assert (4, 1) == (r.dropped, len(a.frames))


def test_what_comes_after_the_end_of_an_answer_is_not_part_of_the_next() -> None:
    r, a, _ = two()
    r.route(frame("response.completed", "a", response={"id": "resp_1"}))
    r.route(frame("response.done", "a", response={}))
    r.settle(a)
    assert [] == a.frames
    # A keepalive on a lane that expects nothing is harmless; an event is not.
    assert [] == list(r.route(frame("keepalive", "a")))
    assert a.fault is None
    assert [a] == list(r.route(delta("a")))
    assert "stray" == a.fault


def test_the_end_of_a_response_once_more_is_harmless_on_a_lane_as_well() -> None:
    r = router()
    a = r.open("a")

    assert [] == list(r.route(frame("response.completed", "a", response={"id": "resp_1"})))
    assert (None, 1) == (a.fault, r.dropped)


def test_the_age_limit_on_a_lane_that_asked_nothing_retires_the_connection() -> None:
    r = router()
    a = r.open("a")

    assert [] == list(r.route(error("a", status=400, code="websocket_connection_limit_reached")))
    assert (None, True) == (a.fault, r.retire)


@pytest.mark.parametrize("bad", ["", "not json", "[]", '{"no":"type"}'])
def test_a_frame_that_cannot_be_attributed_makes_all_doubtful(bad) -> None:
    r, _, _ = two()
    with pytest.raises(ProtocolViolation):
        r.route(bad)


def test_a_frame_of_a_lane_that_is_malformed_is_that_lanes_business() -> None:
    r, a, _ = two()

    assert [a] == list(r.route(frame("response.created", "a")))


def test_a_server_that_echoes_no_name_at_all_has_no_lanes() -> None:
    r, _, _ = two()
    assert [] == list(r.route(frame("keepalive")))
    with pytest.raises(ProtocolViolation, match="it has no lanes"):
        r.route(frame("response.created", None, response={"id": "resp_1"}))


# --- errors


def test_an_error_with_a_name_is_that_lanes() -> None:
    r, a, b = two()

    assert [a] == list(r.route(error("a", status=500)))
    assert ([], False) == (b.frames, r.retire)


@pytest.mark.parametrize("status", [500, None])
def test_an_error_without_a_name_is_the_connections(status) -> None:
    r, a, b = two()
    idle = r.open("c")
    r.route(delta("a"))

    assert [a, b] == list(r.route(error(status=status)))
    assert (True, []) == (r.retire, idle.frames)


def test_a_complaint_about_a_request_without_a_name_is_heard_by_those_whose_request_it_may_be() -> None:
    r, a, b = two()
    r.route(delta("a"))

    assert [b] == list(r.route(error(status=400)))
    assert (1, False) == (len(a.frames), r.retire)


@pytest.mark.parametrize("lane", ["a", None])
@pytest.mark.parametrize("code", ["websocket_connection_limit_reached", "websocket_stream_limit_reached"])
def test_a_limit_of_the_connection_retires_it(lane, code) -> None:
    r, a, b = two()
    r.route(delta("a"))

    assert ([a] if lane else [a, b]) == list(r.route(error(lane, status=400, code=code)))
    assert r.retire


def test_an_error_that_nobody_can_hear_is_counted() -> None:
    r = router()
    r.open("a")

    assert ([], 1) == (list(r.route(error(status=500))), r.dropped)


# --- lanes that were given up


@pytest.mark.parametrize(
    "end", ["response.completed", "response.failed", "response.incomplete", "error"], ids=str
)
def test_a_response_that_was_given_up_counts_until_the_server_has_ended_it(end) -> None:
    r, a, b = two()
    r.settle(b)
    r.close(a)
    r.close(b)
    assert 1 == r.unfinished
    r.route(delta("a"))
    assert 1 == r.unfinished
    r.route(frame(end, "a", response={"id": "resp_1"}))
    assert 0 == r.unfinished


# --- lanes that nobody reads


def test_a_slow_lane_may_use_what_the_others_leave() -> None:
    one = len(delta("a"))
    r, a, b = two(lane_limit=one, limit=10 * one)
    for _ in range(9):
        r.route(delta("a"))
    r.route(delta("b"))
    assert (None, None, 10 * one) == (a.fault, b.fault, r.size)
    # One more, whosesoever: the lane for which most is waiting is given up.
    assert [b, a] == list(r.route(delta("b")))
    assert ("overflow", None) == (a.fault, b.fault)
    assert (2 * one, 9) == (r.size, r.dropped)


def test_a_slow_lane_fails_at_its_own_limit_if_that_is_wanted() -> None:
    one = len(delta("a"))
    r, a, b = two(slow_lane="fail", lane_limit=2 * one, limit=100 * one)
    r.route(delta("a"))
    r.route(delta("a"))
    r.route(delta("b"))
    assert [a] == list(r.route(delta("a")))
    assert ("overflow", None, one) == (a.fault, b.fault, r.size)


@pytest.mark.parametrize("slow_lane", ["spill", "fail"])
def test_one_message_may_be_larger_than_all_limits(slow_lane) -> None:
    r, a, _ = two(slow_lane=slow_lane, lane_limit=10, limit=10)

    assert [a] == list(r.route(delta("a", "x" * 1_000)))
    assert a.fault is None
    r.take(a)
    assert 0 == r.size


# --- whether a server has lanes


@pytest.mark.parametrize(
    ("answer", "tells"),
    [
        (frame("response.created", "lane-1", response={"id": "r"}), "named"),
        (error("lane-1", status=500), "named"),
        (frame("keepalive", "lane-1"), "named"),
        (frame("response.created", None, response={"id": "r"}), "unnamed"),
        (frame("keepalive"), None),
        (frame("codex.rate_limits"), None),
        ("not json", None),
        (error(status=500), None),
        (error(status=429, code="rate_limit_exceeded"), None),
        (error(status=400, code="previous_response_not_found", param="previous_response_id"), None),
        (error(status=400, code="websocket_connection_limit_reached"), None),
        (error(status=400, code="unknown_parameter", param="stream_id"), "refused"),
        (error(status=400, code="unknown_parameter", param="model"), None),
        (error(status=400, code="invalid_stream_id"), "refused"),
        (error(status=400, code="unknown_parameter"), "refused"),
        (error(status=400), "refused"),
        (error(status=401), None),
    ],
)
def test_what_an_answer_tells(answer, tells) -> None:
    assert tells == what_it_tells(answer)


class RouterModel(RuleBasedStateMachine):
    """Whatever comes in whatever order: nothing is lost, nothing is given to the wrong lane, bounds hold."""

    lane_limit, limit = 400, 1_000

    def __init__(self) -> None:
        super().__init__()
        self.router = router("fail", self.lane_limit, self.limit)
        self.boxes: dict[str, Mailbox] = {}
        self.sent: dict[str, list[str]] = {}
        self.got: dict[str, list[str]] = {}
        self.opened = 0
        self.serial = 0

    @rule()
    def a_lane_opens(self) -> None:
        self.opened += 1
        name = f"lane-{self.opened}"
        self.boxes[name] = self.router.open(name)
        # Something may have come for it before it was opened.
        self.sent.setdefault(name, [])
        self.got[name] = []

    def pick(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.boxes)))

    @precondition(lambda self: self.boxes)
    @rule(data=st.data())
    def it_asks(self, data: st.DataObject) -> None:
        self.router.ask(self.boxes[self.pick(data)])

    @precondition(lambda self: self.opened)
    @rule(data=st.data(), size=st.integers(0, 300))
    def something_comes(self, data: st.DataObject, size: int) -> None:
        name = f"lane-{data.draw(st.integers(1, self.opened + 1))}"
        self.serial += 1
        text = delta(name, f"{self.serial} " + "x" * size)
        self.sent.setdefault(name, []).append(text)
        changed = self.router.route(text)
        for box in changed:
            if box.fault is not None:
                self.give_up(box.stream_id)

    def give_up(self, name: str) -> None:
        self.router.close(self.boxes.pop(name))

    @precondition(lambda self: self.boxes)
    @rule(data=st.data())
    def it_takes(self, data: st.DataObject) -> None:
        name = self.pick(data)
        self.got[name] += self.router.take(self.boxes[name])

    @precondition(lambda self: self.boxes)
    @rule(data=st.data())
    def it_settles(self, data: st.DataObject) -> None:
        self.router.settle(self.boxes[self.pick(data)])

    @precondition(lambda self: self.boxes)
    @rule(data=st.data())
    def it_is_given_up(self, data: st.DataObject) -> None:
        self.give_up(self.pick(data))

    @invariant()
    def every_frame_is_somewhere(self) -> None:
        waiting = sum(len(box.frames) for box in self.boxes.values())
        taken = sum(map(len, self.got.values()))
        assert sum(map(len, self.sent.values())) == taken + waiting + self.router.dropped

    @invariant()
    def nothing_is_mixed_up(self) -> None:
        for name, got in self.got.items():
            rest = iter(self.sent[name])
            assert all(each in rest for each in got), "a frame of another lane, or out of order"

    @invariant()
    def bounds_hold(self) -> None:
        boxes = self.boxes.values()
        assert sum(len(each) for box in boxes for each in box.frames) == self.router.size
        assert all(box.size <= self.lane_limit or len(box.frames) == 1 for box in boxes)
        assert self.router.size <= self.limit or all(len(box.frames) <= 1 for box in boxes)


TestRouter = RouterModel.TestCase
TestRouter.settings = settings(stateful_step_count=40)
