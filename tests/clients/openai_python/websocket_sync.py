"""openai-python's WebSocket connection, without asyncio: a tool call, its output, a warm-up, an error."""

from __future__ import annotations

from openai import OpenAI

TERMINAL = ("response.completed", "response.failed", "response.incomplete", "error")
LOOK = {
    "type": "function",
    "name": "look",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"at": {"type": "string"}},
        "required": ["at"],
        "additionalProperties": False,
    },
}

with OpenAI() as client, client.responses.connect() as connection:

    def ask(**request):
        connection.response.create(model="gpt-5.5", **request)
        for event in connection:
            if event.type in TERMINAL:
                return event
        raise AssertionError("the connection ended before the response did")

    event = ask(input='CALL look {"at": "a"}\nCALL look {"at": "b"}', tools=[LOOK])
    calls = event.response.output
    assert [(call.name, call.arguments) for call in calls] == [
        ("look", '{"at": "a"}'),
        ("look", '{"at": "b"}'),
    ]

    outputs = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"seen {number}"}
        for number, call in enumerate(calls)
    ]
    event = ask(previous_response_id=event.response.id, input=outputs, tools=[LOOK])
    assert event.response.output_text == 'RESULT: "seen 0"; "seen 1"'
    assert event.response.usage.input_tokens_details.cached_tokens > 0

    warm = ask(generate=False, instructions="Be brief.", tools=[LOOK])
    assert warm.response.output == []
    event = ask(previous_response_id=warm.response.id, input="hello", store=False)
    assert event.response.output_text == "echo: hello"

    event = ask(previous_response_id="resp_unknown", input="hello")
    assert (event.status, event.error.code) == (400, "previous_response_not_found")
    assert ask(input="SAY 2 still here ").response.output_text == "still here still here "

print("calls, outputs, a warm-up and an error, over one WebSocket")
