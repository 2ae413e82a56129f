// What a customer holds in the hand: a receipt for each request, verified by a JOSE library that is not ours.

import { SignJWT, createLocalJWKSet, decodeProtectedHeader, errors, exportJWK, generateKeyPair } from 'jose';
import OpenAI from 'openai';
import { MESSAGES, all, client, fails, holds, jwks, proven, receipt, same, verified } from './world.mjs';

function chat(more = {}, options = {}) {
  return client().chat.completions.create({ model: 'scripted', messages: MESSAGES, ...more }, options);
}

async function receiptOf(call) {
  return (await call.asResponse()).headers.get('hoheit-receipt');
}

/** Every receipt of this project, from page to page. */
async function receipts() {
  const listed = [];
  for (;;) {
    const query = { limit: 100, ...(listed.length > 0 && { after: listed.at(-1).id }) };
    const page = await client().get('/receipts', { query });
    listed.push(...page.data);
    if (!page.has_more) return listed;
  }
}

export default {
  async receipt_of_an_answer() {
    const { data, response } = await chat({ model: 'nano', max_tokens: 5 }).withResponse();
    const claims = await proven(response.headers, 'completed');
    same([claims.model, claims.operation], ['nano', 'chat.completions'], 'what was asked');
    const tokens = [data.usage.prompt_tokens, data.usage.completion_tokens];
    same([claims.usage.input, claims.usage.output], tokens, 'tokens');
    holds(claims.policy.permit && claims.policy.rules.length > 0, JSON.stringify(claims.policy));
    holds(claims.cost_micro_eur > 0, 'it cost nothing');
    same(claims.code, undefined, 'code');
  },

  async receipt_of_a_stream() {
    const asked = { stream: true, stream_options: { include_usage: true } };
    const { data, response } = await chat(asked).withResponse();
    const { usage } = (await all(data)).at(-1);
    const claims = await proven(response.headers, 'completed');
    same([claims.usage.input, claims.usage.output], [usage.prompt_tokens, usage.completion_tokens], 'tokens');
    const { country, jurisdiction, operator, retention } = claims.served_by;
    same([country, jurisdiction, operator, retention], ['DE', 'DE', 'Muster', 'none'], 'where it was served');
  },

  async receipts_list() {
    const mine = [];
    for (let count = 0; count < 3; count += 1) mine.push(await receiptOf(chat()));
    await receipt(mine.at(-1));
    const listed = (await receipts()).map((one) => one.id);
    for (const id of mine) holds(listed.includes(id), `no ${id}`);
    same(listed.filter((id) => mine.includes(id)), mine, 'the order in which they ended');
    same(listed.length, new Set(listed).size, 'each once');
  },

  async a_changed_byte_does_not_verify() {
    const token = (await receipt(await receiptOf(chat()))).jwt;
    const keys = await jwks();
    await verified(token, keys);
    const [first, last] = [token.indexOf('.'), token.lastIndexOf('.')];
    for (const place of [0, first - 2, first + 1, last - 2, last + 1, token.length - 3]) {
      const changed = token.slice(0, place) + (token[place] === 'A' ? 'B' : 'A') + token.slice(place + 1);
      const error = await fails(verified(changed, keys));
      holds(error instanceof errors.JOSEError, `changed at ${place}: ${error}`);
    }
  },

  async another_key_does_not_verify() {
    const token = (await receipt(await receiptOf(chat()))).jwt;
    const { alg, kid, typ } = decodeProtectedHeader(token);
    same([alg, typ], ['EdDSA', 'receipt+jwt'], 'header');
    const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' });
    const stranger = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), kid }] });
    const forged = await new SignJWT({ jti: 'x' }).setProtectedHeader({ alg, kid, typ }).sign(privateKey);
    for (const [signed, keys] of [[token, stranger], [forged, await jwks()]]) {
      const error = await fails(verified(signed, keys));
      holds(error instanceof errors.JWSSignatureVerificationFailed, `${error}`);
    }
  },

  async cancelled_stream() {
    const asked = { model: 'stalls', stream: true, user: 'read-all' };
    const { data, response } = await chat(asked).withResponse();
    let text = '';
    for await (const chunk of data) {
      text += chunk.choices[0].delta.content;
      if (text === 'tok0 tok1') break;
    }
    const claims = await proven(response.headers, 'aborted');
    // As many as the engine counted: sdk.rs compares it with the engine's own books.
    same(claims.usage.output, 2, 'output tokens');
    holds(claims.cost_micro_eur > 0, 'what was delivered is charged');
  },

  async cancelled_after_the_first_chunk() {
    const { data, response } = await chat({ model: 'stalls', stream: true }).withResponse();
    await data[Symbol.asyncIterator]().next();
    data.controller.abort();
    await proven(response.headers, 'aborted');
  },

  /** No header came, and still there is exactly one receipt. */
  async cancelled_before_the_first_byte() {
    const before = new Set((await receipts()).map((one) => one.id));
    const leaving = new AbortController();
    const call = chat({ model: 'hangs' }, { signal: leaving.signal });
    setTimeout(() => leaving.abort(), 1_500);
    holds((await fails(call)) instanceof OpenAI.APIUserAbortError, 'an abort of ours');
    let found = [];
    for (let round = 0; found.length === 0 && round < 100; round += 1) {
      // A later request's receipt is waited for: then the earlier ones are in the store too.
      await receipt(await receiptOf(chat()));
      found = (await receipts()).filter((one) => one.claims.model === 'hangs' && !before.has(one.id));
    }
    same(found.map((one) => one.claims.outcome), ['aborted'], 'outcomes');
    same((await verified((await receipt(found[0].id)).jwt)).usage.output, 0, 'output tokens');
  },

  async idempotency_replays() {
    const asked = [{ model: 'once' }, { headers: { 'Idempotency-Key': 'npm-whole' } }];
    const first = await chat(...asked).asResponse();
    const body = await first.text();
    const again = await chat(...asked).asResponse();
    same(again.headers.get('hoheit-receipt'), first.headers.get('hoheit-receipt'), 'receipt');
    const replayed = [first, again].map((response) => response.headers.get('idempotent-replayed'));
    same(replayed, [null, 'true'], 'idempotent-replayed');
    same(await again.text(), body, 'body');
  },

  async idempotency_replays_streamed() {
    const asked = [{ model: 'once', stream: true }, { headers: { 'Idempotency-Key': 'npm-stream' } }];
    const first = await chat(...asked).withResponse();
    const chunks = await all(first.data);
    const again = await chat(...asked).withResponse();
    same(await all(again.data), chunks, 'chunks');
    same(again.response.headers.get('hoheit-receipt'), first.response.headers.get('hoheit-receipt'), 'receipt');
    await proven(again.response.headers, 'completed');
  },
};
