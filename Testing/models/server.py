"""A web server on loopback that gives one prepared answer after the other, also the wrong ones."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: list[Answer] = []
        self.requests: list[dict[str, str]] = []
        """Headers of each request, names in lower case."""

    def address(self, path: str = "model.pt") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"


@contextmanager
def serving(*answers: Answer) -> Iterator[Server]:
    """A server that gives these answers, one for each request; the last one goes on for ever."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append({name.lower(): value for name, value in self.headers.items()})
            number = min(len(server.requests), len(server.answers)) - 1
            server.answers[number](self)

        def do_CONNECT(self) -> None:
            """A proxy is asked like this to reach a server for us."""
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Server(http.server_address[1])
        server.answers = list(answers)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def file(data: bytes, tag: str | None = '"one"', ranges: bool = True, upto: int | None = None) -> Answer:
    """A proper answer with this file, or the range of it that was asked for; cut off before byte `upto`."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        same = handler.headers.get("If-Range") in (None, tag)
        start = int(wanted[1]) if wanted and ranges and same else 0
        if start >= len(data) > 0:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(data)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        if tag:
            handler.send_header("ETag", tag)
        handler.end_headers()
        handler.wfile.write(data[start:upto])

    return answer


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in ({"Content_Length": "0"} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer
