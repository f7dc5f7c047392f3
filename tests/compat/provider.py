"""A stand-in for OpenAI's, Anthropic's and Stripe's API, over TLS: it answers only the provider's own key, and
remembers what it was sent."""

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OPENAI_KEY = "sk-proj-the-providers-own-key-0123456789"
ANTHROPIC_KEY = "sk-ant-the-providers-own-key-0123456789"
STRIPE_KEY = "sk_test_TheProvidersOwnKey0123456789"
PDF = b"%PDF-1.7 " + b"a quote " * 5000


def events(*pairs):
    """Server-sent events, each as one part of the body."""
    for name, data in pairs:
        text = data if isinstance(data, str) else json.dumps(data)
        yield ((f"event: {name}\n" if name else "") + f"data: {text}\n\n").encode()


def openai_chunk(**delta):
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def openai_chat(body):
    if body.get("stream"):
        return "text/event-stream", events(
            (None, openai_chunk(role="assistant", content="")), (None, openai_chunk(content="Hel")),
            (None, openai_chunk(content="lo")), (None, "[DONE]"))
    return "application/json", {
        "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}


def anthropic_messages(body):
    message = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    if not body.get("stream"):
        return "application/json", {**message, "stop_reason": "end_turn",
                                    "content": [{"type": "text", "text": "Hello"}]}
    delta = lambda text: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return "text/event-stream", events(
        ("message_start", {"type": "message_start", "message": message}),
        ("content_block_start", {"type": "content_block_start", "index": 0,
                                 "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", delta("Hel")), ("ping", {"type": "ping"}), ("content_block_delta", delta("lo")),
        ("content_block_stop", {"type": "content_block_stop", "index": 0}),
        ("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                           "usage": {"output_tokens": 2}}),
        ("message_stop", {"type": "message_stop"}))


def customer(_):
    return "application/json", {"id": "cus_1", "object": "customer", "email": "a@example.com", "livemode": False}


ROUTES = {
    ("POST", "/v1/chat/completions"): (OPENAI_KEY, openai_chat),
    ("GET", "/v1/models"): (OPENAI_KEY, lambda _: ("application/json", {
        "object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "x"}]})),
    ("POST", "/v1/messages"): (ANTHROPIC_KEY, anthropic_messages),
    ("POST", "/v1/customers"): (STRIPE_KEY, customer),
    ("GET", "/v1/customers/cus_1"): (STRIPE_KEY, customer),
    ("GET", "/v1/quotes/qt_1/pdf"): (STRIPE_KEY, lambda _: (
        "application/pdf", (PDF[n:n + 4096] for n in range(0, len(PDF), 4096)))),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def serve(self):
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        key, answer = ROUTES.get((self.command, self.path.split("?")[0]), (None, None))
        sent = self.headers.get("x-api-key") or (self.headers.get("authorization") or "").removeprefix("Bearer ")
        if answer is None:
            return self.whole(404, "application/json", b'{"error": {"message": "no such path"}}')
        if sent != key:
            return self.whole(401, "application/json", b'{"error": {"message": "not the provider\'s key"}}')
        is_json = (self.headers.get("content-type") or "").startswith("application/json")
        kind, content = answer(json.loads(raw) if is_json and raw else {})
        if isinstance(content, dict):
            return self.whole(200, kind, json.dumps(content).encode())
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for part in content:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = serve

    def whole(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Provider:
    """Serves on 127.0.0.1 until it is closed."""

    def __init__(self, cert, key):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.seen = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"

    @property
    def seen(self):
        return self.server.seen

    def close(self):
        self.server.shutdown()
        self.server.server_close()
