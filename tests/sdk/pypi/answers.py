"""What is asked and answered: every operation, whole and streamed, and what passes through untouched."""

import asyncio
import json

from .world import MESSAGES, async_client, client, collected, holds, proven, same

CASES = []
case = collected(CASES)

# Short and the same each time, so that two ways of asking can be compared.
PLAIN = {"model": "nano", "messages": MESSAGES, "temperature": 0, "max_tokens": 12}

CITY = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Wetter einer Stadt",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["München", "Köln"]}, "days": {"type": "integer"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}

# All that we do not decide on, with what parsers like to change: floats, large integers, escapes, null.
EVERYTHING = {
    "model": "echo",
    "messages": [
        {"role": "system", "content": 'Zeichen: "\\" / \t\u0001 é 🇩🇪 \u2028'},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Was ist das?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "[]"},
    ],
    "tools": [CITY],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    "logprobs": True,
    "top_logprobs": 3,
    "logit_bias": {"42": -100},
    "temperature": 0.1,
    "top_p": 0.9500000000000001,
    "presence_penalty": -0.5,
    "seed": 9007199254740991,
    "stop": ["\n", "Ende"],
    "user": "kunde-1",
    "metadata": {"akte": "7"},
    "max_completion_tokens": 40,
}
VENDOR = {"guided_regex": "[a-z]+", "vendor": {"nested": [1, 2.5, 1e-7, None, True, {"deep": []}, {}]}}


def arrived(actual, expected):
    """What the engine got (its text, byte for byte), member by member: a difference is named, not the whole."""
    actual = json.loads(actual)
    for name in {**actual, **expected}:
        same(actual.get(name, "absent"), expected.get(name, "absent"), f"{name}, as the engine got it")


@case
def models_list():
    names = [model.id for model in client().models.list()]
    holds({"nano", "scripted", "org/alias", "french"} <= set(names), f"models: {names}")
    holds("american" not in names, "a model that policy refuses is listed")


@case
def models_retrieve():
    for name in ["nano", "org/alias"]:
        model = client().models.retrieve(name)
        same((model.id, model.object), (name, "model"), "model")
        holds(model.owned_by, "owned_by is empty")


@case
def chat_whole():
    raw = client().chat.completions.with_raw_response.create(**PLAIN)
    answer = raw.parse()
    same((answer.object, answer.model), ("chat.completion", "nano"), "answer")
    same(answer.choices[0].message.role, "assistant", "role")
    holds(answer.choices[0].message.content, "no text")
    holds(answer.choices[0].finish_reason in ("stop", "length"), answer.choices[0].finish_reason)
    usage = answer.usage
    holds(usage.prompt_tokens > 0 and 0 < usage.completion_tokens <= 12, f"usage: {usage}")
    same(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens, "total")
    same(answer._request_id, raw.headers["hoheit-receipt"], "the SDK's request id")


@case
def chat_streamed():
    whole = client().chat.completions.create(**PLAIN)
    chunks = list(client().chat.completions.create(**PLAIN, stream=True))
    holds(all(chunk.object == "chat.completion.chunk" for chunk in chunks), "objects of chunks")
    same([chunk for chunk in chunks if chunk.usage is not None], [], "usage that nobody asked for")
    holds(all(len(chunk.choices) == 1 for chunk in chunks), "a chunk without a choice")
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    same(text, whole.choices[0].message.content, "text, streamed and whole")
    same(chunks[-1].choices[0].finish_reason, whole.choices[0].finish_reason, "finish reason")


@case
def chat_streamed_with_usage():
    for model in ["nano", "scripted"]:
        plain = {**PLAIN, "model": model}
        whole = client().chat.completions.create(**plain)
        chunks = list(client().chat.completions.create(**plain, stream=True, stream_options={"include_usage": True}))
        same(chunks[-1].choices, [], "choices of the last chunk")
        same([chunk for chunk in chunks[:-1] if chunk.usage is not None], [], "running usage that nobody asked for")
        for field in ["prompt_tokens", "completion_tokens", "total_tokens"]:
            same(getattr(chunks[-1].usage, field), getattr(whole.usage, field), f"{field} of {model}")


@case
def chat_async():
    async def ask():
        async with async_client() as asynchronous:
            whole = await asyncio.gather(*(asynchronous.chat.completions.create(**PLAIN) for _ in range(4)))
            same(len({answer.choices[0].message.content for answer in whole}), 1, "texts of equal requests")
            same(len({answer._request_id for answer in whole}), 4, "receipts of four requests")
            stream = await asynchronous.chat.completions.create(**PLAIN, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            same(text, whole[0].choices[0].message.content, "text, streamed and whole")

    asyncio.run(ask())


@case
def completions_whole():
    answer = client().completions.create(model="nano", prompt="Ein Beleg ist", temperature=0, max_tokens=8)
    same(answer.object, "text_completion", "object")
    holds(answer.choices[0].text and 0 < answer.usage.completion_tokens <= 8, f"{answer}")


@case
def completions_streamed():
    asked = {"model": "nano", "prompt": "Ein Beleg ist", "temperature": 0, "max_tokens": 8}
    whole = client().completions.create(**asked)
    chunks = list(client().completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    same(text, whole.choices[0].text, "text, streamed and whole")
    same(chunks[-1].usage.total_tokens, whole.usage.total_tokens, "usage")


@case
def embeddings():
    for encoding in [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}]:
        raw = client().embeddings.with_raw_response.create(model="scripted", input=["eins", "zwei"], **encoding)
        answer = raw.parse()
        same([one.index for one in answer.data], [0, 1], "order")
        if encoding.get("encoding_format") == "base64":
            same(answer.data[0].embedding, "AAAAPwAAgL4AAAA+AACAPw==", "vector")
        else:
            same(list(answer.data[1].embedding), [0.5, -0.25, 0.125, 1.0], "vector")
        claims = proven(raw.headers, "completed")
        same((claims["operation"], claims["usage"]["output"]), ("embeddings", 0), "receipt")
        same(claims["usage"]["input"], answer.usage.prompt_tokens, "tokens of the receipt")


@case
def tools_whole():
    answer = client().chat.completions.create(model="scripted", messages=MESSAGES, tools=[CITY])
    same(answer.choices[0].finish_reason, "tool_calls", "finish reason")
    call = answer.choices[0].message.tool_calls[0]
    same((call.type, call.id, call.function.name), ("function", "call_twin", "weather"), "call")
    same(json.loads(call.function.arguments), {"city": "München"}, "arguments")


@case
def tools_streamed():
    # The SDK's own helper puts the pieces of a call together.
    with client().chat.completions.stream(model="scripted", messages=MESSAGES, tools=[CITY]) as stream:
        answer = stream.get_final_completion()
    call = answer.choices[0].message.tool_calls[0]
    same((call.id, call.function.name), ("call_twin", "weather"), "call")
    same(json.loads(call.function.arguments), {"city": "München"}, "arguments")


@case
def parameters_pass_untouched():
    answer = client().chat.completions.create(**EVERYTHING, extra_body=VENDOR)
    arrived(answer.twin_echo, {**EVERYTHING, **VENDOR})


@case
def parameters_pass_untouched_streamed():
    chunks = list(client().chat.completions.create(**EVERYTHING, extra_body=VENDOR, stream=True))
    # What we ask for ourselves, so that the receipt can be exact; how much of it, the engine's kind decides.
    ours = json.loads(chunks[0].twin_echo)["stream_options"]
    holds(ours["include_usage"] and set(ours) <= {"include_usage", "continuous_usage_stats"}, f"stream_options: {ours}")
    arrived(chunks[0].twin_echo, {**EVERYTHING, **VENDOR, "stream": True, "stream_options": ours})


@case
def only_a_missing_limit_is_added():
    asked = {"model": "echo", "prompt": ["a", "b"], "logprobs": 2, "suffix": "!"}
    # The model's own limit.
    arrived(client().completions.create(**asked).twin_echo, {**asked, "max_tokens": 4096})


@case
def the_engine_knows_the_model_by_its_own_name():
    answer = client().chat.completions.create(**{**PLAIN, "model": "org/alias"})
    arrived(answer.twin_echo, {**PLAIN, "model": "echo"})
