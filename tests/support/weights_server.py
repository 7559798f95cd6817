"""A local file server with correct and faulty answers, and an entry for its file."""

import hashlib
import os
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from fer_attention.faces.detectors.weights import DOWNLOADABLE, DownloadableWeights, weights_folder

CONTENT = np.random.default_rng(0).bytes(200_000)
OTHER = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])


class Server(ThreadingHTTPServer):
    """Server that answers by `answer(handler)`; `release` ends the answers that wait."""

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/files/tiny.onnx"
        self.answer = answer
        self.paths = []
        self.half_sent = threading.Event()
        self.release = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802 - http.server's name
        self.server.paths.append(self.path)
        with suppress(OSError):  # the client has closed the connection
            self.server.answer(self)

    def log_message(self, *_):
        pass

    def start(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


@contextmanager
def tiny_weights(monkeypatch, tmp_path):
    """Serve `tiny.onnx` and register it as "tiny"; downloads are stored below tmp_path."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home[1]"))
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    server = Server(whole)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    digest = hashlib.sha256(CONTENT).hexdigest()
    tiny = DownloadableWeights(server.url, digest, len(CONTENT), "CC0 [all]", "https://example.org/tiny")
    monkeypatch.setitem(DOWNLOADABLE._entries, "tiny", tiny)
    try:
        yield server, tiny
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def listing():
    """List the download folder with its hidden files."""
    return os.listdir(weights_folder()) if weights_folder().exists() else []


def put(content):
    weights_folder().mkdir(parents=True)
    path = weights_folder() / "tiny.onnx"
    path.write_bytes(content)
    return path


def whole(handler, content=CONTENT):
    handler.start(Content_Length=len(content))
    handler.wfile.write(content)


def whole_without_length(handler):
    handler.start()
    handler.wfile.write(CONTENT)


def other_content(handler):
    whole(handler, OTHER)


def truncated(handler):
    handler.start(Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT[:100_000])


def truncated_chunk(handler):
    handler.start(Transfer_Encoding="chunked")
    handler.wfile.write(b"%x\r\n" % len(CONTENT) + CONTENT[:100_000])


def missing(handler):
    handler.send_error(404)


def garbage(handler):
    handler.wfile.write(b"nonsense\r\n\r\n")


def silence(_):
    pass  # closes the connection without an answer


def redirect_here(handler):
    handler.server.answer = whole
    handler.start(302, Location="/moved/tiny.onnx")


def never_answers(handler):
    handler.server.release.wait()


def stalls(handler):
    handler.start(Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT[:100_000])
    handler.wfile.flush()
    handler.server.half_sent.set()
    handler.server.release.wait()
