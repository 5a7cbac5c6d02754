"""A law: whatever comes in between, everything that was said reaches the model, once."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import attrs
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import triplane
from triplane.core.records import SteerSent
from triplane.core.reducer import RunReducer
from triplane.server import CloseSocket, Drop, ErrorEvent, FunctionCall, Server, Stall, Text, Wait
from triplane.testing import MemoryNetwork

WORDS = ("steer", "send")
BEFORE = (
    "response.created",
    "response.output_text.delta",
    "response.output_item.done",
    "response.completed",
    "response.incomplete",
)


@attrs.frozen
class Schedule:
    """What happens in one run: the model's responses, who says what after how many seconds, and what breaks."""

    responses: list[list[str]]
    said: list[tuple[float, str]]
    faults: list[Any]
    mode: str
    models: list[str]
    network_latency: float
    lanes: int
    seed: int


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    steps = st.lists(st.sampled_from(["text", "wait", "call"]), min_size=1, max_size=4)
    nth = st.integers(1, 4)
    before = st.sampled_from(BEFORE)
    fault = st.one_of(
        st.builds(Drop, before=before, nth=nth),
        st.builds(CloseSocket, before=before, nth=nth, code=st.just(1001)),
        st.builds(Stall, before=before, nth=nth),
        st.builds(ErrorEvent, before=before, nth=nth, status=st.just(500)),
    )
    return Schedule(
        draw(st.lists(steps, min_size=1, max_size=3)),
        draw(
            st.lists(
                st.tuples(st.sampled_from([0.0, 0.3, 0.5, 1.0, 2.0]), st.sampled_from(WORDS)),
                min_size=1,
                max_size=6,
            )
        ),
        draw(st.lists(fault, max_size=2)),
        draw(st.sampled_from(["openai", "openai", "openai", "azure"])),
        draw(st.sampled_from([["*"], ["*"], ["gpt-6*"]])),
        draw(st.sampled_from([0.0, 0.2])),
        draw(st.sampled_from([1, 1, 3])),
        draw(st.integers(0, 99)),
    )


class Planned:
    """A model that follows a schedule and writes down what it is asked."""

    name = "planned"

    def __init__(self, responses: list[list[str]]) -> None:
        self._responses = responses
        self.heard: list[list[str]] = []

    def respond(self, request: Any) -> Any:
        self.heard.append([text_of(item) for item in request.conversation if item.get("role") == "user"])
        # By what has been said: a request that is repeated gets the same answer.
        place = sum(item["type"] == "function_call_output" for item in request.conversation)
        for number, step in enumerate(self._responses[place] if place < len(self._responses) else ["text"]):
            if step == "text":
                yield Text(f"text {place} {number} ")
            elif step == "wait":
                yield Wait(0.4)
            else:
                yield FunctionCall(
                    "act", {"place": place, "number": number}, call_id=f"call_{place}_{number}"
                )


def text_of(item: dict[str, Any]) -> str:
    content = item["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


@settings(max_examples=settings.default.max_examples // 2)
@given(schedules())
def test_everything_that_was_said_reaches_the_model_once_and_no_tool_runs_twice(schedule: Schedule) -> None:
    trio.run(follow, schedule, clock=trio.testing.MockClock(autojump_threshold=0))


async def follow(schedule: Schedule) -> None:
    ran: Counter[str] = Counter()

    @triplane.tool(effect="write")
    async def act(place: int, number: int) -> str:
        """Act."""
        ran[f"call_{place}_{number}"] += 1
        await trio.sleep(0.7)
        return "acted"

    model = Planned(schedule.responses)
    server = Server(
        model=model,
        mode=schedule.mode,
        steering_models=schedule.models,
        faults=schedule.faults,
        network_latency=schedule.network_latency,
        epoch=0.0,
    )
    taken: list[str] = []
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, server)
        async with (
            triplane.open_engine(
                triplane.Endpoint("ws://memory/v1"),
                network=network,
                rng=random.Random(schedule.seed),
                options=triplane.EngineOptions(
                    first_event_timeout=20, idle_timeout=20, lanes_per_connection=schedule.lanes
                ),
            ) as engine,
            engine.open_run(triplane.Agent("m", "", [act]), "begin") as run,
        ):
            for number, (delay, how) in enumerate(schedule.said):
                await trio.sleep(delay)
                text = f"said {number}"
                try:
                    await (run.steer(text) if how == "steer" else run.send(text))
                except triplane.RunFailed:
                    break
                taken.append(text)
            result = await run.wait()
        nursery.cancel_scope.cancel()

    assert "completed" == result.status
    # The last request knows everything, and no request anything twice.
    assert Counter(["begin", *taken]) == Counter(model.heard[-1])
    for heard in model.heard:
        assert 1 == max(Counter(heard).values()), heard
    assert not ran or 1 == max(ran.values())
    # And so does the log, at any place where one might have to read it.
    reducer = RunReducer()
    for record in run.log.records:
        reducer.apply(record)
    texts = Counter(text_of(item) for item in reducer.history if item.get("role") == "user")
    assert Counter(["begin", *taken]) == texts
    sent = [record.body.items for record in run.log.records if isinstance(record.body, SteerSent)]
    assert len(sent) == len({items[0]["content"] for items in sent})
