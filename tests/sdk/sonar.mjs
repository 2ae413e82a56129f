// Perplexity's SDK for JavaScript against a running Hoheit, and OpenAI's for the documents and against the same base URL.
//
// Takes HOHEIT_URL and HOHEIT_KEY by environment and expects the model `sonar` to answer `Es sind 30 Tage [1].`, as
// crates/hoheit/tests/it/sonar.rs arranges; that test starts the site and runs this script. Prints `ok NAME` or
// `FAILED NAME: why` for each case and ends with 1 if one failed.

import Perplexity from '@perplexity-ai/perplexity_ai';
import { isDeepStrictEqual } from 'node:util';
import OpenAI, { toFile } from 'openai';

const URL = process.env.HOHEIT_URL;
const PATIENCE_MILLIS = 30_000;
const OPTIONS = { apiKey: process.env.HOHEIT_KEY, maxRetries: 0, timeout: PATIENCE_MILLIS };
const ANSWER = 'Es sind 30 Tage [1].';
const TEXT =
  'Beschäftigte haben Anspruch auf 30 Tage Urlaub im Jahr. In der Probezeit gilt eine Frist von zwei Wochen.';
const SOURCE = 'https://intern.example/handbuch';
const messages = [{ role: 'user', content: 'Wie viele Tage Urlaub gibt es?' }];

const sonar = new Perplexity({ baseURL: URL, ...OPTIONS });
const documents = new OpenAI({ baseURL: `${URL}/v1`, ...OPTIONS });

function same(actual, expected, what) {
  if (!isDeepStrictEqual(actual, expected)) {
    throw new Error(`${what}: ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
  }
}

async function refused(run) {
  try {
    await run();
  } catch (error) {
    return error;
  }
  throw new Error('it was not refused');
}

async function all(events) {
  const seen = [];
  for await (const event of events) seen.push(event);
  return seen;
}

const text = (events) => events.map((event) => event.choices[0]?.delta.content ?? '').join('');

const cases = {
  // First: what is asked for later is here from now on.
  async filesAndVectorStores() {
    const file = await documents.files.create({
      file: await toFile(Buffer.from(TEXT), 'handbuch.md', { type: 'text/markdown' }),
      purpose: 'assistants',
    });
    same(await (await documents.files.content(file.id)).text(), TEXT, 'content');
    const store = await documents.vectorStores.create({ name: 'Personal' });
    const attributes = { url: SOURCE, title: 'Handbuch', date: '2026-03-01' };
    const attached = await documents.vectorStores.files.create(store.id, { file_id: file.id, attributes });
    same([attached.status, attached.last_error], ['completed', null], 'attached');
    const found = await documents.vectorStores.search(store.id, { query: 'Urlaub' });
    same(found.data[0].content[0].text, TEXT, 'found');
    const listed = await all(documents.files.list({ limit: 1 }));
    same(listed.map((one) => one.id), [file.id], 'files');
  },

  async deletion() {
    const file = await documents.files.create({ file: await toFile(Buffer.from('x'), 'x.txt'), purpose: 'user_data' });
    same((await documents.files.delete(file.id)).deleted, true, 'deleted');
    same((await refused(() => documents.files.retrieve(file.id))).status, 404, 'gone');
  },

  async chat() {
    const answer = await sonar.chat.completions.create({ model: 'sonar', messages });
    same(answer.choices[0].message.content, ANSWER, 'answer');
    same([answer.citations, answer.search_results[0].title], [[SOURCE], 'Handbuch'], 'citations');
    same([answer.object, answer.status, answer.model], ['chat.completion', 'COMPLETED', 'sonar'], 'head');
    same(answer.usage.cost.total_cost > 0, true, 'cost');
  },

  async stream() {
    const events = await all(await sonar.chat.completions.create({ model: 'sonar', messages, stream: true }));
    let told = '';
    for (const event of events) {
      told += event.choices[0].delta.content;
      same(event.choices[0].message.content, told, 'all so far');
    }
    same(told, ANSWER, 'answer');
    const last = events.at(-1);
    same([last.status, last.type, last.choices[0].finish_reason], ['COMPLETED', 'end_of_stream', 'stop'], 'last');
  },

  async askedNowAndFetchedLater() {
    const taken = await sonar.async.chat.completions.create({ request: { model: 'sonar', messages } });
    const end = Date.now() + PATIENCE_MILLIS;
    let fetched = taken;
    while (!['COMPLETED', 'FAILED'].includes(fetched.status)) {
      if (Date.now() > end) throw new Error(`still ${fetched.status}`);
      await new Promise((done) => setTimeout(done, 50));
      fetched = await sonar.async.chat.completions.get(taken.id);
    }
    same(fetched.response?.choices[0].message.content, ANSWER, 'answer');
    const listed = await sonar.async.chat.completions.list();
    same(listed.requests.some((one) => one.id === taken.id), true, 'listed');
  },

  async search() {
    const found = await sonar.search.create({ query: 'Urlaub', max_results: 5 });
    same(found.results.map((one) => [one.title, one.url, one.date]), [['Handbuch', SOURCE, '2026-03-01']], 'results');
    const none = await sonar.search.create({ query: 'Urlaub', search_domain_filter: ['-intern.example'] });
    same(none.results, [], 'filtered');
  },

  async refusals() {
    const wrong = await refused(() => sonar.chat.completions.create({ model: 'sonar', messages, search_mode: 'sec' }));
    same([wrong instanceof Perplexity.BadRequestError, wrong.status], [true, 400], 'refusal');
    const stranger = new Perplexity({ baseURL: URL, ...OPTIONS, apiKey: 'hk_wrong' });
    same((await refused(() => stranger.search.create({ query: 'x' }))).status, 401, 'stranger');
  },

  async whatBreaksOffIsAnError() {
    const events = await sonar.chat.completions.create({ model: 'breaks', messages, stream: true });
    await refused(() => all(events));
  },

  async openaiAgainstTheSonarBaseUrl() {
    for (const baseURL of [URL, `${URL}/sonar`]) {
      const client = new OpenAI({ baseURL, ...OPTIONS });
      const answer = await client.chat.completions.create({ model: 'sonar', messages });
      same([answer.choices[0].message.content, answer.citations], [ANSWER, [SOURCE]], 'answer');
      same(text(await all(await client.chat.completions.create({ model: 'sonar', messages, stream: true }))), ANSWER, 'stream');
      const broken = await client.chat.completions.create({ model: 'breaks', messages, stream: true });
      await refused(() => all(broken));
    }
  },
};

let failed = false;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    failed = true;
    const place = [...String(error.stack).matchAll(/tests\/sdk\/(\w+\.mjs:\d+)/g)].map((found) => found[1]);
    console.log(`FAILED ${name}: ${error.constructor.name}: ${error.message} (${place.join(' < ')})`.replace(/\s+/g, ' '));
  }
}
process.exitCode = failed ? 1 : 0;
