"""openai-python's WebSocket connection with asyncio: deltas as they come, and a chain that is not stored."""

from __future__ import annotations

import asyncio

from openai import AsyncOpenAI

TERMINAL = ("response.completed", "response.failed", "response.incomplete", "error")


async def main() -> None:
    async with AsyncOpenAI() as client, client.responses.connect() as connection:
        deltas = []
        await connection.response.create(model="gpt-5.5", input="SAY 3 hm ", store=False)
        async for event in connection:
            if event.type == "response.output_text.delta":
                deltas.append(event.delta)
            if event.type in TERMINAL:
                break
        assert deltas == ["hm "] * 3
        assert event.response.output_text == "hm hm hm "

        for number in range(3):
            await connection.response.create(
                model="gpt-5.5",
                input=f"turn {number}",
                store=False,
                previous_response_id=event.response.id,
            )
            async for event in connection:
                if event.type in TERMINAL:
                    break
            assert event.response.output_text == f"echo: turn {number}"
    print("deltas, and a chain of four turns that is not stored")


asyncio.run(main())
