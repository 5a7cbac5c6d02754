// openai-node over HTTP: create, stream, retrieve, and an error.

import assert from 'node:assert/strict';
import OpenAI from 'openai';

const client = new OpenAI();
const first = await client.responses.create({ model: 'gpt-5.5', input: 'SAY 2 hm ' });
assert.equal(first.output_text, 'hm hm ');

const deltas = [];
const stream = await client.responses.create({
  model: 'gpt-5.5',
  input: 'hello',
  previous_response_id: first.id,
  stream: true,
});
let last;
for await (const event of stream) {
  if (event.type === 'response.output_text.delta') deltas.push(event.delta);
  if (event.type === 'response.completed') last = event.response;
}
assert.equal(deltas.join(''), 'echo: hello');
assert.equal((await client.responses.retrieve(last.id)).output_text, 'echo: hello');
await assert.rejects(
  client.responses.create({ model: 'gpt-5.5', input: 'x', previous_response_id: 'resp_unknown' }),
  (error) => error instanceof OpenAI.BadRequestError && error.code === 'previous_response_not_found',
);
console.log('create, stream, retrieve and an error, over HTTP');
