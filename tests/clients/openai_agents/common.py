"""openai-agents, with its WebSocket transport and with its HTTP transport: agents that call tools."""

from __future__ import annotations

import asyncio

from agents import (
    Agent,
    OpenAIProvider,
    RunConfig,
    Runner,
    function_tool,
    set_tracing_disabled,
)

set_tracing_disabled(True)


@function_tool
def look_up(topic: str) -> str:
    """Look a topic up."""
    return f"facts about {topic}"


AGENT = Agent(name="any", model="gpt-5.5", tools=[look_up])


async def main(*, websocket: bool) -> None:
    provider = OpenAIProvider(use_responses=True, use_responses_websocket=websocket)
    config = RunConfig(model_provider=provider)
    try:
        result = await Runner.run(AGENT, 'CALL look_up {"topic": "rivers"}', run_config=config)
        assert result.final_output == 'RESULT: "facts about rivers"', result.final_output

        # The conversation goes on, by the list of its items and by the id of its last response.
        again = await Runner.run(
            AGENT, [*result.to_input_list(), {"role": "user", "content": "SAY 2 more "}], run_config=config
        )
        assert again.final_output == "more more ", again.final_output
        by_id = await Runner.run(
            AGENT, "SAY 1 by id", previous_response_id=again.last_response_id, run_config=config
        )
        assert by_id.final_output == "by id"

        streamed = Runner.run_streamed(
            AGENT,
            'CALL look_up {"topic": "seas"}\nCALL look_up {"topic": "lakes"}',
            run_config=config,
        )
        kinds = [event.type async for event in streamed.stream_events()]
        assert "raw_response_event" in kinds
        assert streamed.final_output == 'RESULT: "facts about seas"; "facts about lakes"', (
            streamed.final_output
        )

        many = await asyncio.gather(
            *(Runner.run(AGENT, f"SAY 1 run {n}", run_config=config) for n in range(5))
        )
        assert [result.final_output for result in many] == [f"run {n}" for n in range(5)]
    finally:
        await provider.aclose()
    print(f"tools, chains, streaming and five runs at once, over {'WebSocket' if websocket else 'HTTP'}")
