// Every refusal raises the SDK's own error for it, with a code, a text, and the receipt of the refusal.

import OpenAI from 'openai';
import { MESSAGES, client, countingClient, fails, holds, key, proven, receipt, same } from './world.mjs';

function chat(more = {}, options = {}, kind = '') {
  return client(kind).chat.completions.create({ model: 'scripted', messages: MESSAGES, ...more }, options);
}

/** The error that a call raised, after a look at all that the SDK shows of it. */
async function refused(call, kind, status, code, { type = 'invalid_request_error', param = null } = {}) {
  const error = await fails(call);
  same(error.constructor.name, kind.name, `class of ${error}`);
  same(error.status, status, 'status');
  same([error.code, error.type, error.param], [code, type, param], 'code, type and param');
  holds(error.error.message && error.message.includes(error.error.message), `no message in ${error}`);
  same(error.requestID, error.headers.get('hoheit-receipt'), 'request id');
  return error;
}

/** The refusal's receipt says the same code. */
async function receipted(error, outcome, kind = '') {
  const claims = await proven(error.headers, outcome, kind);
  same(claims.code, error.code, 'code of the receipt');
  return claims;
}

export default {
  async bad_request() {
    const param = { param: 'max_tokens' };
    const error = await refused(chat({ max_tokens: 0 }), OpenAI.BadRequestError, 400, 'invalid_request', param);
    holds(error.error.message.includes('at least 1'), error.message);
    await receipted(error, 'refused');
    await refused(chat({ messages: [] }), OpenAI.BadRequestError, 400, 'invalid_request', { param: 'messages' });
  },

  async bad_request_by_the_engine() {
    const error = await refused(chat({ model: 'refuses' }), OpenAI.BadRequestError, 400, 'invalid_request');
    same(error.error.message, 'the script says 400', "the engine's own words");
    await receipted(error, 'failed');
  },

  async unknown_data_class() {
    const call = chat({}, { headers: { 'Hoheit-Data-Class': 'streng geheim' } });
    const param = { param: 'Hoheit-Data-Class' };
    await receipted(await refused(call, OpenAI.BadRequestError, 400, 'data_class_unknown', param), 'refused');
  },

  async authentication() {
    const good = key();
    const anotherSecret = good.slice(0, -4) + (good.endsWith('aaaa') ? 'bbbb' : 'aaaa');
    const unknown = good.replace(good.split('_')[1], '0'.repeat(26));
    const wrong = {
      key_missing: [null, 'Basic aG9oZWl0'],
      key_invalid: ['sk-foreign', anotherSecret, unknown].map((shown) => `Bearer ${shown}`),
      key_revoked: [`Bearer ${key('REVOKED')}`],
      key_expired: [`Bearer ${key('EXPIRED')}`],
    };
    for (const [code, shown] of Object.entries(wrong)) {
      for (const Authorization of shown) {
        const headers = { Authorization };
        for (const call of [() => chat({}, { headers }), () => client().models.list({ headers })]) {
          const type = { type: 'authentication_error' };
          const error = await refused(call(), OpenAI.AuthenticationError, 401, code, type);
          same(error.headers.get('www-authenticate'), 'Bearer', 'www-authenticate');
        }
      }
    }
  },

  async permission_denied() {
    const type = { type: 'permission_error' };
    const call = chat({ model: 'american' });
    const error = await refused(call, OpenAI.PermissionDeniedError, 403, 'policy_refused', type);
    const claims = await receipted(error, 'refused');
    same(claims.policy.permit, false, 'permit');
    holds(claims.policy.rules.length > 0, 'no rule named');
    same(claims.served_by, undefined, 'served_by');
  },

  async permission_denied_for_a_raised_class() {
    holds((await chat({ model: 'french' })).choices, 'internal data may go to France');
    const call = chat({ model: 'french' }, { headers: { 'Hoheit-Data-Class': 'secret' } });
    const type = { type: 'permission_error' };
    const error = await refused(call, OpenAI.PermissionDeniedError, 403, 'policy_refused', type);
    same((await receipted(error, 'refused')).data_class, 'secret', 'data class');
  },

  async not_found() {
    const unknown = [OpenAI.NotFoundError, 404, 'model_not_found', { param: 'model' }];
    await receipted(await refused(chat({ model: 'nobody' }), ...unknown), 'refused');
    const bodies = [];
    for (const name of ['nobody', 'american', 'org/nobody']) {
      bodies.push((await refused(client().models.retrieve(name), ...unknown)).error);
    }
    same(bodies, Array(3).fill(bodies[0]), 'a model that policy refuses and one that does not exist');
    await refused(client().get('/nothing'), OpenAI.NotFoundError, 404, 'not_found');
  },

  async not_found_of_another_tenant() {
    const { response } = await chat().withResponse();
    const theirs = response.headers.get('hoheit-receipt');
    holds((await receipt(theirs)).jwt, 'its owner reads it');
    // Another last digit: an id of this minute that nobody has.
    const unknown = theirs.slice(0, -1) + (theirs.endsWith('0') ? '1' : '0');
    const bodies = [];
    for (const one of [theirs, unknown, 'rcp_nonsense']) {
      const call = client('FOREIGN').get(`/receipts/${one}`);
      bodies.push((await refused(call, OpenAI.NotFoundError, 404, 'not_found')).error);
    }
    same(bodies, Array(3).fill(bodies[0]), 'a foreign receipt, an unknown one and no id at all');
  },

  async conflict() {
    const again = [{ model: 'stalls', stream: true }, { headers: { 'Idempotency-Key': 'npm-conflict' } }];
    const stream = await chat(...again);
    await stream[Symbol.asyncIterator]().next();
    const error = await refused(chat(...again), OpenAI.ConflictError, 409, 'idempotency_running');
    same(error.headers.get('x-should-retry'), 'true', 'x-should-retry');
    await receipted(error, 'refused');
    stream.controller.abort();
  },

  async unprocessable() {
    const options = { headers: { 'Idempotency-Key': 'npm-mismatch' } };
    await chat({ max_tokens: 1 }, options);
    const call = chat({ max_tokens: 2 }, options);
    const error = await refused(call, OpenAI.UnprocessableEntityError, 422, 'idempotency_mismatch');
    await receipted(error, 'refused');
    const byEngine = chat({ model: 'unprocessable' });
    await refused(byEngine, OpenAI.UnprocessableEntityError, 422, 'invalid_request');
  },

  async rate_limit_of_requests() {
    const { response } = await chat({}, {}, 'ONE_REQUEST').withResponse();
    const limits = ['limit', 'remaining'].map((what) => response.headers.get(`x-ratelimit-${what}-requests`));
    same(limits, ['1', '0'], 'limit and remaining');
    const type = { type: 'rate_limit_error' };
    const error = await refused(chat({}, {}, 'ONE_REQUEST'), OpenAI.RateLimitError, 429, 'rate_limited', type);
    const wait = Number(error.headers.get('retry-after'));
    holds(wait >= 40 && wait <= 60, `Retry-After: ${wait}`);
    same(error.headers.get('x-ratelimit-remaining-requests'), '0', 'remaining');
    await receipted(error, 'refused', 'ONE_REQUEST');
  },

  async rate_limit_of_tokens() {
    // Takes the whole minute, and uses nearly all of it.
    same((await chat({ model: 'wordy' }, {}, 'FEW_TOKENS')).usage.prompt_tokens, 90, 'prompt');
    const type = { type: 'rate_limit_error' };
    const error = await refused(chat({}, {}, 'FEW_TOKENS'), OpenAI.RateLimitError, 429, 'rate_limited', type);
    holds(error.error.message.includes('tokens a minute'), error.message);
    same(error.headers.get('x-ratelimit-limit-tokens'), '100', 'limit');
    await receipted(error, 'refused', 'FEW_TOKENS');
  },

  async budget_exhausted() {
    // With retries allowed: a repeat cannot help, and the SDK is told so.
    const [poor, sent] = countingClient('POOR', { maxRetries: 3 });
    const call = poor.chat.completions.create({ model: 'scripted', messages: MESSAGES });
    const type = { type: 'insufficient_quota' };
    const error = await refused(call, OpenAI.RateLimitError, 429, 'budget_exhausted', type);
    same(sent.length, 1, 'requests sent');
    same((await receipted(error, 'refused', 'POOR')).cost_micro_eur, 0, 'cost');
  },

  async engine_full() {
    const type = { type: 'rate_limit_error' };
    const error = await refused(chat({ model: 'full' }), OpenAI.RateLimitError, 429, 'engine_overloaded', type);
    same(error.headers.get('retry-after'), '7', "the engine's own Retry-After");
    await receipted(error, 'failed');
  },

  async residency_unavailable() {
    holds((await chat({}, {}, 'GERMAN')).choices, 'an engine in Germany answers');
    const call = chat({ model: 'french' }, {}, 'GERMAN');
    const type = { type: 'api_error' };
    const error = await refused(call, OpenAI.InternalServerError, 503, 'residency_unavailable', type);
    const claims = await receipted(error, 'refused', 'GERMAN');
    same([claims.served_by, claims.policy.permit], [undefined, false], 'receipt');
  },

  async engine_failed() {
    const type = { type: 'api_error' };
    for (const model of ['html', 'fails', 'garbage']) {
      const [status, code] = model === 'garbage' ? [503, 'replica_unavailable'] : [502, 'engine_failed'];
      const error = await refused(chat({ model }), OpenAI.InternalServerError, status, code, type);
      same((await receipted(error, 'failed')).cost_micro_eur, 0, 'cost');
    }
  },

  async engine_unreachable() {
    const call = chat({ model: 'vanishes' });
    const type = { type: 'api_error' };
    await receipted(await refused(call, OpenAI.InternalServerError, 503, 'replica_unavailable', type), 'failed');
  },

  async stream_broken() {
    const { data, response } = await chat({ model: 'breaks', stream: true }).withResponse();
    let text = '';
    const error = await fails(
      (async () => {
        for await (const chunk of data) text += chunk.choices[0].delta.content ?? '';
      })(),
    );
    holds(error instanceof OpenAI.APIError, `${error}`);
    same([error.code, error.type], ['stream_broken', 'api_error'], 'error inside the stream');
    same(text, 'tok0 tok1', 'what came before');
    const claims = await proven(response.headers, 'partial');
    same([claims.code, claims.usage.output], ['stream_broken', 2], 'receipt');
  },

  async timeout() {
    const call = chat({ model: 'hangs' }, { timeout: 1_500 });
    holds((await fails(call)) instanceof OpenAI.APIConnectionTimeoutError, 'an engine that hangs');
  },

  async no_connection() {
    const error = await fails(client('', { baseURL: 'http://127.0.0.1:9/v1' }).models.list());
    same(error.constructor.name, OpenAI.APIConnectionError.name, `${error}`);
  },

  async retry_waits_as_long_as_told() {
    const [patient, sent] = countingClient('', { maxRetries: 1 });
    const begin = performance.now();
    const answer = await patient.chat.completions.create({ model: 'full-once', messages: MESSAGES });
    holds(answer.choices[0].message.content, 'no text');
    const waited = performance.now() - begin;
    // The SDK's own first pause is at most half a second; timers may be a little early.
    holds(waited >= 1_990, `it waited ${waited} ms`);
    same(sent.length, 2, 'requests sent');
  },

  /** Two callers with one idempotency key: the second is told to wait, does, and gets the first one's answer. */
  async retry_while_the_first_still_runs() {
    const options = { headers: { 'Idempotency-Key': 'npm-twice' }, maxRetries: 8 };
    const [first, second] = await Promise.all([chat({ model: 'slow' }, options), chat({ model: 'slow' }, options)]);
    same(first._request_id, second._request_id, 'receipts');
  },
};
