"""What the fuzzer is helped with, and what it is kept from."""

import uuid

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    # A head with other bytes than ASCII is dropped with its connection, without an answer, by the HTTP
    # server below the API (see "Known quirks" in docs/api.md). In its place goes a value that is as wrong
    # and does arrive.
    for name, value in (case.headers or {}).items():
        if not str(value).isascii():
            case.headers[name] = "two words"


@schemathesis.hook
def map_headers(context, headers):
    # The generator knows few keys, and a key is good for one request: most calls would end there.
    if headers and headers.get("Idempotency-Key") == "0":
        headers["Idempotency-Key"] = str(uuid.uuid4())
    return headers
