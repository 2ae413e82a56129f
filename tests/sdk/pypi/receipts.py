"""What a customer holds in the hand: a receipt for each request, verified by a JOSE library that is not ours."""

import asyncio

import openai
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from .world import MESSAGES, async_client, client, collected, holds, jwks, proven, receipt, same, verified

CASES = []
case = collected(CASES)


def chat(**more):
    return client().chat.completions.with_raw_response.create(**{"model": "scripted", "messages": MESSAGES, **more})


@case
def receipt_of_an_answer():
    raw = chat(model="nano", max_tokens=5)
    usage = raw.parse().usage
    claims = proven(raw.headers, "completed")
    same((claims["model"], claims["operation"]), ("nano", "chat.completions"), "what was asked")
    same(claims["usage"]["input"], usage.prompt_tokens, "input tokens")
    same(claims["usage"]["output"], usage.completion_tokens, "output tokens")
    holds(claims["policy"]["permit"] and claims["policy"]["rules"], f"{claims['policy']}")
    holds(claims["cost_micro_eur"] > 0, "it cost nothing")
    holds("code" not in claims, "a code without an error")


@case
def receipt_of_a_stream():
    raw = chat(stream=True, stream_options={"include_usage": True})
    usage = list(raw.parse())[-1].usage
    claims = proven(raw.headers, "completed")
    same((claims["usage"]["input"], claims["usage"]["output"]), (usage.prompt_tokens, usage.completion_tokens), "usage")
    place = {field: claims["served_by"][field] for field in ["country", "jurisdiction", "operator", "retention"]}
    expected = {"country": "DE", "jurisdiction": "DE", "operator": "Muster", "retention": "none"}
    same(place, expected, "where it was served")


def receipts():
    """Every receipt of this project, from page to page."""
    listed = []
    while True:
        query = {"limit": 100, **({"after": listed[-1]["id"]} if listed else {})}
        page = client().get("/receipts", cast_to=object, options={"params": query})
        listed += page["data"]
        if not page["has_more"]:
            return listed


@case
def receipts_list():
    mine = [chat().headers["hoheit-receipt"] for _ in range(3)]
    receipt(mine[-1])
    listed = [one["id"] for one in receipts()]
    holds(set(mine) <= set(listed), f"{mine} in {listed}")
    same([one for one in listed if one in mine], mine, "the order in which they ended")
    same(len(listed), len(set(listed)), "each once")


@case
def a_changed_byte_does_not_verify():
    token, keys = receipt(chat().headers["hoheit-receipt"])["jwt"], jwks()
    verified(token, keys)
    first, last = token.index("."), token.rindex(".")
    for place in [0, first - 2, first + 1, last - 2, last + 1, len(token) - 3]:
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        try:
            verified(changed, keys)
        # A changed header may be no header at all.
        except (JoseError, ValueError):
            continue
        raise AssertionError(f"changed at {place}, it still verifies")


@case
def another_key_does_not_verify():
    token = receipt(chat().headers["hoheit-receipt"])["jwt"]
    kid = jws.extract_compact(token.encode()).headers()["kid"]
    stranger = OKPKey.generate_key("Ed25519", {"kid": kid})
    header = {"alg": "EdDSA", "kid": kid, "typ": "receipt+jwt"}
    forged = jwt.encode(header, {"jti": "x"}, stranger, algorithms=["EdDSA"])
    for signed, keys in [(token, KeySet([stranger])), (forged, jwks())]:
        try:
            verified(signed, keys)
        except JoseError:
            continue
        raise AssertionError("verified with another key")


@case
def cancelled_stream():
    raw = chat(model="stalls", stream=True, user="read-all")
    stream = raw.parse()
    text = next(iter(stream)).choices[0].delta.content
    for chunk in stream:
        text += chunk.choices[0].delta.content
        if text == "tok0 tok1":
            break
    stream.close()
    claims = proven(raw.headers, "aborted")
    # As many as the engine counted: sdk.rs compares it with the engine's own books.
    same(claims["usage"]["output"], 2, "output tokens")
    holds(claims["cost_micro_eur"] > 0, "what was delivered is charged")


@case
def cancelled_after_the_first_chunk():
    async def leave():
        async with async_client() as asynchronous:
            asked = {"model": "stalls", "messages": MESSAGES, "stream": True}
            raw = await asynchronous.chat.completions.with_raw_response.create(**asked)
            stream = raw.parse()
            await stream.__anext__()
            await stream.close()
            return raw.headers

    proven(asyncio.run(leave()), "aborted")


@case
def cancelled_before_the_first_byte():
    """No header came, and still there is exactly one receipt."""
    before = {one["id"] for one in receipts()}
    try:
        client(timeout=1.5).chat.completions.create(model="hangs", messages=MESSAGES)
    except openai.APITimeoutError:
        pass
    found = []
    for _ in range(100):
        # A later request's receipt is waited for: then the earlier ones are in the store too.
        receipt(chat().headers["hoheit-receipt"])
        found = [one for one in receipts() if one["claims"]["model"] == "hangs" and one["id"] not in before]
        if found:
            break
    same([one["claims"]["outcome"] for one in found], ["aborted"], "outcomes")
    same(verified(receipt(found[0]["id"])["jwt"])["usage"]["output"], 0, "output tokens")


@case
def idempotency_replays():
    asked = {"model": "once", "extra_headers": {"Idempotency-Key": "pypi-whole"}}
    first, again = chat(**asked), chat(**asked)
    same(again.headers["hoheit-receipt"], first.headers["hoheit-receipt"], "receipt")
    same(again.headers.get("idempotent-replayed"), "true", "idempotent-replayed")
    same(first.headers.get("idempotent-replayed"), None, "idempotent-replayed of the first")
    same(again.content, first.content, "body")


@case
def idempotency_replays_streamed():
    asked = {"model": "once", "stream": True, "extra_headers": {"Idempotency-Key": "pypi-stream"}}
    first = chat(**asked)
    chunks = list(first.parse())
    again = chat(**asked)
    same(list(again.parse()), chunks, "chunks")
    same(again.headers["hoheit-receipt"], first.headers["hoheit-receipt"], "receipt")
    proven(again.headers, "completed")
