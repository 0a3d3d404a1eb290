"""A server on this machine that interrupts, drips and lies, and how tests get a file from it."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modules.preparation import transfer
from modules.preparation.transfer import fetch
from utils.errors import UserError

CONTENT = bytes(range(256)) * 40
REST = CONTENT[1000:]  # after broken_off
RANGE = "bytes 1000-10239/10240"
FILE = {"Content-Length": len(CONTENT), "ETag": '"one"'}
MOST = 1 << 20


class Server:
    """Serves ``files``; ``breaks``: after how many bytes each of the next answers ends.

    ``lies``: each takes a handler and answers one request, in place of what is true.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"a": CONTENT}
        self.breaks: list[int] = []
        self.lies: list = []
        self.tag = '"one"'
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler):
                self.answer(handler)

            def log_message(handler, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/data"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, handler) -> None:
        name, asked = handler.path.removeprefix("/data/"), handler.headers.get("Range")
        self.asked.append((name, asked))
        if self.lies:
            self.lies.pop(0)(handler)
            return
        content = self.files.get(name)
        if content is None:
            handler.send_error(404)
            return
        start = 0
        if asked and self.ranges and handler.headers.get("If-Range") == self.tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                handler.send_error(416)
                return
        headers = {"Content-Length": len(content) - start, "ETag": self.tag}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        send(206 if start else 200, headers, body[: self.breaks.pop(0)] if self.breaks else body)(
            handler
        )


def send(code, headers, *blocks, pause=0.0, reason=None):
    """An answer. Blocks are sent one after another; one that is no bytes is called for them."""

    def lie(handler):
        handler.send_response(code, reason)
        for name, value in headers.items():
            if value:
                handler.send_header(name, str(value))
        handler.end_headers()
        try:
            for block in blocks:
                for part in (block,) if isinstance(block, bytes) else block():
                    handler.wfile.write(part)
                    handler.wfile.flush()
                    time.sleep(pause)
        except OSError:
            pass  # the client has heard enough

    return lie


def get(server, folder, name="a"):
    return fetch(server.url, name, folder, MOST)


def broken_off(server, folder, after=1000):
    """A part of ``after`` bytes."""
    tries, transfer.TRIES = transfer.TRIES, 1
    try:
        server.breaks = [after]
        with pytest.raises(UserError, match="interrupted 1 times"):
            get(server, folder)
    finally:
        transfer.TRIES = tries
    server.asked.clear()
