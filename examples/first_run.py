"""The smallest program: one agent, one tool, one question, answered by the local server.

    python examples/first_run.py

Against OpenAI, leave the server out, set OPENAI_API_KEY, and open the engine with no endpoint.
"""

from __future__ import annotations

from functools import partial

import trio

import triplane
from triplane.server import serve


@triplane.tool(timeout=5, effect="read")
async def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


agent = triplane.Agent(model="directive", instructions="Answer with the tool.", tools=[add])


async def main() -> None:
    """Run it twice: once for the result, once for the events."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, model="directive"))
        async with triplane.open_engine(triplane.Endpoint(server.url)) as engine:
            result = await engine.run(agent, 'CALL add {"a": 20, "b": 22}')
            print(result.text, result.usage)

            async with engine.open_run(agent, 'CALL add {"a": 1, "b": 2}') as run:
                async for event in run:
                    print(event.type)
                print(run.result.text)
        nursery.cancel_scope.cancel()


trio.run(main)
