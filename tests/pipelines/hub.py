"""The part of the Hugging Face hub's web interface that reading a dataset's files takes, on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from curate.files import file_identity


@contextmanager
def serve(folder: Path, dataset: str, revision: str) -> Iterator[str]:
    """The address of a hub that has one dataset, the files of `folder`, under one revision."""
    api, files = f"/api/datasets/{dataset}", f"/datasets/{dataset}/resolve/{revision}/"

    def about(path: Path) -> dict[str, Any]:
        name = str(path.relative_to(folder))
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": "0"}
        return {"type": "file", "path": name, "size": path.stat().st_size, "oid": file_identity(path)}

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlparse(self.path).path)
            if path == f"{api}/revision/{revision}":
                self._send(json.dumps({"id": dataset, "sha": "0" * 40, "siblings": []}).encode())
            elif path.startswith(f"{api}/tree/{revision}"):
                listed = folder / path.removeprefix(f"{api}/tree/{revision}").strip("/")
                self._send(json.dumps([about(one) for one in sorted(listed.iterdir())]).encode())
            elif path.startswith(files):
                self._send_part((folder / path.removeprefix(files)).read_bytes())
            else:
                self._send(b"{}", 404)

        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())["paths"]
            self._send(json.dumps([about(folder / one) for one in asked if (folder / one).exists()]).encode())

        def _send_part(self, content: bytes) -> None:
            wanted = self.headers.get("range")
            if wanted:
                first, last = (int(one) for one in wanted.removeprefix("bytes=").split("-"))
                self._send(content[first : last + 1], 206)
            else:
                self._send(content)

        def _send(self, content: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing is printed for a request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
