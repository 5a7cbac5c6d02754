// openai-node's WebSocket with `ws`: a chain with a tool call, then several lanes on one socket.

import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { ResponsesWebSocketSession } from 'openai/lib/responses/responses-websocket-session';

const client = new OpenAI();
const LANES = 8;

async function chain() {
  const socket = new ResponsesWS(client);
  try {
    const ask = async (request) => {
      const deltas = [];
      const messages = socket.stream(); // leaving the loop ends it
      socket.send({ type: 'response.create', model: 'gpt-5.5', ...request });
      for await (const { type, message, error } of messages) {
        if (error) throw error;
        if (type !== 'message') continue;
        if (message.type === 'response.output_text.delta') deltas.push(message.delta);
        if (message.type === 'response.completed') return { response: message.response, deltas };
      }
      throw new Error('the socket ended before the response did');
    };
    const first = await ask({ input: 'CALL look {"at": "a"}', store: false });
    const [call] = first.response.output;
    assert.deepEqual([call.name, call.arguments], ['look', '{"at": "a"}']);
    const second = await ask({
      previous_response_id: first.response.id,
      input: [{ type: 'function_call_output', call_id: call.call_id, output: 'seen' }],
      store: false,
    });
    assert.equal(second.deltas.join(''), 'RESULT: "seen"');
  } finally {
    socket.close();
  }
}

async function lanes() {
  const socket = new ResponsesWS(client);
  try {
    for await (const { type, error } of socket.stream()) {
      if (error) throw error;
      if (type === 'open') break;
    }
    const session = new ResponsesWebSocketSession(socket, {
      maxLanes: LANES + 1,
      maxBufferedEvents: 4096,
      maxBufferedBytes: 32 * 1024 * 1024,
    });
    const texts = await Promise.all(
      Array.from({ length: LANES }, async (_, number) => {
        const lane = session.lane(`lane-${number}`);
        const texts = [];
        let previous = {};
        for (let turn = 0; turn < 3; turn += 1) {
          lane.create({ model: 'gpt-5.5', input: `WAIT 20\nSAY 2 ${number}.${turn} `, ...previous });
          const response = await lane.finalResponse();
          texts.push(response.output_text);
          previous = { previous_response_id: response.id };
        }
        return texts.join('');
      }),
    );
    assert.deepEqual(
      texts,
      Array.from({ length: LANES }, (_, n) => [0, 1, 2].map((t) => `${n}.${t} ${n}.${t} `).join('')),
    );
    session.close();
  } finally {
    socket.close();
  }
}

await chain();
await lanes();
console.log(`a chain with a tool call, and ${LANES} lanes at once, over WebSocket`);
