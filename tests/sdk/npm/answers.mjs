// What is asked and answered: every operation, whole and streamed, and what passes through untouched.

import { MESSAGES, all, client, holds, proven, same } from './world.mjs';

/** Short and the same each time, so that two ways of asking can be compared. */
const PLAIN = { model: 'nano', messages: MESSAGES, temperature: 0, max_tokens: 12 };

const CITY = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'Wetter einer Stadt',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', enum: ['München', 'Köln'] }, days: { type: 'integer' } },
      required: ['city'],
      additionalProperties: false,
    },
    strict: true,
  },
};

/** All that we do not decide on, with what parsers like to change: floats, large integers, escapes, null. */
const EVERYTHING = {
  model: 'echo',
  messages: [
    { role: 'system', content: 'Zeichen: "\\" / \t\u0001 é 🇩🇪 \u2028' },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'Was ist das?' },
        { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=', detail: 'low' } },
      ],
    },
    {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city": "Köln"}' } }],
    },
    { role: 'tool', tool_call_id: 'call_1', content: '[]' },
  ],
  tools: [CITY],
  tool_choice: { type: 'function', function: { name: 'weather' } },
  parallel_tool_calls: false,
  response_format: { type: 'json_schema', json_schema: { name: 'a', schema: { type: 'object' } } },
  logprobs: true,
  top_logprobs: 3,
  logit_bias: { 42: -100 },
  temperature: 0.1,
  top_p: 0.9500000000000001,
  presence_penalty: -0.5,
  seed: 9007199254740991,
  stop: ['\n', 'Ende'],
  user: 'kunde-1',
  metadata: { akte: '7' },
  max_completion_tokens: 40,
  guided_regex: '[a-z]+',
  vendor: { nested: [1, 2.5, 1e-7, null, true, { deep: [] }, {}] },
};

/** What the engine got (its text, byte for byte), member by member: a difference is named, not the whole. */
function arrived(text, expected) {
  const actual = JSON.parse(text);
  for (const name of Object.keys({ ...actual, ...expected })) {
    same(actual[name], expected[name], `${name}, as the engine got it`);
  }
}

const text = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');

export default {
  async models_list() {
    const names = (await all(await client().models.list())).map((model) => model.id);
    for (const name of ['nano', 'scripted', 'org/alias', 'french']) holds(names.includes(name), `no ${name}: ${names}`);
    holds(!names.includes('american'), 'a model that policy refuses is listed');
  },

  async models_retrieve() {
    for (const name of ['nano', 'org/alias']) {
      const model = await client().models.retrieve(name);
      same([model.id, model.object], [name, 'model'], 'model');
      holds(model.owned_by, 'owned_by is empty');
    }
  },

  async chat_whole() {
    const { data, response, request_id } = await client().chat.completions.create(PLAIN).withResponse();
    same([data.object, data.model, data.choices[0].message.role], ['chat.completion', 'nano', 'assistant'], 'answer');
    holds(data.choices[0].message.content, 'no text');
    holds(['stop', 'length'].includes(data.choices[0].finish_reason), data.choices[0].finish_reason);
    const { prompt_tokens, completion_tokens, total_tokens } = data.usage;
    holds(prompt_tokens > 0 && completion_tokens > 0 && completion_tokens <= 12, JSON.stringify(data.usage));
    same(total_tokens, prompt_tokens + completion_tokens, 'total');
    same([data._request_id, request_id], Array(2).fill(response.headers.get('hoheit-receipt')), "the SDK's request id");
  },

  async chat_streamed() {
    const whole = await client().chat.completions.create(PLAIN);
    const chunks = await all(await client().chat.completions.create({ ...PLAIN, stream: true }));
    holds(chunks.every((chunk) => chunk.object === 'chat.completion.chunk'), 'objects of chunks');
    holds(chunks.every((chunk) => chunk.usage === undefined), 'usage that nobody asked for');
    holds(chunks.every((chunk) => chunk.choices.length === 1), 'a chunk without a choice');
    same(text(chunks), whole.choices[0].message.content, 'text, streamed and whole');
    same(chunks.at(-1).choices[0].finish_reason, whole.choices[0].finish_reason, 'finish reason');
  },

  async chat_streamed_with_usage() {
    for (const model of ['nano', 'scripted']) {
      const plain = { ...PLAIN, model };
      const whole = await client().chat.completions.create(plain);
      const asked = { ...plain, stream: true, stream_options: { include_usage: true } };
      const chunks = await all(await client().chat.completions.create(asked));
      same(chunks.at(-1).choices, [], 'choices of the last chunk');
      holds(chunks.slice(0, -1).every((chunk) => chunk.usage == null), 'running usage that nobody asked for');
      for (const field of ['prompt_tokens', 'completion_tokens', 'total_tokens']) {
        same(chunks.at(-1).usage[field], whole.usage[field], `${field} of ${model}`);
      }
    }
  },

  async chat_at_once() {
    const one = client();
    const whole = await Promise.all(Array.from({ length: 4 }, () => one.chat.completions.create(PLAIN)));
    same(new Set(whole.map((answer) => answer.choices[0].message.content)).size, 1, 'texts of equal requests');
    same(new Set(whole.map((answer) => answer._request_id)).size, 4, 'receipts of four requests');
  },

  async completions_whole() {
    const asked = { model: 'nano', prompt: 'Ein Beleg ist', temperature: 0, max_tokens: 8 };
    const answer = await client().completions.create(asked);
    same(answer.object, 'text_completion', 'object');
    holds(answer.choices[0].text && answer.usage.completion_tokens <= 8, JSON.stringify(answer));
  },

  async completions_streamed() {
    const asked = { model: 'nano', prompt: 'Ein Beleg ist', temperature: 0, max_tokens: 8 };
    const whole = await client().completions.create(asked);
    const streamed = { ...asked, stream: true, stream_options: { include_usage: true } };
    const chunks = await all(await client().completions.create(streamed));
    const text = chunks.map((chunk) => chunk.choices[0]?.text ?? '').join('');
    same(text, whole.choices[0].text, 'text, streamed and whole');
    same(chunks.at(-1).usage.total_tokens, whole.usage.total_tokens, 'usage');
  },

  async embeddings() {
    for (const encoding_format of [undefined, 'float', 'base64']) {
      const asked = { model: 'scripted', input: ['eins', 'zwei'], encoding_format };
      const { data, response } = await client().embeddings.create(asked).withResponse();
      same(data.data.map((one) => one.index), [0, 1], 'order');
      const expected = encoding_format === 'base64' ? 'AAAAPwAAgL4AAAA+AACAPw==' : [0.5, -0.25, 0.125, 1];
      same(data.data[1].embedding, expected, 'vector');
      const claims = await proven(response.headers, 'completed');
      same([claims.operation, claims.usage.output], ['embeddings', 0], 'receipt');
      same(claims.usage.input, data.usage.prompt_tokens, 'tokens of the receipt');
    }
  },

  async tools_whole() {
    const answer = await client().chat.completions.create({ model: 'scripted', messages: MESSAGES, tools: [CITY] });
    same(answer.choices[0].finish_reason, 'tool_calls', 'finish reason');
    const [call] = answer.choices[0].message.tool_calls;
    same([call.type, call.id, call.function.name], ['function', 'call_twin', 'weather'], 'call');
    same(JSON.parse(call.function.arguments), { city: 'München' }, 'arguments');
  },

  async tools_streamed() {
    // The SDK's own helper puts the pieces of a call together.
    const stream = client().chat.completions.stream({ model: 'scripted', messages: MESSAGES, tools: [CITY] });
    const [call] = (await stream.finalChatCompletion()).choices[0].message.tool_calls;
    same([call.id, call.function.name], ['call_twin', 'weather'], 'call');
    same(JSON.parse(call.function.arguments), { city: 'München' }, 'arguments');
  },

  async parameters_pass_untouched() {
    arrived((await client().chat.completions.create(EVERYTHING)).twin_echo, EVERYTHING);
  },

  async parameters_pass_untouched_streamed() {
    const [first] = await all(await client().chat.completions.create({ ...EVERYTHING, stream: true }));
    // What we ask for ourselves, so that the receipt can be exact; how much of it, the engine's kind decides.
    const { stream_options } = JSON.parse(first.twin_echo);
    const { include_usage, continuous_usage_stats: running, ...more } = stream_options;
    same([include_usage, running ?? true, more], [true, true, {}], 'stream_options');
    arrived(first.twin_echo, { ...EVERYTHING, stream: true, stream_options });
  },

  async only_a_missing_limit_is_added() {
    const asked = { model: 'echo', prompt: ['a', 'b'], logprobs: 2, suffix: '!' };
    // The model's own limit.
    arrived((await client().completions.create(asked)).twin_echo, { ...asked, max_tokens: 4096 });
  },

  async the_engine_knows_the_model_by_its_own_name() {
    const answer = await client().chat.completions.create({ ...PLAIN, model: 'org/alias' });
    arrived(answer.twin_echo, { ...PLAIN, model: 'echo' });
  },
};
