"""Every refusal raises the SDK's own exception for it, with a code, a text, and the receipt of the refusal."""

import threading
import time

import openai

from .world import MESSAGES, client, collected, counting_client, holds, key, proven, receipt, same

CASES = []
case = collected(CASES)


def chat(kind="", model="scripted", **more):
    return client(kind).chat.completions.create(model=model, messages=MESSAGES, **more)


def refused(exception, status, code, call, kind_of_error="invalid_request_error", param=None):
    """The exception that a call raised, after a look at all that the SDK shows of it."""
    try:
        call()
    except openai.APIStatusError as error:
        same(type(error), exception, f"class of {error}")
        same(error.status_code, status, "status")
        same((error.code, error.type, error.param), (code, kind_of_error, param), "code, type and param")
        holds(error.body["message"] and error.body["message"] in str(error), f"no message in {error}")
        same(error.request_id, error.response.headers.get("hoheit-receipt"), "request id")
        return error
    raise AssertionError(f"expected {exception.__name__}, and it was answered")


def receipted(error, outcome, kind=""):
    """The refusal's receipt says the same code."""
    claims = proven(error.response.headers, outcome, kind)
    same(claims["code"], error.code, "code of the receipt")
    return claims


@case
def bad_request():
    error = refused(openai.BadRequestError, 400, "invalid_request", lambda: chat(max_tokens=0), param="max_tokens")
    holds("at least 1" in error.body["message"], error.body["message"])
    receipted(error, "refused")
    refused(openai.BadRequestError, 400, "invalid_request", lambda: chat(extra_body={"messages": []}), param="messages")


@case
def bad_request_by_the_engine():
    error = refused(openai.BadRequestError, 400, "invalid_request", lambda: chat(model="refuses"))
    same(error.body["message"], "the script says 400", "the engine's own words")
    receipted(error, "failed")


@case
def unknown_data_class():
    call = lambda: chat(extra_headers={"Hoheit-Data-Class": "streng geheim"})
    receipted(refused(openai.BadRequestError, 400, "data_class_unknown", call, param="Hoheit-Data-Class"), "refused")


@case
def authentication():
    good = key()
    another_secret = good[:-4] + ("aaaa" if good[-4:] != "aaaa" else "bbbb")
    unknown = good.replace(good.split("_")[1], "0" * 26)
    wrong = {
        "key_missing": [{"Authorization": openai.Omit()}, {"Authorization": "Basic aG9oZWl0"}],
        "key_invalid": [{"Authorization": f"Bearer {shown}"} for shown in ["sk-foreign", another_secret, unknown]],
        "key_revoked": [{"Authorization": f"Bearer {key('REVOKED')}"}],
        "key_expired": [{"Authorization": f"Bearer {key('EXPIRED')}"}],
    }
    for code, headers in wrong.items():
        for one in headers:
            for call in [lambda: chat(extra_headers=one), lambda: client().models.list(extra_headers=one)]:
                error = refused(openai.AuthenticationError, 401, code, call, "authentication_error")
                same(error.response.headers["www-authenticate"], "Bearer", "www-authenticate")


@case
def permission_denied():
    call = lambda: chat(model="american")
    error = refused(openai.PermissionDeniedError, 403, "policy_refused", call, "permission_error")
    claims = receipted(error, "refused")
    same(claims["policy"]["permit"], False, "permit")
    holds(claims["policy"]["rules"], "no rule named")
    holds("served_by" not in claims, "it was served")


@case
def permission_denied_for_a_raised_class():
    holds(chat(model="french").choices, "internal data may go to France")
    call = lambda: chat(model="french", extra_headers={"Hoheit-Data-Class": "secret"})
    error = refused(openai.PermissionDeniedError, 403, "policy_refused", call, "permission_error")
    same(receipted(error, "refused")["data_class"], "secret", "data class")


@case
def not_found():
    unknown = lambda call: refused(openai.NotFoundError, 404, "model_not_found", call, param="model")
    receipted(unknown(lambda: chat(model="nobody")), "refused")
    names = ["nobody", "american", "org/nobody"]
    texts = [unknown(lambda: client().models.retrieve(name)).body for name in names]
    same(texts, [texts[0]] * 3, "a model that policy refuses and one that does not exist")
    refused(openai.NotFoundError, 404, "not_found", lambda: client().get("/nothing", cast_to=object))


@case
def not_found_of_another_tenant():
    headers = client().chat.completions.with_raw_response.create(model="scripted", messages=MESSAGES).headers
    theirs = headers["hoheit-receipt"]
    holds(receipt(theirs)["jwt"], "its owner reads it")
    # Another last digit: an id of this minute that nobody has.
    unknown = theirs[:-1] + ("0" if theirs[-1] != "0" else "1")
    answers = []
    for one in [theirs, unknown, "rcp_nonsense"]:
        call = lambda: client("FOREIGN").get(f"/receipts/{one}", cast_to=object)
        answers.append(refused(openai.NotFoundError, 404, "not_found", call).response.content)
    same(answers, [answers[0]] * 3, "a foreign receipt, an unknown one and no id at all")


@case
def conflict():
    again = {"model": "stalls", "stream": True, "extra_headers": {"Idempotency-Key": "pypi-conflict"}}
    with chat(**again) as stream:
        next(iter(stream))
        error = refused(openai.ConflictError, 409, "idempotency_running", lambda: chat(**again))
        same(error.response.headers["x-should-retry"], "true", "x-should-retry")
        receipted(error, "refused")


@case
def unprocessable():
    headers = {"Idempotency-Key": "pypi-mismatch"}
    chat(extra_headers=headers, max_tokens=1)
    call = lambda: chat(extra_headers=headers, max_tokens=2)
    receipted(refused(openai.UnprocessableEntityError, 422, "idempotency_mismatch", call), "refused")
    refused(openai.UnprocessableEntityError, 422, "invalid_request", lambda: chat(model="unprocessable"))


@case
def rate_limit_of_requests():
    first = client("ONE_REQUEST").chat.completions.with_raw_response.create(model="scripted", messages=MESSAGES)
    limits = [first.headers[f"x-ratelimit-{what}-requests"] for what in ["limit", "remaining"]]
    same(limits, ["1", "0"], "limit and remaining")
    error = refused(openai.RateLimitError, 429, "rate_limited", lambda: chat("ONE_REQUEST"), "rate_limit_error")
    holds(40 <= int(error.response.headers["retry-after"]) <= 60, error.response.headers["retry-after"])
    same(error.response.headers["x-ratelimit-remaining-requests"], "0", "remaining")
    receipted(error, "refused", "ONE_REQUEST")


@case
def rate_limit_of_tokens():
    # Takes the whole minute, and uses nearly all of it.
    holds(chat("FEW_TOKENS", model="wordy").usage.prompt_tokens == 90, "prompt")
    error = refused(openai.RateLimitError, 429, "rate_limited", lambda: chat("FEW_TOKENS"), "rate_limit_error")
    holds("tokens a minute" in error.body["message"], error.body["message"])
    same(error.response.headers["x-ratelimit-limit-tokens"], "100", "limit")
    receipted(error, "refused", "FEW_TOKENS")


@case
def budget_exhausted():
    # With retries allowed: a repeat cannot help, and the SDK is told so.
    poor, sent = counting_client("POOR", max_retries=3)
    call = lambda: poor.chat.completions.create(model="scripted", messages=MESSAGES)
    error = refused(openai.RateLimitError, 429, "budget_exhausted", call, "insufficient_quota")
    same(len(sent), 1, "requests sent")
    same(receipted(error, "refused", "POOR")["cost_micro_eur"], 0, "cost")


@case
def engine_full():
    error = refused(openai.RateLimitError, 429, "engine_overloaded", lambda: chat(model="full"), "rate_limit_error")
    same(error.response.headers["retry-after"], "7", "the engine's own Retry-After")
    receipted(error, "failed")


@case
def residency_unavailable():
    holds(chat("GERMAN").choices, "an engine in Germany answers")
    call = lambda: chat("GERMAN", model="french")
    error = refused(openai.InternalServerError, 503, "residency_unavailable", call, "api_error")
    claims = receipted(error, "refused", "GERMAN")
    holds("served_by" not in claims and not claims["policy"]["permit"], f"{claims}")


@case
def engine_failed():
    for model in ["html", "fails", "garbage"]:
        code, status = ("engine_failed", 502) if model != "garbage" else ("replica_unavailable", 503)
        error = refused(openai.InternalServerError, status, code, lambda: chat(model=model), "api_error")
        same(receipted(error, "failed")["cost_micro_eur"], 0, "cost")


@case
def engine_unreachable():
    call = lambda: chat(model="vanishes")
    receipted(refused(openai.InternalServerError, 503, "replica_unavailable", call, "api_error"), "failed")


@case
def stream_broken():
    raw = client().chat.completions.with_raw_response.create(model="breaks", messages=MESSAGES, stream=True)
    text = ""
    try:
        for chunk in raw.parse():
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        same((error.code, error.type), ("stream_broken", "api_error"), "error inside the stream")
    else:
        raise AssertionError("a broken stream ended well")
    same(text, "tok0 tok1", "what came before")
    claims = proven(raw.headers, "partial")
    same((claims["code"], claims["usage"]["output"]), ("stream_broken", 2), "receipt")


@case
def timeout():
    try:
        client(timeout=1.5).chat.completions.create(model="hangs", messages=MESSAGES)
    except openai.APITimeoutError:
        return
    raise AssertionError("an engine that hangs answered")


@case
def no_connection():
    try:
        client(base_url="http://127.0.0.1:9/v1").models.list()
    except openai.APITimeoutError as error:
        raise AssertionError("a closed port is no timeout") from error
    except openai.APIConnectionError:
        return
    raise AssertionError("nothing listens there, and it answered")


@case
def retry_waits_as_long_as_told():
    patient, sent = counting_client(max_retries=1)
    begin = time.monotonic()
    answer = patient.chat.completions.create(model="full-once", messages=MESSAGES)
    holds(answer.choices[0].message.content, "no text")
    # The SDK's own first pause is at most half a second.
    holds(time.monotonic() - begin >= 2.0, f"it waited {time.monotonic() - begin} s")
    same(len(sent), 2, "requests sent")


@case
def retry_while_the_first_still_runs():
    """Two callers with one idempotency key: the second is told to wait, does, and gets the first one's answer."""
    asked = {"model": "slow", "messages": MESSAGES, "extra_headers": {"Idempotency-Key": "pypi-twice"}}
    answers = []
    ask = lambda: answers.append(client(max_retries=8).chat.completions.create(**asked))
    callers = [threading.Thread(target=ask) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    same(len(answers), 2, "answers")
    same(answers[0]._request_id, answers[1]._request_id, "receipts")
