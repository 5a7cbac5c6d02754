"""openai-python over HTTP: create, stream, retrieve, and a chain."""

from __future__ import annotations

from openai import BadRequestError, OpenAI

with OpenAI() as client:
    first = client.responses.create(model="gpt-5.5", input="SAY 2 hm ")
    assert first.output_text == "hm hm "

    with client.responses.stream(model="gpt-5.5", input="hello", previous_response_id=first.id) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        last = stream.get_final_response()
    assert "".join(deltas) == last.output_text == "echo: hello"
    assert last.usage.input_tokens_details.cached_tokens > 0

    assert client.responses.retrieve(last.id).output_text == "echo: hello"
    assert client.responses.input_items.list(last.id).data
    try:
        client.responses.create(model="gpt-5.5", input="x", previous_response_id="resp_unknown")
    except BadRequestError as error:
        assert error.code == "previous_response_not_found"
    else:
        raise AssertionError("an unknown previous response was accepted")
    assert {model.id for model in client.models.list()} >= {"directive"}

print("create, stream, retrieve, input items, models and an error, over HTTP")
