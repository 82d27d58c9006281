"""The page at the server's address, without a browser: whole, of a piece, and closed."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from llterm.backends.remote.api_keys import Secret
from llterm.serve.application import Access
from llterm.serve.pages import browser_page as pages
from llterm.serve.pages.browser_page import BrowserPage, browser_page
from tests.helpers.served_api import served, told

FOLDER = Path(pages.__file__).parent
MODULES = {file.stem: file.read_text("utf-8") for file in sorted(FOLDER.glob("*.js"))}
MARKUP = re.compile(
    r"\.(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\("
    r"|DOMParser|createContextualFragment|srcdoc"
)
"""Ways by which a text becomes markup or a script."""
PAGES = {"workbench": "/", "looms": "/looms"}
MOST_BYTES = 1 << 16
"""Of the whole page."""


class _Markup(HTMLParser):
    """The elements of a page, and what its style and script say."""

    def __init__(self, page: BrowserPage) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"style": [], "script": []}
        self._open = ""
        self.feed(page.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in self.texts:
            self.texts[self._open].append(data)

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.elements if "id" in attrs]


@pytest.fixture(scope="module", params=PAGES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def page(name: str) -> BrowserPage:
    return browser_page(name, "llterm")


def modules(name: str) -> set[str]:
    """A page's own module, and all that it imports."""
    names, waiting = set[str](), [name]
    while waiting:
        if (module := waiting.pop()) not in names:
            names.add(module)
            waiting += re.findall(r'from "\./(\w+)\.js"', MODULES[module])
    return names


@pytest.fixture(scope="module")
def markup(page: BrowserPage) -> _Markup:
    return _Markup(page)


async def test_it_is_served_whole_to_whoever_asks_and_nothing_else_is_without_the_key() -> None:
    async with served(access=Access(keys=(Secret("k"),))) as api:
        answer = await api.client.get("/")
        head = await api.client.head("/")
        page = browser_page("workbench", "llterm")
        assert answer.text == page.text
        assert head.content == b""
        for each in (answer, head):
            assert each.status_code == 200
            assert each.headers["content-type"] == "text/html; charset=utf-8"
            assert each.headers["content-length"] == str(len(page.text.encode()))
            assert each.headers["content-security-policy"] == page.policy
            assert each.headers["x-content-type-options"] == "nosniff"
            assert each.headers["x-frame-options"] == "DENY"
            assert each.headers["cache-control"] == "no-store"
            assert not any(name.startswith("access-control") for name in each.headers)
        assert "k" not in re.findall(r'"(\w+)"', page.text)
        paths = set(re.findall(r'"(/v1/[a-z/]+)"', page.text))
        assert paths == {"/v1/llterm/status", "/v1/completions", "/v1/chat/completions"}
        for path in paths:
            assert told(await api.client.get(path))[0] == 401
            assert told(await api.client.post(path, json={}))[0] == 401
        assert told(await api.client.post("/", json={}, headers={"X-Api-Key": "k"}))[0] == 405


async def test_it_is_for_hosts_of_this_server_alone() -> None:
    async with served() as api:
        answer = await api.client.get("/", headers={"Host": "thief.example"})
        assert told(answer)[0] == 403


def test_it_runs_its_own_style_and_script_and_asks_its_own_server(
    page: BrowserPage, markup: _Markup
) -> None:
    policy = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["frame-ancestors"] == policy["trusted-types"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    for kind, texts in markup.texts.items():
        (text,) = texts
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in page.policy
    assert len(page.text.encode()) <= MOST_BYTES


def test_it_names_no_address_and_loads_nothing(page: BrowserPage, markup: _Markup) -> None:
    assert not re.findall(r"\w+://|//\w+\.|url\(|@import|\bimport\b[ (]", page.text)
    for tag, attrs in markup.elements:
        handlers = [name for name in attrs if name.startswith("on") or name == "style"]
        assert not handlers, tag
        loaded = {attrs[name] for name in ("src", "href", "action", "srcset") if name in attrs}
        assert loaded <= {"data:,"}, tag


def test_no_text_of_its_script_becomes_markup() -> None:
    assert not {name: match[0] for name, text in MODULES.items() if (match := MARKUP.search(text))}


def test_its_parts_fit_together(markup: _Markup, name: str) -> None:
    """Ids are there once, and modules export what others import."""
    ids = markup.ids
    assert len(ids) == len(set(ids))
    own = [MODULES[module] for module in modules(name)]
    asked = {id for text in own for id in re.findall(r'byId\("([\w-]+)"\)', text)}
    assert asked <= set(ids)
    for attrs in (attrs for _, attrs in markup.elements):
        for place in ("for", "aria-controls", "aria-labelledby"):
            assert attrs.get(place, ids[0]) in ids
    for text in own:
        for names, module in re.findall(r'^import \{([^}]+)\} from "\./(\w+)\.js";$', text, re.M):
            for part in (part.strip() for part in names.split(",")):
                assert re.search(rf"^export [a-z* ]+\b{part}\b", MODULES[module], re.M), part


def test_every_field_has_a_label(markup: _Markup, name: str) -> None:
    labelled = {attrs.get("for") for tag, attrs in markup.elements if tag == "label"}
    around = re.compile(r'<label[^>]*>[^<]*<(?:input|select)[^>]*id="(\w+[\w-]*)"')
    labelled |= set(around.findall((FOLDER / f"{name}.html").read_text("utf-8")))
    for tag, attrs in markup.elements:
        if tag in ("input", "select", "textarea"):
            assert "aria-label" in attrs or attrs["id"] in labelled, attrs


def test_a_hostile_name_of_a_page_is_a_text() -> None:
    page = browser_page("workbench", "<script>a & b</script>")
    assert "<title>&lt;script&gt;a &amp; b&lt;/script&gt;</title>" in page.text
