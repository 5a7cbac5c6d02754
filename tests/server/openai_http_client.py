"""Talk to a server over HTTP with the openai package, as a program that knows nothing of Triplane.

usage: openai_http_client.py BASE_URL

Prints one JSON array: what each exchange gave to the synchronous and to the asynchronous client. Every response has to validate against openai's own models.
"""

from __future__ import annotations

import asyncio
import json
import sys
from operator import attrgetter

from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from openai.types.responses import CompactedResponse, Response

MODEL = "gpt-5.5"


def call(name, *args, **kwargs):
    return name, args, kwargs


def valid(response):
    Response.model_validate(response.to_dict(), strict=True)
    return response


def script():
    """Yield calls and take what they give, or what they raise; returns what was seen. The same for both clients.

    What comes in pieces comes as a list.
    """
    seen = {}

    first = valid((yield call("responses.create", model=MODEL, input="SAY 3 hm ")))
    seen["text"] = [first.output_text, first._request_id.startswith("req_")]

    events = yield call(
        "responses.create", model=MODEL, input="and now?", previous_response_id=first.id, stream=True
    )
    seen["events"] = [event.type.removeprefix("response.") for event in events]
    second = valid(events[-1].response)
    seen["stream"] = [second.output_text, second.usage.input_tokens_details.cached_tokens > 0]

    shown = valid((yield call("responses.retrieve", second.id)))
    seen["retrieved"] = shown.to_dict() == second.to_dict()

    page = yield call("responses.input_items.list", second.id, limit=1, order="asc")
    seen["input_items"] = [[item.role, item.content[0].text] for item in page]

    background = valid((yield call("responses.create", model=MODEL, input="WAIT 60000", background=True)))
    cancelled = valid((yield call("responses.cancel", background.id)))
    seen["background"] = [background.status, cancelled.status]

    events = yield call("responses.create", model=MODEL, input="x", background=True, stream=True)
    again = yield call("responses.retrieve", events[0].response.id, stream=True, starting_after=1)
    seen["read_again"] = [event.to_dict() for event in again] == [event.to_dict() for event in events[2:]]

    compacted = yield call("responses.compact", model=MODEL, previous_response_id=second.id)
    assert isinstance(compacted, CompactedResponse)
    seen["compacted"] = [item.type for item in compacted.output]
    response = yield call(
        "responses.create", model=MODEL, input=[item.to_dict() for item in compacted.output]
    )
    seen["after_compaction"] = valid(response).status

    counted = yield call("responses.input_tokens.count", model=MODEL, input="SAY 3 hm ")
    seen["input_tokens"] = counted.input_tokens == first.usage.input_tokens

    seen["models"] = [model.id for model in (yield call("models.list"))]
    seen["model"] = (yield call("models.retrieve", "directive")).id

    yield call("responses.delete", first.id)
    error = yield call("responses.retrieve", first.id)
    seen["deleted"] = [isinstance(error, NotFoundError), error.status_code]

    error = yield call("responses.create", model=MODEL, input="x", previous_response_id="resp_unknown")
    seen["unknown"] = [isinstance(error, BadRequestError), error.code, error.param]
    return seen


def run_sync(base_url):
    with OpenAI(api_key="sk-test", base_url=base_url, max_retries=0) as client:
        steps = script()
        step = next(steps)
        while True:
            name, args, kwargs = step
            try:
                result = attrgetter(name)(client)(*args, **kwargs)
                if hasattr(result, "__next__") or hasattr(result, "has_next_page"):
                    result = list(result)
            except (BadRequestError, NotFoundError) as error:
                result = error
            try:
                step = steps.send(result)
            except StopIteration as done:
                return done.value


async def run_async(base_url):
    async with AsyncOpenAI(api_key="sk-test", base_url=base_url, max_retries=0) as client:
        steps = script()
        step = next(steps)
        while True:
            name, args, kwargs = step
            try:
                result = await attrgetter(name)(client)(*args, **kwargs)
                if hasattr(result, "__anext__") or hasattr(result, "has_next_page"):
                    result = [item async for item in result]
            except (BadRequestError, NotFoundError) as error:
                result = error
            try:
                step = steps.send(result)
            except StopIteration as done:
                return done.value


if __name__ == "__main__":
    _, url = sys.argv
    seen = [run_sync(url), asyncio.run(run_async(url))]
    assert "triplane" not in sys.modules
    sys.stdout.write(json.dumps(seen))
