"""A server of the page on the loopback address, for the one user who knows its address.

It answers GET for the files of the site and those it was given, under a path with a random token,
and nothing else. Models are made when they are asked for.
"""

from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from secrets import compare_digest, token_urlsafe
from urllib.parse import unquote, urlsplit

from . import runtime, site

HOST = "127.0.0.1"
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the token is in the path
    "X-Content-Type-Options": "nosniff",
    # Together they give the page shared memory, and so threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
Files = Callable[[str], bytes | None]


def files_of(
    folder: Path,
    models: Mapping[str, Callable[[], dict[str, bytes]]],
    index: bytes,
    given: Mapping[str, bytes],
) -> Files:
    """What the server has: from a path to bytes, None for what is not there.

    folder: of ONNX Runtime Web. models: makes the files of each model, by the paths of their
    manifests. index: of the models. given: further files by their paths.
    """
    fixed = {**site.page_files(), site.INDEX: index, **given}
    made: dict[str, bytes] = {}

    @cache
    def make(path: str) -> None:
        made.update(models[path]())

    def files(path: str) -> bytes | None:
        if path.startswith(f"{runtime.FOLDER}/"):
            name = path.removeprefix(f"{runtime.FOLDER}/")
            return (folder / name).read_bytes() if name in runtime.FILES else None
        if path in models:
            make(path)
        return fixed.get(path or "index.html", made.get(path))

    return files


class Server(ThreadingHTTPServer):
    """Listens from the start; `serve_forever` answers."""

    daemon_threads = True

    def __init__(self, files: Files, port: int = 0):
        """port: 0 is any that is free. Raises OSError."""
        self.files, self.token = files, token_urlsafe(16)
        super().__init__((HOST, port), Handler)

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of browsers that go away."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server

    def do_GET(self) -> None:
        """Send the file of a path."""
        token, _, path = unquote(urlsplit(self.path).path)[1:].partition("/")
        known = compare_digest(token.encode(), self.server.token.encode())
        data = self.server.files(path) if known else None
        if data is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind = site.TYPES.get(PurePosixPath(path or "index.html").suffix)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Say nothing of requests."""
