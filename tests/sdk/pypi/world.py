"""The site under test as the cases see it: clients, receipts verified by a JOSE library, and plain comparisons."""

import json
import os
import time
import urllib.request
import warnings

import openai
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet

# RFC 9864 renames EdDSA to Ed25519; receipts keep the name that every library knows.
warnings.simplefilter("ignore", SecurityWarning)

URL = os.environ["HOHEIT_URL"]

# How long something may take that happens at once: its failure is the test's, not the machine's.
PATIENCE = 30.0

MESSAGES = [{"role": "user", "content": "Was ist ein Beleg?"}]


def key(kind=""):
    """The API key of one kind: "" is a good one; the others are named after what is wrong with them."""
    return os.environ[f"HOHEIT_KEY_{kind}" if kind else "HOHEIT_KEY"]


def options(kind="", **more):
    return {"base_url": f"{URL}/v1", "api_key": key(kind), "max_retries": 0, "timeout": PATIENCE, **more}


def client(kind="", **more):
    return openai.OpenAI(**options(kind, **more))


def async_client(kind="", **more):
    return openai.AsyncOpenAI(**options(kind, **more))


def counting_client(kind="", **more):
    """A client, and the list of the requests that it really sent."""
    sent = []
    http = openai.DefaultHttpxClient(event_hooks={"request": [sent.append]})
    return client(kind, http_client=http, **more), sent


def same(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: {actual!r}, expected {expected!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


def collected(cases):
    """A decorator that keeps the cases of one file in their order."""

    def case(function):
        cases.append(function)
        return function

    return case


def jwks():
    with urllib.request.urlopen(f"{URL}/.well-known/jwks.json", timeout=PATIENCE) as answer:
        return KeySet.import_key_set(json.load(answer))


def verified(token, keys=None):
    """The claims, if the JOSE library finds the signature good."""
    decoded = jwt.decode(token, keys or jwks(), algorithms=["EdDSA"])
    same(decoded.header.get("typ"), "receipt+jwt", "typ of the receipt")
    return decoded.claims


def receipt(receipt_id, kind=""):
    """A receipt once it is there: that of a client who left is written when the gateway sees it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return client(kind).get(f"/receipts/{receipt_id}", cast_to=object)
        except openai.NotFoundError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def proven(headers, outcome, kind=""):
    """What the receipt that a response names says, verified, and read from the same place as by any customer."""
    receipt_id = headers.get("hoheit-receipt")
    holds(receipt_id, f"no Hoheit-Receipt in {dict(headers)}")
    same(headers.get("x-request-id"), receipt_id, "x-request-id")
    found = receipt(receipt_id, kind)
    claims = verified(found["jwt"])
    same(found["claims"], claims, "claims beside the JWT")
    same(claims["jti"], receipt_id, "jti")
    same(claims["outcome"], outcome, "outcome")
    return claims
