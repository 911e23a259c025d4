"""Hooks that adapt generated requests to the service."""

import uuid

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    # A head with other bytes than ASCII is dropped with its connection, without an answer, by the HTTP
    # server below the API (see "Known quirks" in docs/api.md). It is replaced by a value that is as
    # invalid and arrives.
    for name, value in (case.headers or {}).items():
        if not str(value).isascii():
            case.headers[name] = "two words"


@schemathesis.hook
def map_headers(context, headers):
    # The generator knows few idempotency keys, and a key is valid for one request: most calls would be refused.
    if headers and headers.get("Idempotency-Key") == "0":
        headers["Idempotency-Key"] = str(uuid.uuid4())
    return headers
