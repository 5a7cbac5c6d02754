"""Pydantic AI over HTTP: an agent that calls a tool, streamed and not."""

from __future__ import annotations

import asyncio

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel

agent = Agent(OpenAIResponsesModel("gpt-5.5"))


@agent.tool_plain
def look_up(topic: str) -> str:
    """Look a topic up."""
    return f"facts about {topic}"


async def main() -> None:
    result = await agent.run('CALL look_up {"topic": "rivers"}')
    assert result.output == 'RESULT: "facts about rivers"', result.output
    assert result.usage.requests == 2

    again = await agent.run("SAY 2 more ", message_history=result.all_messages())
    assert again.output == "more more ", again.output

    async with agent.run_stream('CALL look_up {"topic": "seas"}\nCALL look_up {"topic": "lakes"}') as stream:
        text = await stream.get_output()
    assert text == 'RESULT: "facts about seas"; "facts about lakes"', text
    print("tools, a history and streaming, over HTTP")


asyncio.run(main())
