"""A consumer of events in another language, built on third-party libraries.

Prints its port on standard output. Each request needs a signature after Standard Webhooks, verified also by the
code in the documentation; its events must be CloudEvents that match the published schema, which must name every
field. The consumer then prints the events and answers 204; otherwise it answers 400 with the reason. With a file
of a certificate and its key it serves TLS.
"""

import json
import re
import ssl
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from jsonschema import Draft202012Validator
from standardwebhooks import Webhook

SINGLE = "application/cloudevents+json; charset=utf-8"
BATCH = "application/cloudevents-batch+json; charset=utf-8"


def strict(schema):
    """Returns the schema without additional properties."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    extra = {"additionalProperties": False} if schema.get("type") == "object" else {}
    return {name: strict(part) for name, part in schema.items()} | extra


def read(body, headers):
    webhook.verify(body, dict(headers))
    assert shown["is_ours"](sys.argv[1], headers, body), "the documentation takes it for forged"
    assert not shown["is_ours"](sys.argv[1], headers, body + b" "), "the documentation takes anything"
    content = json.loads(body)
    kind = headers["content-type"]
    assert kind == (BATCH if isinstance(content, list) else SINGLE), kind
    for event in content if isinstance(content, list) else [content]:
        schema.validate(event)
        one = json.dumps(event).encode()
        assert len(one) <= 64 * 1024, len(one)
        parsed = from_http_event(HTTPMessage({"content-type": SINGLE}, one))
        data = parsed.get_data()
        whole = data.get("lines_omitted") or len(data["lines"])
        sequence = int(parsed.get_extension("sequence"))
        yield f"{parsed.get_id()} {parsed.get_type()} {sequence} {parsed.get_subject()} {whole} {data['total']}"


class Consumer(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            told = list(read(body, self.headers))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".encode()
            self.send_response(400)
            self.send_header("content-length", str(len(reason)))
            self.end_headers()
            self.wfile.write(reason)
            return
        print(*told, sep="\n", flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


webhook = Webhook(sys.argv[1])
docs = Path(sys.argv[2])
schema = Draft202012Validator(strict(json.loads((docs / "events.schema.json").read_text())))
guide = (docs / "events.md").read_text()
schema.validate(json.loads(re.search("```json\n(.*?)```", guide, re.DOTALL)[1]))
shown = {}
exec(re.search("```python\n(.*?)```", guide, re.DOTALL)[1], shown)
server = HTTPServer(("127.0.0.1", 0), Consumer)
if len(sys.argv) > 3:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[3])
    server.socket = tls.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
