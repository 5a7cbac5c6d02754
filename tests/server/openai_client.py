"""Talk to a server with the openai package, as a program that knows nothing of Triplane.

usage: openai_client.py sync|async BASE_URL

Prints one JSON object: what each exchange gave. Every response has to validate against openai's own models.
"""

from __future__ import annotations

import asyncio
import json
import sys

from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response

TOOL = {
    "type": "function",
    "name": "look",
    "description": "Look somewhere.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"at": {"type": "string"}},
        "required": ["at"],
        "additionalProperties": False,
    },
}
TERMINAL = ("response.completed", "response.failed", "response.incomplete", "error")


def script():
    """Yield requests and take their last events; returns what was seen. The same for both clients."""
    seen = {}

    def finished(event):
        response = event.response
        Response.model_validate(response.to_dict(), strict=True)
        return response

    response = finished((yield {"model": "gpt-5.5", "input": "SAY 3 hm "}))
    seen["text"] = response.output_text

    response = finished(
        (yield {"model": "gpt-5.5", "input": 'CALL look {"at":"x"}\nCALL look y', "tools": [TOOL]})
    )
    seen["calls"] = [[item.name, item.arguments] for item in response.output]
    outputs = [
        {"type": "function_call_output", "call_id": item.call_id, "output": f"seen {number}"}
        for number, item in enumerate(response.output)
    ]
    response = finished(
        (yield {"model": "gpt-5.5", "previous_response_id": response.id, "input": outputs, "tools": [TOOL]})
    )
    seen["result"] = response.output_text
    seen["cached"] = response.usage.input_tokens_details.cached_tokens > 0

    warm = finished(
        (yield {"model": "gpt-5.5", "generate": False, "instructions": "Be brief.", "tools": [TOOL]})
    )
    seen["warm_up"] = [warm.output, warm.usage.output_tokens]
    response = finished((yield {"model": "gpt-5.5", "previous_response_id": warm.id, "input": "hello"}))
    seen["after_warm_up"] = response.output_text

    event = yield {"model": "gpt-5.5", "previous_response_id": "resp_unknown", "input": "hello"}
    seen["unknown"] = [event.type, event.status, event.error.code, event.error.param]

    response = finished((yield {"model": "gpt-5.5", "input": "still there?", "store": False}))
    seen["last"] = response.output_text
    return seen


def run_sync(base_url):
    with OpenAI(api_key="sk-test", base_url=base_url) as client, client.responses.connect() as connection:
        steps = script()
        request = next(steps)
        while True:
            connection.response.create(**request)
            for event in connection:
                if event.type in TERMINAL:
                    break
            try:
                request = steps.send(event)
            except StopIteration as done:
                return done.value


async def run_async(base_url):
    async with (
        AsyncOpenAI(api_key="sk-test", base_url=base_url) as client,
        client.responses.connect() as connection,
    ):
        steps = script()
        request = next(steps)
        while True:
            await connection.response.create(**request)
            async for event in connection:
                if event.type in TERMINAL:
                    break
            try:
                request = steps.send(event)
            except StopIteration as done:
                return done.value


if __name__ == "__main__":
    _, flavour, url = sys.argv
    seen = run_sync(url) if flavour == "sync" else asyncio.run(run_async(url))
    assert "triplane" not in sys.modules
    sys.stdout.write(json.dumps(seen))
