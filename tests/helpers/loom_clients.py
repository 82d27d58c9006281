"""Two clients that edit one loom of a real server at random, and what must hold of it."""

from __future__ import annotations

import asyncio
import base64
import tempfile
import threading
from pathlib import Path
from typing import Any

import httpx2
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llterm.backends.remote.api_keys import Secret
from llterm.core.loom_tree import ROOT
from llterm.serve.application import Access
from llterm.serve.loom_folder import LoomFolder
from llterm.session.document import Document
from tests.helpers.served_api import served

CLIENT = st.integers(0, 1)
PICK = st.integers(0, 1000)
BOUND = st.sampled_from(["none", "known", "stale"])
"""The revision that a request is bound to: none, the last that its client saw, or an older one."""


def exact(node: dict[str, Any]) -> bytes:
    """A node's bytes."""
    return base64.b64decode(node["base64"]) if "base64" in node else str(node["text"]).encode()


class LoomServer:
    """A server in a thread of its own, with a folder of looms."""

    def __init__(self, folder: Path) -> None:
        self.address = ""
        self._folder = folder
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._begun.wait()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        # Another llterm gets the lock after a moment.
        looms = LoomFolder(self._folder, idle_seconds=0.02)
        async with served(access=Access(keys=(Secret("k"),)), looms=looms) as api:
            self.address = api.address
            self._begun.set()
            await self._end.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


class LoomClients(RuleBasedStateMachine):
    """What is told to each client is so, conflicts are 409, and no text is lost."""

    def __init__(self) -> None:
        super().__init__()
        self._home = tempfile.TemporaryDirectory()
        self._path = Path(self._home.name) / "a.loom"
        Document.create(self._path, b"The fox").close()
        self._server = LoomServer(self._path.parent)
        self._clients = [
            httpx2.Client(
                base_url=f"{self._server.address}/v1/llterm/looms", headers={"X-Api-Key": "k"}
            )
            for _ in range(2)
        ]
        self._seen = [0, 0]
        """The revision that each client knows."""
        self._revision = 0
        self._texts: set[bytes] = {b"The fox"}
        """All that was ever told to be in the loom."""
        self._written = 0
        self._reader = Document.open(self._path, reading=True)

    def teardown(self) -> None:
        self._reader.close()
        for client in self._clients:
            client.close()
        self._server.close()
        document = Document.open(self._path)
        assert not document.damage
        kept = b"\0".join(document.loom.pieces.texts.values())
        assert not [text for text in self._texts if text not in kept]
        while document.undo() is not None:
            pass
        assert document.text == "The fox"
        while document.redo() is not None:
            pass
        document.close()
        self._home.cleanup()

    def _nodes(self, client: int) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self._clients[client].get(f"a/nodes?limit=7{after}").json()
            nodes += page["data"]
            if not page["has_more"]:
                return nodes
            after = f"&after={page['after']}"

    def _node(self, client: int, pick: int) -> int:
        ids = [ROOT, *(node["id"] for node in self._nodes(client))]
        return int(ids[pick % len(ids)])

    def _ask(
        self, client: int, method: str, path: str, bound: str, body: object = None
    ) -> dict[str, Any] | None:
        """What is answered; None where it was refused, which changed nothing."""
        known = self._seen[client]
        revision = {"none": None, "known": known, "stale": self._revision - 1}[bound]
        headers = {} if revision is None else {"If-Match": f'"{revision}"'}
        before = self._nodes(client)
        answer = self._clients[client].request(method, f"a/{path}", json=body, headers=headers)
        told: dict[str, Any] = answer.json()
        if revision is not None and revision != self._revision:
            assert answer.status_code in (400, 409), told
        if answer.status_code != 200:
            code = told["error"]["code"]
            assert answer.status_code in (400, 404, 409, 428), told
            assert (answer.status_code == 428) == (code == "revision_required")
            assert self._nodes(client) == before
            return None
        assert answer.headers["etag"] == f'"{told["revision"]}"'
        assert told["revision"] >= self._revision
        self._revision = self._seen[client] = told["revision"]
        self._texts |= set(map(exact, told.get("nodes", ())))
        return told

    @rule(client=CLIENT, pick=PICK, bound=BOUND, count=st.integers(1, 3))
    def write(self, client: int, pick: int, bound: str, count: int) -> None:
        self._written += count
        texts = [f" text {self._written - place}é" for place in range(count)]
        node = self._node(client, pick)
        told = self._ask(client, "POST", f"nodes/{node}/children", bound, {"texts": texts})
        if told is not None:
            assert [each["text"] for each in told["nodes"]] == texts
            assert {each["parent"] for each in told["nodes"]} == {node}

    @rule(client=CLIENT, pick=PICK, bound=BOUND)
    def grow(self, client: int, pick: int, bound: str) -> None:
        node = self._node(client, pick)
        body = {"n": 2, "max_tokens": 2, "seed": 1}
        self._ask(client, "POST", f"nodes/{node}/grow", bound, body)

    @rule(client=CLIENT, pick=PICK, bound=BOUND)
    def delete(self, client: int, pick: int, bound: str) -> None:
        node = self._node(client, pick)
        if self._ask(client, "DELETE", f"nodes/{node}", bound) is not None:
            assert node not in [each["id"] for each in self._nodes(1 - client)]

    @rule(client=CLIENT, pick=PICK, bound=BOUND, count=st.integers(-3, 3))
    def clip(self, client: int, pick: int, bound: str, count: int) -> None:
        node = self._node(client, pick)
        self._ask(client, "POST", f"nodes/{node}/clip", bound, {"tokens": count})

    @rule(client=CLIENT, pick=PICK, bound=BOUND)
    def trim(self, client: int, pick: int, bound: str) -> None:
        self._ask(client, "POST", f"nodes/{self._node(client, pick)}/trim", bound, {})

    @rule(client=CLIENT, pick=PICK, bound=BOUND)
    def accept(self, client: int, pick: int, bound: str) -> None:
        self._ask(client, "POST", f"nodes/{self._node(client, pick)}/accept", bound, {})

    @rule(client=CLIENT, bound=BOUND, way=st.sampled_from(["undo", "undo", "redo"]))
    def travel(self, client: int, bound: str, way: str) -> None:
        self._ask(client, "POST", way, bound, {})

    @rule(client=CLIENT)
    def look(self, client: int) -> None:
        self._seen[client] = self._clients[client].get("a").json()["revision"]

    @precondition(lambda self: self._revision > 0)
    @rule(pick=PICK)
    def write_in_another_llterm(self, pick: int) -> None:
        """As the app does: it takes the lock, changes the loom, and lets go."""
        document = Document.open(self._path, waiting=lambda _: None)
        assert not document.read_only
        nodes = [ROOT, *sorted(filter(document.loom.holds, document.loom.nodes))]
        self._written += 1
        document.branches.child(nodes[pick % len(nodes)], text := f" app {self._written}é")
        self._texts.add(text.encode())
        document.close()
        self._revision = document.undo_log.revision

    @invariant()
    def both_and_who_follows_see_the_same(self) -> None:
        first, second = map(self._nodes, range(2))
        assert first == second
        self._reader.follow()
        loom = self._reader.loom
        assert [node["id"] for node in first] == list(loom.below(ROOT))[1:]
        assert self._reader.undo_log.revision == self._revision
