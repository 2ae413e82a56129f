"""Perplexity's Python SDK against a running Hoheit, and OpenAI's for the documents and against the same base URL.

Takes `HOHEIT_URL` and `HOHEIT_KEY` by environment and expects the model `sonar` to answer `Es sind 30 Tage [1].`, as
crates/hoheit/tests/it/sonar.rs arranges; that test starts the site and runs this script. Prints `ok NAME` or `FAILED NAME: why` for
each case and ends with 1 if one failed.
"""

import asyncio
import os
import sys
import time
import traceback

sys.dont_write_bytecode = True

import openai
import perplexity

URL = os.environ["HOHEIT_URL"]
KEY = os.environ["HOHEIT_KEY"]
PATIENCE = 30.0
ANSWER = "Es sind 30 Tage [1]."
TEXT = "Beschäftigte haben Anspruch auf 30 Tage Urlaub im Jahr. In der Probezeit gilt eine Frist von zwei Wochen."
SOURCE = "https://intern.example/handbuch"
MESSAGES = [{"role": "user", "content": "Wie viele Tage Urlaub gibt es?"}]
OPTIONS = {"api_key": KEY, "max_retries": 0, "timeout": PATIENCE}

sonar = perplexity.Perplexity(base_url=URL, **OPTIONS)
documents = openai.OpenAI(base_url=f"{URL}/v1", **OPTIONS)


def same(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: {actual!r}, expected {expected!r}")


def refused(error, run):
    try:
        run()
    except error as refusal:
        return refusal
    raise AssertionError(f"expected {error.__name__}")


def files_and_vector_stores():
    """First: what is asked for later is here from now on."""
    file = documents.files.create(file=("handbuch.md", TEXT.encode(), "text/markdown"), purpose="assistants")
    same(file.bytes, len(TEXT.encode()), "bytes")
    same(documents.files.retrieve(file.id).filename, "handbuch.md", "name")
    same(documents.files.content(file.id).read().decode(), TEXT, "content")
    store = documents.vector_stores.create(name="Personal", metadata={"team": "hr"})
    attributes = {"url": SOURCE, "title": "Handbuch", "date": "2026-03-01"}
    attached = documents.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id, attributes=attributes)
    same((attached.status, attached.last_error), ("completed", None), "attached")
    same(documents.vector_stores.retrieve(store.id).file_counts.completed, 1, "counts")
    found = documents.vector_stores.search(store.id, query="Urlaub").data
    same(found[0].content[0].text, TEXT, "found")
    same([one.id for one in documents.vector_stores.files.list(store.id)], [file.id], "files of the store")


def pages_and_deletion():
    ids = [documents.files.create(file=(f"{n}.txt", b"x"), purpose="user_data").id for n in range(3)]
    listed = [file.id for file in documents.files.list(limit=1, purpose="user_data")]
    same(listed, ids[::-1], "turned page by page")
    for id in ids:
        same(documents.files.delete(id).deleted, True, "deleted")
    refused(openai.NotFoundError, lambda: documents.files.retrieve(ids[0]))
    empty = documents.vector_stores.create(name="leer")
    same(documents.vector_stores.update(empty.id, name="neu").name, "neu", "renamed")
    same(documents.vector_stores.delete(empty.id).deleted, True, "deleted")


def chat():
    answer = sonar.chat.completions.create(model="sonar", messages=MESSAGES)
    same(answer.choices[0].message.content, ANSWER, "answer")
    same((answer.model, answer.object, answer.status), ("sonar", "chat.completion", "COMPLETED"), "head")
    same(answer.citations, [SOURCE], "citations")
    result = answer.search_results[0]
    same((result.title, result.url, result.date, result.source), ("Handbuch", SOURCE, "2026-03-01", "attachment"), "result")
    usage = answer.usage
    same(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens, "tokens")
    parts = usage.cost.input_tokens_cost + usage.cost.output_tokens_cost
    same(round(parts, 9), round(usage.cost.total_cost, 9), "cost")
    same((usage.num_search_queries, usage.search_context_size), (1, "low"), "search")


def chat_under_a_path():
    client = perplexity.Perplexity(base_url=f"{URL}/sonar", **OPTIONS)
    same(client.chat.completions.create(model="sonar-pro", messages=MESSAGES).choices[0].message.content, ANSWER, "answer")


def a_receipt_is_named():
    raw = sonar.chat.completions.with_raw_response.create(model="sonar", messages=MESSAGES)
    receipt = raw.headers["hoheit-receipt"]
    same(receipt.startswith("rcp_"), True, receipt)


def stream():
    told, last = "", None
    for event in sonar.chat.completions.create(model="sonar", messages=MESSAGES, stream=True):
        told += event.choices[0].delta.content
        same(event.choices[0].message.content, told, "all so far")
        same(event.search_results[0].url, SOURCE, "results in each event")
        last = event
    same(told, ANSWER, "answer")
    same((last.status, last.type, last.choices[0].finish_reason), ("COMPLETED", "end_of_stream", "stop"), "last")
    same(last.usage.cost.total_cost > 0, True, "cost")


def stream_concise():
    events = list(sonar.chat.completions.create(model="sonar", messages=MESSAGES, stream=True, stream_mode="concise"))
    told = "".join(event.choices[0].delta.content for event in events)
    same(told, ANSWER, "answer")
    same(events[-1].object, "chat.completion.done", "last")
    same(events[-1].citations, [SOURCE], "citations")


def an_async_client():
    async def ask():
        async with perplexity.AsyncPerplexity(base_url=URL, **OPTIONS) as client:
            events = await client.chat.completions.create(model="sonar", messages=MESSAGES, stream=True)
            told = "".join([event.choices[0].delta.content async for event in events])
            found = await client.search.create(query="Urlaub")
            return told, found.results[0].url

    same(asyncio.run(ask()), (ANSWER, SOURCE), "answer and result")


def asked_now_and_fetched_later():
    request = {"model": "sonar", "messages": MESSAGES}
    taken = sonar.async_.chat.completions.create(request=request, idempotency_key="einmal")
    end = time.monotonic() + PATIENCE
    while (fetched := sonar.async_.chat.completions.get(taken.id)).status not in ("COMPLETED", "FAILED"):
        if time.monotonic() > end:
            raise AssertionError(f"still {fetched.status}")
        time.sleep(0.05)
    same((fetched.status, fetched.error_message), ("COMPLETED", None), "status")
    same(fetched.response.choices[0].message.content, ANSWER, "answer")
    again = sonar.async_.chat.completions.create(request=request, idempotency_key="einmal")
    same(again.id, taken.id, "asked twice under one key")
    listed = sonar.async_.chat.completions.list().requests
    same(taken.id in [one.id for one in listed], True, "listed")
    refused(perplexity.NotFoundError, lambda: sonar.async_.chat.completions.get("async_00000000000000000000000007"))


def search():
    found = sonar.search.create(query=["Urlaub", "Probezeit"], max_results=5)
    same([(one.title, one.url, one.date) for one in found.results], [("Handbuch", SOURCE, "2026-03-01")], "results")
    same("30 Tage" in found.results[0].snippet, True, "snippet")
    none = sonar.search.create(query="Urlaub", search_domain_filter=["example.org"])
    same(none.results, [], "filtered")
    newer = sonar.search.create(query="Urlaub", search_after_date_filter="3/2/2026")
    same(newer.results, [], "newer than the document")


def not_in_the_documents():
    question = [{"role": "user", "content": "Quantenchromodynamik?"}]
    answer = sonar.chat.completions.create(model="sonar", messages=question)
    same(answer.choices[0].message.content, "Dazu steht nichts in den Dokumenten.", "answer")
    same((answer.citations, answer.usage.total_tokens), ([], 0), "nobody was asked")


def options_of_a_question():
    answer = sonar.chat.completions.create(
        model="sonar", messages=MESSAGES, return_related_questions=True, return_images=True, search_recency_filter="year",
        search_language_filter=["de"], web_search_options={"search_context_size": "high"}, language_preference="de",
        response_format={"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
    )
    same(answer.usage.search_context_size, "high", "size")
    alone = sonar.chat.completions.create(model="sonar", messages=MESSAGES, disable_search=True)
    same((alone.citations, alone.usage.num_search_queries), ([], 0), "without a search")


def refusals():
    wrong = refused(
        perplexity.BadRequestError,
        lambda: sonar.chat.completions.create(model="sonar", messages=MESSAGES, search_mode="academic"),
    )
    same((wrong.body["error"]["param"], wrong.body["error"]["code"]), ("search_mode", "invalid_request"), "error")
    refused(perplexity.NotFoundError, lambda: sonar.chat.completions.create(model="gpt-4", messages=MESSAGES))
    stranger = perplexity.Perplexity(base_url=URL, **{**OPTIONS, "api_key": "hk_wrong"})
    refused(perplexity.AuthenticationError, lambda: stranger.search.create(query="Urlaub"))


def what_breaks_off_is_an_error():
    events = sonar.chat.completions.create(model="breaks", messages=MESSAGES, stream=True)
    error = refused(perplexity.APIStatusError, lambda: list(events))
    same(error.body["error"]["code"], "stream_broken", "code")


def openai_against_the_sonar_base_url():
    for base in (URL, f"{URL}/sonar"):
        client = openai.OpenAI(base_url=base, **OPTIONS)
        answer = client.chat.completions.create(model="sonar", messages=MESSAGES)
        same((answer.choices[0].message.content, answer.citations), (ANSWER, [SOURCE]), "answer")
        events = client.chat.completions.create(model="sonar", messages=MESSAGES, stream=True)
        same("".join(event.choices[0].delta.content or "" for event in events), ANSWER, "stream")
        broken = client.chat.completions.create(model="breaks", messages=MESSAGES, stream=True)
        refused(openai.APIError, lambda: list(broken))
        error = refused(openai.BadRequestError, lambda: client.chat.completions.create(model="sonar", messages=[]))
        same(error.param, "messages", "param")


CASES = [
    files_and_vector_stores, pages_and_deletion, chat, chat_under_a_path, a_receipt_is_named, stream, stream_concise,
    an_async_client, asked_now_and_fetched_later, search, not_in_the_documents, options_of_a_question, refusals,
    what_breaks_off_is_an_error, openai_against_the_sonar_base_url,
]


def why(error):
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tests/sdk/" in frame.filename]
    place = " < ".join(f"{frame.filename.rsplit('/', 1)[1]}:{frame.lineno}" for frame in reversed(ours))
    return " ".join(f"{type(error).__name__}: {error} ({place})".split())


if __name__ == "__main__":
    failed = False
    for case in CASES:
        try:
            case()
        except Exception as error:
            failed = True
            print(f"FAILED {case.__name__}: {why(error)}", flush=True)
        else:
            print(f"ok {case.__name__}", flush=True)
    sys.exit(failed)
