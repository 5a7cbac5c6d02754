"""A program of somebody who uses the openai package, over WebSocket and over HTTP.

For each base URL on a line of standard input it prints one line: the events that it saw, as a JSON array.
"""

from __future__ import annotations

import json
import sys

from openai import OpenAI

LOOK = {
    "type": "function",
    "name": "look",
    "strict": False,
    "parameters": {"type": "object", "properties": {}},
}
TERMINAL = ("response.completed", "response.failed", "response.incomplete", "error")


def play(client: OpenAI) -> list[dict]:
    seen = []

    def show(event):
        seen.append(event.to_dict())
        return event

    with client.responses.connect() as connection:

        def ask(**request):
            connection.response.create(model="gpt-5.5", **request)
            for event in connection:
                if show(event).type in TERMINAL:
                    return event
            raise AssertionError("the connection ended before the response did")

        first = ask(input='CALL look {"at": "x"}\nCALL look y', tools=[LOOK])
        outputs = [
            {"type": "function_call_output", "call_id": call.call_id, "output": "seen"}
            for call in first.response.output
        ]
        ask(input=outputs, previous_response_id=first.response.id, tools=[LOOK])
        ask(input="hello", previous_response_id="resp_unknown")
        ask(input="SAY 3 hm ", store=False)
    for event in client.responses.create(model="gpt-5.5", input="SAY 3 hm ", stream=True):
        show(event)
    show(client.responses.create(model="gpt-5.5", input="not streamed"))
    return seen


for line in sys.stdin:
    with OpenAI(api_key="sk-the-key-of-this-program", base_url=line.strip(), max_retries=0) as client:
        sys.stdout.write(json.dumps(play(client)) + "\n")
        sys.stdout.flush()
