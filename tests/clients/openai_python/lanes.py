"""openai-python's session helper: several lanes on one WebSocket, with asyncio and without."""

from __future__ import annotations

import asyncio

from openai import AsyncOpenAI, OpenAI
from openai.lib.responses_websocket import (
    AsyncResponsesWebSocketSession,
    ResponsesWebSocketError,
    ResponsesWebSocketLimits,
    ResponsesWebSocketSession,
)

LANES = 8
LIMITS = ResponsesWebSocketLimits(
    max_lanes=LANES + 2,
    max_events_per_lane=512,
    max_events=4096,
    max_bytes_per_lane=4 * 1024 * 1024,
    max_bytes=32 * 1024 * 1024,
    max_response_bytes=None,
)


def create(text, **fields):
    return {"type": "response.create", "model": "gpt-5.5", "input": text, **fields}


async def lanes_at_once() -> None:
    async with (
        AsyncOpenAI() as client,
        client.responses.connect() as connection,
        AsyncResponsesWebSocketSession(connection, limits=LIMITS) as session,
    ):

        async def converse(number: int) -> list[str]:
            lane = session.lane(f"lane-{number}")
            texts, previous = [], {}
            for turn in range(3):
                await lane.send(create(f"WAIT 20\nSAY 2 {number}.{turn} ", **previous))
                response = await lane.get_final_response()
                texts.append(response.output_text)
                previous = {"previous_response_id": response.id}
            return texts

        conversations = await asyncio.gather(*(converse(number) for number in range(LANES)))
        assert conversations == [[f"{n}.{t} " * 2 for t in range(3)] for n in range(LANES)]

        await session.default.send(create("SAY 1 the default lane"))
        assert (await session.default.get_final_response()).output_text == "the default lane"


def a_lane_that_fails_harms_no_other() -> None:
    with OpenAI() as client, client.responses.connect() as connection:
        with ResponsesWebSocketSession(connection, limits=LIMITS) as session:
            good, bad = session.lane("good"), session.lane("bad")
            good.send(create("WAIT 100\nSAY 1 fine"))
            bad.send(create("hello", previous_response_id="resp_unknown"))
            try:
                bad.get_final_response(timeout=10)
            except ResponsesWebSocketError as error:
                assert error.event.error.code == "previous_response_not_found"
            else:
                raise AssertionError("an unknown previous response was accepted")
            assert good.get_final_response(timeout=10).output_text == "fine"
            bad.send(create("SAY 1 again"))
            assert bad.get_final_response(timeout=10).output_text == "again"


asyncio.run(lanes_at_once())
a_lane_that_fails_harms_no_other()
print(f"{LANES} lanes at once and the default lane; an error on one lane leaves the others alone")
