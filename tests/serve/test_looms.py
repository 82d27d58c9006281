"""Looms over HTTP: who may ask, what is told, one writer at a time, and steps as they are done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import settings

from llterm.backends.remote.api_keys import Secret
from llterm.core.loom_tree import ROOT
from llterm.errors import UsageError
from llterm.serve.application import Access
from llterm.serve.loom_folder import LoomFolder, folder_of
from llterm.serve.loom_records import page_record
from llterm.session.document import Document
from tests.helpers.document_edits import model_run
from tests.helpers.loom_clients import LoomClients
from tests.helpers.polling import until
from tests.helpers.served_api import ServedApi, served, told

LOOMS = "/v1/llterm/looms"
KEY = {"X-Api-Key": "k"}
TEXT = "Once upon a time a lamp maker lived by the river with a cat. The cat"

TestTwoClients = LoomClients.TestCase
TestTwoClients.settings = settings(max_examples=5, stateful_step_count=12, deadline=None)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"LLTERM_{kind}_DIR", str(tmp_path / kind.lower()))
    return tmp_path


@asynccontextmanager
async def looms_served(folder: Path, idle_seconds: float = 60.0) -> AsyncIterator[ServedApi]:
    folder_of(folder)
    access = Access(loom_keys=(Secret("k"),))
    looms = LoomFolder(folder, idle_seconds)
    async with served(access=access, headers=KEY, looms=looms) as api:
        yield api


@pytest_asyncio.fixture
async def api(home: Path) -> AsyncIterator[ServedApi]:
    async with looms_served(home / "looms") as opened:
        await opened.ask(LOOMS, title="fox", text=TEXT)
        yield opened


async def get(api: ServedApi, path: str) -> Any:
    answer = await api.client.get(f"{LOOMS}{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ask(api: ServedApi, path: str, **body: Any) -> Any:
    return await api.ask(f"{LOOMS}{path}", **body)


def texts(nodes: Sequence[Any]) -> list[str]:
    return [node["text"] for node in nodes]


async def test_without_a_folder_there_are_none_and_with_one_a_key_is_asked_for_always(
    home: Path,
) -> None:
    async with served() as api:
        assert told(await api.client.get(LOOMS))[0] == 404
        assert told(await api.client.get("/looms"))[0] == 404
    async with looms_served(home / "looms") as api:
        document = (await api.client.get("/openapi.json")).json()
        paths = [path for path in document["paths"] if path.startswith(LOOMS)]
        assert len(paths) > 15
        for path in paths:
            for method in document["paths"][path]:
                for key in ("", "other"):
                    headers = {"X-Api-Key": key}
                    answer = await api.client.request(method, path, headers=headers, json={})
                    assert told(answer)[0] == 401, path
        # Other addresses stay as open as they were, and the page is open too.
        open_paths = ("/v1/models", "/looms")
        for path in open_paths:
            answer = await api.client.get(path, headers={"X-Api-Key": ""})
            assert answer.status_code == 200
    folder = LoomFolder(home / "looms")
    async with served(looms=folder) as api:
        assert told(await api.client.get(LOOMS, headers=KEY))[0] == 401


async def test_titles_are_no_paths(api: ServedApi, home: Path) -> None:
    outside = home / "secret.loom"
    Document.create(outside, b"secret").close()
    for title in (
        "../secret",
        "/etc/passwd",
        ".hidden",
        " fox",
        "fox.loom",
        "a\0b",
        "a\nb",
        "x" * 201,
    ):
        assert (await api.refused(LOOMS, title=title))[0] == 400
        quoted = title.replace("/", "%2F").replace("\0", "%00").replace("\n", "%0A")
        answer = await api.client.get(f"{LOOMS}/{quoted}")
        assert told(answer)[0] in (400, 404)
        assert "secret" not in answer.json()["error"]["message"].replace(title, "")
    assert [path.name for path in (home / "looms").iterdir()] == ["fox.loom"]
    made = await ask(api, "", title="Zwölf Füchse? 100% & 日本")
    assert (await get(api, ""))["data"][0]["id"] == made["id"]


async def test_a_deleted_loom_comes_back_with_all_its_steps(api: ServedApi) -> None:
    await ask(api, "/fox/nodes/root/children", text="Another")
    before = await get(api, "/fox")
    assert (await api.client.delete(f"{LOOMS}/fox")).json()["deleted"]
    assert told(await api.client.get(f"{LOOMS}/fox"))[0] == 404
    assert (await get(api, ""))["deleted"] == ["fox"]
    await ask(api, "/fox/restore")
    assert await get(api, "/fox") == before
    assert (await api.refused(f"{LOOMS}/fox/restore"))[0] == 404
    assert (await api.refused(LOOMS, title="fox"))[0] == 409


async def test_children_that_are_grown_come_token_by_token_and_are_one_step(
    api: ServedApi,
) -> None:
    body = {"n": 3, "max_tokens": 4, "seed": 1}
    parts = await api.streamed(f"{LOOMS}/fox/nodes/2/grow", **body)
    drawn = ["", "", ""]
    for part in parts[:-1]:
        drawn[part["index"]] += part["text"]
    assert [part["type"] for part in parts] == ["token"] * (len(parts) - 1) + ["nodes"]
    assert texts(parts[-1]["nodes"]) == drawn
    assert texts((await get(api, "/fox/nodes/2/children"))["data"]) == drawn
    whole = await ask(api, "/fox/nodes/2/grow", **body)
    assert texts(whole["nodes"]) == drawn
    revision = (await get(api, "/fox"))["revision"]
    headers = {"If-Match": f'"{revision}"'}
    await api.client.post(f"{LOOMS}/fox/undo", json={}, headers=headers)
    assert texts((await get(api, "/fox/nodes/2/children"))["data"]) == drawn
    tokens = (await get(api, f"/fox/nodes/{parts[-1]['nodes'][0]['id']}/tokens"))["tokens"]
    assert "".join(token["text"] for token in tokens) == drawn[0]
    assert all(token["alternatives"] and token["how"] for token in tokens)


async def test_a_suggestion_of_a_weave_is_accepted_as_the_story(api: ServedApi) -> None:
    parts = await api.streamed(f"{LOOMS}/fox/nodes/2/weave", depth=3, beams=4)
    found = parts[-1]
    best = found["suggestions"][0]
    assert found["done"]
    assert best["p"] >= found["suggestions"][-1]["p"]
    body = {"weave": found["weave"], "ids": best["ids"]}
    made = (await ask(api, "/fox/nodes/2/accept", **body))["nodes"][0]
    assert (made["text"], made["is_head"]) == (best["text"], True)
    assert (await get(api, f"/fox/nodes/{made['id']}/text"))["text"] == TEXT + best["text"]
    status, error = await api.refused(f"{LOOMS}/fox/nodes/{made['id']}/accept", **body)
    assert (status, error["code"]) == (404, "weave_not_found")
    other = (await ask(api, "/fox/nodes/root/children", text="Another"))["nodes"][0]["id"]
    await ask(api, f"/fox/nodes/{other}/accept")
    assert (await get(api, "/fox"))["head"] == other


async def test_what_is_asked_of_a_text_can_be_asked_of_a_node(api: ServedApi) -> None:
    seen = await ask(api, "/fox/nodes/2/preview", top=3)
    of_text = await api.ask("/v1/llterm/preview", prompt=TEXT, top=3)
    assert seen["distribution"]["tokens"] == of_text["distribution"]["tokens"]
    stepped = await ask(api, "/fox/nodes/2/step", temperature=0)
    best = seen["distribution"]["tokens"][0]
    assert texts(stepped["nodes"]) == [best["text"]]
    forced = await ask(api, "/fox/nodes/2/step", force_text=" sat")
    assert texts(forced["nodes"]) == [" sat"]
    labels = await ask(api, "/fox/nodes/2/classify", labels=["good", "bad"])
    assert len(labels["texts"][0]["answers"][0]["labels"]) == 2
    made = stepped["nodes"][0]["id"]
    told = await ask(api, f"/fox/nodes/{made}/attribution", method="leave-one-out")
    assert told["target"]["text"] == best["text"]


async def test_undo_takes_back_the_last_step_and_has_to_say_which(
    api: ServedApi, home: Path
) -> None:
    await ask(api, "/fox/nodes/root/children", texts=["a", "b"])
    status, error = await api.refused(f"{LOOMS}/fox/undo")
    assert (status, error["code"]) == (428, "revision_required")
    for said, expected in (('"0"', 409), ("x", 400), ('"1"', 200), ('"2"', 409)):
        answer = await api.client.post(f"{LOOMS}/fox/undo", json={}, headers={"If-Match": said})
        assert answer.status_code == expected, (said, answer.text)
    assert answer.json()["error"]["code"] == "nothing_to_undo"
    assert len((await get(api, "/fox/nodes"))["data"]) == 1


async def test_one_writes_at_a_time_and_the_lock_is_given_back(home: Path) -> None:
    async with looms_served(home / "looms", idle_seconds=0.05) as api:
        await ask(api, "", title="fox", text=TEXT)
        app = Document.open(home / "looms" / "fox.loom")
        assert not app.read_only
        status, error = await api.refused(f"{LOOMS}/fox/nodes/2/children", text=" ran")
        assert (status, error["code"]) == (409, "loom_locked")
        for method, path in (("DELETE", "/fox"), ("PATCH", "/fox")):
            answer = await api.client.request(method, f"{LOOMS}{path}", json={"title": "wolf"})
            assert told(answer)[0] == 409
        app.branches.child(2, " sat")
        assert texts((await get(api, "/fox/nodes/2/children"))["data"]) == [" sat"]
        app.release()
        await ask(api, "/fox/nodes/2/children", text=" ran")

        def is_free() -> bool:
            try:
                app.take()
            except UsageError:
                return False
            return True

        await until(is_free)
        assert [app.loom.data(app.loom.nodes[id]) for id in app.loom.children[2]] == [
            b" sat", b" ran",
        ]  # fmt: skip
        app.close()


async def test_who_listens_hears_each_step_whoever_does_it_and_those_before(
    api: ServedApi, home: Path
) -> None:
    heard: list[Any] = []

    async def listen(after: str) -> None:
        async with api.client.stream("GET", f"{LOOMS}/fox/events{after}") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    heard.append(json.loads(line.removeprefix("data: ")))

    async def heard_by(after: str, count: int) -> list[Any]:
        heard.clear()
        listening = asyncio.create_task(listen(after))
        await until(lambda: len(heard) >= count)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        return list(heard)

    listening = asyncio.create_task(listen(""))
    await until(lambda: api.state.open.count == 1)
    made = await ask(api, "/fox/nodes/2/children", text=" ran")
    await until(lambda: heard)
    (event,) = heard
    assert (event["type"], event["revision"]) == ("steps", made["revision"])
    assert texts(event["nodes"]) == [" ran"]
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert api.state.looms is not None
    await api.state.looms.close()
    # What another llterm does, and what was done before one listened.
    app = Document.open(home / "looms" / "fox.loom")
    await get(api, "/fox")
    app.branches.delete(made["nodes"][0]["id"])
    (event,) = await heard_by("?after=1", 1)
    assert event["gone"] == [made["nodes"][0]["id"]]
    (event,) = await heard_by("?after=0", 1)
    assert event["type"] == "reset"
    app.close()


def test_a_page_of_a_large_tree_reads_the_rows_of_its_nodes_alone(home: Path) -> None:
    document = Document.scratch()
    above = [ROOT]
    for number in range(10):
        above = document.branches.plant_all(
            [(above[place % len(above)], model_run(b" w%d" % place)) for place in range(1000)]
        )
        assert number < 10
    document.copy_to(home / "large.loom")
    served_one = Document.open(home / "large.loom", reading=True)
    assert served_one.undo_log.file is not None
    asked: list[str] = []
    served_one.undo_log.file.database.set_trace_callback(asked.append)
    ids: list[int] = []
    after: int | None = None
    while True:
        asked.clear()
        page = page_record(served_one, ROOT, after, 500, None)
        assert len(asked) <= 500
        ids += [node["id"] for node in page["data"]]
        after = page["after"]
        if not page["has_more"]:
            break
    assert len(ids) == len(set(ids)) == 10_000
    assert ids == list(served_one.loom.below(ROOT))[1:]
    shallow = page_record(served_one, ROOT, None, 500, 1)
    assert {node["level"] for node in shallow["data"]} == {1}
    served_one.close()


async def test_every_request_of_n8loom_has_its_counterpart(api: ServedApi) -> None:
    """Its routes, in the order of docs/serve.md."""
    made = await ask(api, "", title="n8", text="Once")
    root = (await get(api, "/n8/nodes/root/children"))["data"][0]["id"]
    assert [loom["id"] for loom in (await get(api, ""))["data"]] == ["fox", "n8"]
    assert (await get(api, "/n8"))["count"] == made["count"] == 1
    assert (await api.client.patch(f"{LOOMS}/n8", json={"title": "n9"})).status_code == 200
    exported = (await api.client.get(f"{LOOMS}/n9/export?format=json")).text
    await ask(api, "/import", title="n10", data=exported)
    assert (await get(api, f"/n10/nodes/{root}"))["text"] == "Once"
    assert (await api.client.delete(f"{LOOMS}/n10")).status_code == 200
    (child,) = (await ask(api, f"/n9/nodes/{root}/children", text=" upon a time"))["nodes"]
    grown = await ask(api, f"/n9/nodes/{root}/grow", n=2, temperature=0.8, max_tokens=3)
    assert len(await api.streamed(f"{LOOMS}/n9/nodes/{root}/grow", n=1, max_tokens=2)) >= 2
    below = (await get(api, f"/n9/nodes?under={root}"))["data"]
    assert len(below) == len(grown["nodes"]) + 2
    assert (await ask(api, f"/n9/nodes/{child['id']}/clip", tokens=2))["text"] == " upon a"
    assert (await ask(api, f"/n9/nodes/{child['id']}/trim", tokens=1))["text"] == " upon"
    assert (await api.client.delete(f"{LOOMS}/n9/nodes/{child['id']}")).status_code == 200
    assert told(await api.client.get(f"{LOOMS}/n9/nodes/{child['id']}"))[0] == 404
