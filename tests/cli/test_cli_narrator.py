"""What a run's events say, to a person and to a program."""

from __future__ import annotations

import attrs
import orjson
import pytest
from test_cli_report import STATE

from triplane import (
    ConnectionDropped,
    DifferencesFound,
    RequestSent,
    ResponseRetracted,
    RetryScheduled,
    RunStarted,
    RunUsage,
    StillWaiting,
    ToolFinished,
    ToolStarted,
)
from triplane.cli.narrator import JsonLines, Narrator, Said
from triplane.core.outcome import ToolOutcome
from triplane.core.records import UndecodableFrame
from triplane.protocol import decode_event

REQUEST = RequestSent(1, 1, "c1", "full", "first_turn", None, 1, 1_800)
STARTED = ToolStarted("call_1", "list_files", '{"path": "."}', "read", "key")


def added(index: int = 0, phase: str | None = None):
    item = {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "content": [],
        "status": "in_progress",
        "phase": phase,
    }
    return decode_event(
        orjson.dumps({"type": "response.output_item.added", "output_index": index, "item": item})
    )


def delta(text: str, index: int = 0, kind: str = "output_text"):
    return decode_event(
        orjson.dumps(
            {
                "type": f"response.{kind}.delta",
                "item_id": "m",
                "output_index": index,
                "content_index": 0,
                "delta": text,
            }
        )
    )


def told(narrator: Narrator | JsonLines, *events) -> list[Said]:
    return [said for event in events for said in narrator.tell(event)]


def out(pieces: list[Said]) -> str:
    return "".join(said.text for said in pieces if said.stream == "out")


def err(pieces: list[Said]) -> str:
    return "".join(said.text + "\n" * said.is_note for said in pieces if said.stream == "err")


def test_on_a_terminal_the_answer_appears_as_it_is_written() -> None:
    narrator = Narrator(live=True)

    pieces = told(narrator, REQUEST, added(), delta("files"), delta(": 2"))
    end = list(narrator.end(attrs.evolve(STATE, text="files: 2 and more")))

    assert "files: 2" == out(pieces)
    assert " and more" == out(end), "what no delta brought comes at the end, once"


def test_elsewhere_standard_output_gets_the_final_text_alone() -> None:
    narrator = Narrator(live=False)

    pieces = told(narrator, REQUEST, added(), delta("nothing yet"), STARTED)
    end = list(narrator.end(attrs.evolve(STATE, text="\x1b[31mexactly\n  this")))

    assert "" == out(pieces)
    assert "\x1b[31mexactly\n  this\n" == out(end)


def test_an_empty_answer_is_no_empty_line() -> None:
    assert "" == out(list(Narrator(live=False).end(attrs.evolve(STATE, text=""))))


def test_a_text_that_ends_a_line_gets_no_second_end() -> None:
    assert "a\n" == out(list(Narrator(live=False).end(attrs.evolve(STATE, text="a\n"))))


def test_commentary_is_no_answer() -> None:
    narrator = Narrator(live=True)

    pieces = told(
        narrator, REQUEST, added(0, "commentary"), delta("I look."), added(1, "final_answer"), delta("42", 1)
    )

    assert "42" == out(pieces)
    assert "I look." in err(pieces)


def test_commentary_of_one_turn_is_not_that_of_the_next() -> None:
    narrator = Narrator(live=True)
    told(narrator, REQUEST, added(0, "commentary"), delta("I look."))

    assert "42" == out(told(narrator, attrs.evolve(REQUEST, turn=2), added(0, "final_answer"), delta("42")))


def test_refusals_are_shown() -> None:
    assert "I cannot." == out(told(Narrator(live=True), added(), delta("I cannot.", kind="refusal")))


def test_text_cannot_command_the_terminal() -> None:
    pieces = told(Narrator(live=True), added(), delta("\x1b[2J\x1b]0;t\x07safe"))

    assert "]0;tsafe" == out(pieces)


def test_a_note_never_begins_in_the_middle_of_a_line() -> None:
    pieces = told(Narrator(live=True), added(), delta("half a line"), STARTED, delta("whole\n"), STARTED)

    assert [("out", "half a line"), ("err", "\n")] == [(said.stream, said.text) for said in pieces[:2]]
    assert pieces[2].is_note
    assert [False, True] == [said.is_note for said in pieces[3:]], "a line that has ended needs no second end"


def test_an_interrupted_line_can_be_ended() -> None:
    narrator = Narrator(live=True)
    told(narrator, added(), delta("half"))

    assert ["\n"] == [said.text for said in narrator.fresh_line()]
    assert [] == list(narrator.fresh_line())


def test_tool_calls_have_numbers_so_that_parallel_ones_can_be_told_apart() -> None:
    second = attrs.evolve(STARTED, call_id="call_2", name="read_text")
    failed = ToolOutcome("failed", "The tool failed. OSError: no", "exception", 0.002)
    pieces = told(
        Narrator(live=False),
        STARTED,
        second,
        ToolFinished("call_2", "read_text", failed),
        ToolFinished("call_1", "list_files", ToolOutcome("ok", "x", seconds=1.5, bytes_produced=2_000)),
    )

    assert [
        '  [1] list_files {"path": "."}',
        '  [2] read_text {"path": "."}',
        "  [2] failed (2 ms, 0 B, The tool failed. OSError: no)",
        "  [1] ok (1.50 s, 2.0 kB)",
    ] == [said.text for said in pieces]


def test_a_call_that_never_ran_is_told_too() -> None:
    outcome = ToolOutcome("failed", "There is no tool named 'x'.", "unknown_tool")

    assert "  [-] \\x failed (There is no tool named 'x'.)\n".replace("\\x", "x") == err(
        told(Narrator(live=False), ToolFinished("c", "x\x1b[31m", outcome))
    )


def test_requests_losses_and_retries_are_told() -> None:
    pieces = told(
        Narrator(live=False),
        REQUEST,
        ConnectionDropped("c1", 1006, ""),
        ResponseRetracted(1, "connection_lost", 12, ambiguous=True),
        RequestSent(1, 2, "c2", "incremental", "head_stored", "r", 2, 300),
        UndecodableFrame("invalid_json", "{"),
    )

    assert [
        "turn 1: 1 item, 1.8 kB on c1 (whole conversation)",
        "lost connection c1 (1006: no reason given)",
        "turn 1 is tried again (connection lost); the 12 characters of it so far do not count",
        "turn 1, attempt 2: 2 items, 300 B on c2 (new items only)",
        "the server sent something that is not an event (invalid_json)",
    ] == [said.text for said in pieces]


def test_an_answer_that_was_retracted_is_written_again() -> None:
    narrator = Narrator(live=True)
    told(narrator, REQUEST, added(), delta("fil"))

    pieces = told(
        narrator, ResponseRetracted(1, "stalled", 3, ambiguous=True), attrs.evolve(REQUEST, attempt=2)
    )
    pieces += told(narrator, added(), delta("files: 2"))
    pieces += narrator.end(attrs.evolve(STATE, text="files: 2"))

    assert "files: 2" == out(pieces)


def test_silences_and_disagreements_are_noted() -> None:
    pieces = told(
        Narrator(live=True),
        StillWaiting(1, "c1", "model_thinking", 11.0, 0.98, 0.012),
        StillWaiting(1, "c1", "model_thinking", 71.0, None, None),
        StillWaiting(1, "c1", "socket_silent", 11.0, 11.2, 0.012),
        RetryScheduled(2, 3, 0.5, asked=False),
        RetryScheduled(2, 4, 30.0, asked=True),
        DifferencesFound(1, "resp_1", ({"field": "arguments"},), ({"kind": "gap"},)),
    )

    assert [
        "model thinking for 11.0 s on c1 (ping 12 ms)",
        "model thinking for 1 min 11 s on c1",
        "socket silent for 11.0 s on c1: not even a pong",
        "turn 2 is tried again in 500 ms",
        "turn 2 is tried again in 30.0 s, as the server asks",
        "the server's events do not agree in 2 places; see the log",
    ] == [said.text for said in pieces if said.is_note]


def test_a_final_text_that_differs_from_its_deltas_wins() -> None:
    narrator = Narrator(live=True)
    told(narrator, REQUEST, added(), delta("draft"))

    end = list(narrator.end(attrs.evolve(STATE, text="final")))

    assert "final" == out(end)
    assert "\n" == end[0].text


def test_the_end_says_what_it_took() -> None:
    usage = RunUsage(input_tokens=1_200, cached_tokens=300, output_tokens=40, total_tokens=1_240)

    end = list(Narrator(live=False).end(attrs.evolve(STATE, usage=usage)))

    assert (
        "completed after 3 turns and 4 tool calls; 1,200 tokens in (300 cached), 40 out;"
        " 100 B up, 200 B down; 1 reconnect" == end[-1].text
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (delta("x"), {"type": "response.output_text.delta", "delta": "x", "output_index": 0}),
        (decode_event('{"type": "future.event", "answer": 42}'), {"type": "future.event", "answer": 42}),
        (STARTED, {"type": "triplane.tool_started", "name": "list_files", "effect": "read"}),
        (
            UndecodableFrame("invalid_json", "{"),
            {"type": "triplane.undecodable_frame", "reason": "invalid_json"},
        ),
        (
            RunStarted("run_1", "agent", "m", "f", ({"type": "message", "content": "hi"},)),
            {"type": "triplane.run_started", "input": [{"type": "message", "content": "hi"}]},
        ),
    ],
)
def test_each_event_is_one_line_of_json(event, expected) -> None:
    (said,) = told(JsonLines(), event)

    assert "out" == said.stream
    assert said.text.endswith("\n")
    assert "\n" not in said.text[:-1]
    assert expected.items() <= orjson.loads(said.text).items()


def test_json_ends_without_another_line() -> None:
    assert [] == list(JsonLines().end(STATE))
    assert [] == list(JsonLines().fresh_line())
