"""A stand-in for the Hugging Face hub on 127.0.0.1, which can fail in every way a test wants."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories by name, each with its files; and what is to go wrong."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    """Before the coming answers with a file's bytes end: after how many of them each is cut."""
    bases: dict[str, str] = field(default_factory=dict)
    """By repository: the one whose model it says that it was quantised from."""
    parameters: dict[str, int] = field(default_factory=dict)
    """By repository: parameters that the hub counted in its GGUF files."""
    holds: bool = False
    """Where an answer is cut, the connection stays open until the hub ends."""
    claimed: dict[str, int] = field(default_factory=dict)
    """Sizes that the hub tells of files, where they differ."""
    wrong_checksum: bool = False
    gated: bool = False
    status: int = 200
    nonsense: bool = False
    ignores_ranges: bool = False
    redirects: bool = False
    """Files come from another host, as with the real one."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request, and the range of a file's."""
    tokens: list[str | None] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    """What every request says it comes from."""
    sent: int = 0
    """Bytes of files that went out."""
    target: str = ""
    """The file that a redirect was for."""
    address: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def environment(self) -> dict[str, str]:
        """What leads a program here, past any proxy."""
        return {"HF_ENDPOINT": self.address, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Run a hub until the block ends."""
    hub = Hub()

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub, path = self.served, unquote(urlsplit(self.path).path)
        hub.tokens.append(self.headers["authorization"])
        hub.programs.append(self.headers["user-agent"])
        hub.asked.append((path, self.headers["range"] or ""))
        if hub.status != 200:
            self._answer(hub.status, b"")
        elif path == "/api/models":
            self._search(parse_qs(urlsplit(self.path).query))
        elif path.startswith("/api/models/"):
            self._model(path.removeprefix("/api/models/"))
        elif path.count("/") > 3 or path == "/elsewhere":
            self._file(path)
        else:
            self._answer(404, b"")

    def log_message(self, *_: object) -> None:
        """Tests look at `asked`."""

    def _search(self, wanted: dict[str, list[str]]) -> None:
        """Repositories with these words in their names, and with all of these tags."""
        hub, words = self.served, wanted.get("search", [""])[0].lower()
        matching = []
        for name, files in hub.files.items():
            tags = {"gguf"} if any(file.endswith(".gguf") for file in files) else set()
            if name in hub.bases:
                tags.add(f"base_model:quantized:{hub.bases[name]}")
            if words in name.lower() and tags.issuperset(wanted.get("filter", [])):
                matching.append({"id": name, "downloads": 7})
        self._answer(200, json.dumps(matching[: int(wanted["limit"][0])]).encode())

    def _model(self, name: str) -> None:
        hub = self.served
        if hub.nonsense:
            return self._answer(200, b"<html>Please log in to this network</html>")
        if name not in hub.files:
            return self._answer(401, b"", {"X-Error-Code": "RepoNotFound"})
        siblings = [
            {
                "rfilename": file,
                "size": hub.claimed.get(file, len(data)),
                "blobId": "0" * 40,
                "lfs": {
                    "size": len(data),
                    "sha256": "f" * 64 if hub.wrong_checksum else hashlib.sha256(data).hexdigest(),
                    "pointerSize": 134,
                },
            }
            for file, data in hub.files[name].items()
        ]
        answer: dict[str, object] = {
            "id": name,
            "modelId": name,
            "sha": COMMIT,
            "siblings": siblings,
        }
        if name in hub.parameters:
            answer["gguf"] = {"total": hub.parameters[name], "architecture": "llama"}
        return self._answer(200, json.dumps(answer).encode())

    def _file(self, path: str) -> None:
        hub = self.served
        if hub.gated:
            return self._answer(403, b"", {"X-Error-Code": "GatedRepo"})
        if hub.redirects and path != "/elsewhere":
            hub.target = path
            port = urlsplit(hub.address).port
            return self._answer(302, b"", {"Location": f"http://localhost:{port}/elsewhere"})
        owner, name, _, _, file = (hub.target or path).strip("/").split("/", 4)
        data = hub.files[f"{owner}/{name}"][file]
        start, size = 0, len(data)
        headers = {"ETag": '"x"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if self.headers["range"] and not hub.ignores_ranges:
            start = int(self.headers["range"].removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        body = data[start:]
        keep = min(hub.cut.pop(0), len(body)) if hub.cut else len(body)
        hub.sent += keep
        self.send_response(206 if "Content-Range" in headers else 200)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[:keep])
        if keep < len(body):
            self.wfile.flush()
            if hub.holds:
                hub.ended.wait()
            self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)
