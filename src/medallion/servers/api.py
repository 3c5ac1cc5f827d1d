"""A small HTTP API on loopback that gives out the rows of a CSV file page by page, as a partner's API would.

with serve(path) as (url, key):
    ...  # GET {url}?page=1 → {"page": 1, "pages": 12, "rows": [{...}, ...]}
"""

import csv
import json
import secrets
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from medallion.errors import MedallionError
from medallion.servers.server import HOST, NAMES, is_ours

__all__ = ["serve"]

PAGE = 500


@contextmanager
def serve(path: Path, busy: int = 0) -> Iterator[tuple[str, str]]:
    """Serve the rows of the CSV file `path` while the block runs, and yield the address and its key.

    The address ends in the file's name without its ending. `Last-Modified` says when the file arrived. The
    first `busy` requests for each page get 429, as from a partner who limits the rate. A request without the
    header `Authorization: Bearer <key>` gets 401, a page that does not exist 404, and one under another name
    than that of this machine 421.
    Every value is text, as in the file. Raises MedallionError when there is no such file.
    """
    if not path.exists():
        raise MedallionError(f"{path} is not there. Make the source files with `medallion data`.")
    with path.open(encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    key = secrets.token_urlsafe(16)
    server = _Server((HOST, 0), _handler(rows, key, f"/{path.stem}", _arrived(path), busy))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/{path.stem}", key
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *request: Any) -> None:
        """Write no traceback into the notebook when somebody hangs up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*request)


def _arrived(path: Path) -> datetime:
    """Return when a file arrived: by the manifest above it, else by the time of its last change."""
    for folder in path.parents:
        manifest = folder / "_manifest.json"
        if manifest.exists():
            name = path.relative_to(folder).as_posix()
            for file in json.loads(manifest.read_text(encoding="utf-8"))["files"]:
                if file["path"] == name:
                    return datetime.fromisoformat(file["arrived"])
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _handler(
    rows: list[dict[str, str]], key: str, there: str, arrived: datetime, busy: int
) -> type[BaseHTTPRequestHandler]:
    pages = max(1, -(-len(rows) // PAGE))
    numbers = {str(number) for number in range(1, pages + 1)}
    requests: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            asked = parse_qs(query).get("page", ["1"])[0]
            sent = self.headers.get("Authorization", "").encode()
            if not is_ours(self.headers.get("Host", "")):
                self._answer(421, {"error": f"this API is there for {' and '.join(NAMES)} only"})
            elif not secrets.compare_digest(sent, f"Bearer {key}".encode()):
                self._answer(401, {"error": "send the header 'Authorization: Bearer <key>'"})
            elif path != there:
                self._answer(404, {"error": f"there is only {there}"})
            elif asked not in numbers:
                self._answer(404, {"error": f"there is no page {asked!r}; pages are 1 to {pages}"})
            elif self._is_too_early(asked):
                self._answer(429, {"error": "too many requests: try again in a moment"})
            else:
                page = int(asked)
                part = rows[(page - 1) * PAGE : page * PAGE]
                self._answer(200, {"page": page, "pages": pages, "rows": part})

        def _is_too_early(self, page: str) -> bool:
            requests[page] += 1
            return requests[page] <= busy

        def _answer(self, status: int, body: dict[str, object]) -> None:
            encoded = json.dumps(body).encode()
            self.send_response(status)
            if status == 200:
                self.send_header("Last-Modified", format_datetime(arrived, usegmt=True))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *_: object) -> None:
            """Keep quiet: the notebook shows what it asked for, not every request."""

    return Handler
