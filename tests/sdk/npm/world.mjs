// The site under test as the cases see it: clients, receipts verified by a JOSE library, and plain comparisons.

import { createLocalJWKSet, jwtVerify } from 'jose';
import { webcrypto } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import OpenAI from 'openai';

// Debian 12's Node 18 has it under this name only; jose looks for it where browsers have it.
globalThis.crypto ??= webcrypto;

export const URL = process.env.HOHEIT_URL;

/** How long something may take that happens at once: its failure is the test's, not the machine's. */
export const PATIENCE_MILLIS = 30_000;

export const MESSAGES = [{ role: 'user', content: 'Was ist ein Beleg?' }];

/** The API key of one kind: '' is a good one; the others are named after what is wrong with them. */
export function key(kind = '') {
  return process.env[kind ? `HOHEIT_KEY_${kind}` : 'HOHEIT_KEY'];
}

export function client(kind = '', more = {}) {
  return new OpenAI({ baseURL: `${URL}/v1`, apiKey: key(kind), maxRetries: 0, timeout: PATIENCE_MILLIS, ...more });
}

/** A client, and the list of the requests that it really sent. */
export function countingClient(kind = '', more = {}) {
  const sent = [];
  const counting = (url, init) => {
    sent.push(url);
    return fetch(url, init);
  };
  return [client(kind, { fetch: counting, ...more }), sent];
}

export function same(actual, expected, what) {
  if (!isDeepStrictEqual(actual, expected)) {
    throw new Error(`${what}: ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
  }
}

export function holds(condition, what) {
  if (!condition) throw new Error(what);
}

/** The error that a promise ends with. */
export async function fails(promise) {
  let answer;
  try {
    answer = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`it was answered: ${JSON.stringify(answer)}`);
}

export async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

export async function jwks() {
  return createLocalJWKSet(await (await fetch(`${URL}/.well-known/jwks.json`)).json());
}

/** The claims, if the JOSE library finds the signature good. */
export async function verified(token, keys) {
  const options = { algorithms: ['EdDSA'], typ: 'receipt+jwt' };
  return (await jwtVerify(token, keys ?? (await jwks()), options)).payload;
}

/** A receipt once it is there: that of a client who left is written when the gateway sees it. */
export async function receipt(id, kind = '') {
  const deadline = Date.now() + PATIENCE_MILLIS;
  for (;;) {
    try {
      return await client(kind).get(`/receipts/${id}`);
    } catch (error) {
      if (!(error instanceof OpenAI.NotFoundError) || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** What the receipt that a response names says, verified, and read from the same place as by any customer. */
export async function proven(headers, outcome, kind = '') {
  const id = headers.get('hoheit-receipt');
  holds(id, 'no Hoheit-Receipt');
  same(headers.get('x-request-id'), id, 'x-request-id');
  const found = await receipt(id, kind);
  const claims = await verified(found.jwt);
  same(found.claims, claims, 'claims beside the JWT');
  same(claims.jti, id, 'jti');
  same(claims.outcome, outcome, 'outcome');
  return claims;
}
