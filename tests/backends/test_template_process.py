"""Chat templates from strangers: whatever one does ends with an error, and the next one works."""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import llterm
from llterm.backends.chat_formats import own_format
from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.template_process import renderer
from llterm.core.chat_messages import Chat
from llterm.errors import ModelError
from llterm.session.document import Document
from llterm.session.session import Session
from tests.helpers.tiny_models import tiny_llama

ENDLESS = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
NAMED = "{{ messages[0].content }}!"
HOSTILE = {
    "loops without end": ENDLESS,
    "one long sum": "{{ 9 ** (9 ** 9) }}",
    "a text of gigabytes": "{{ 'a' * 30000000000 }}",
    "a format of gigabytes": "{{ '%30000000000d' % 1 }}",
    "a filter's gigabytes": "{{ 'a'|center(30000000000) }}",
    "a text that doubles": "{% set n = namespace(t='a') %}{% for a in range(99999) %}"
    "{% set n.t = n.t ~ n.t %}{% endfor %}",
    "a list of everything": "{{ range(10**9)|list }}",
    "rows without end": "{{ [1]|batch(10**9, 0)|list }}",
    "output without end": "{% for a in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
    "a macro in itself": "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "a loop in itself": "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "brackets without end": "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
    "a file of this machine": "{% include '/etc/passwd' %}",
    "a module": "{% import 'os' as os %}",
    "attributes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals of a class": "{{ cycler.__init__.__globals__.os.environ }}",
    "a format's attributes": "{{ '{0.__class__.__init__.__globals__}'.format(cycler) }}",
    "a format's map": "{{ '{a.__class__.__mro__}'.format_map({'a': 1}) }}",
    "a change of what it sees": "{{ messages.append('x') }}",
    "an error of megabytes": "{{ raise_exception('a' * 10000000) }}",
}


def opened(template: str) -> str:
    parts = own_format(template, "", "").open(Chat("", "Hello"))
    return "".join(part.text for part in parts)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_template_ends_and_the_next_one_works(kind: str) -> None:
    with pytest.raises(ModelError, match="chat template failed") as raised:
        opened(HOSTILE[kind])
    assert raised.value.cause
    assert len(raised.value.cause) < 300
    assert "chat_template" in raised.value.hint
    assert opened(NAMED) == "Hello!"


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("a text of gigabytes", "256 MB of memory"),
        ("output without end", "65,536 characters"),
        ("a macro in itself", "calls itself"),
    ],
)
def test_the_error_says_which_limit_it_was(kind: str, limit: str) -> None:
    with pytest.raises(ModelError) as raised:
        opened(HOSTILE[kind])
    assert limit in raised.value.cause


def test_one_process_renders_and_a_killed_one_is_begun_again() -> None:
    assert opened(NAMED) == "Hello!"
    first = renderer.process
    assert first is not None
    assert opened("{{ messages[0].content }}?") == "Hello?"
    assert renderer.process is first
    os.kill(first.pid, 9)
    first.wait()
    assert opened(NAMED) == "Hello!"
    assert renderer.process is not first


def test_it_sees_no_secrets_and_holds_nothing_of_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    renderer.end()
    monkeypatch.setenv("HF_TOKEN", "hidden")
    held = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(held, True)
    assert opened(NAMED) == "Hello!"
    child = renderer.process
    assert child is not None
    assert os.getsid(child.pid) == child.pid
    if sys.platform == "linux":
        assert b"hidden" not in Path(f"/proc/{child.pid}/environ").read_bytes()
        assert {one.name for one in Path(f"/proc/{child.pid}/fd").iterdir()} == {"0", "1", "2"}
    os.close(held)


def test_it_ends_with_the_app() -> None:
    program = (
        "from llterm.backends.template_process import renderer\n"
        f"renderer.render({NAMED!r}, {{'messages': [{{'content': 'x'}}]}})\n"
        "import os, sys\n"
        "sys.stdout.write(str(renderer.process.pid)); sys.stdout.flush()\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    pid = int(done.stdout)
    if sys.platform == "linux":
        descriptor = _pidfd(pid)
        if descriptor is not None:
            import select

            select.select([descriptor], [], [])
            os.close(descriptor)


def _pidfd(pid: int) -> int | None:
    """Readable once the process has ended; None where it has already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def test_characters_of_all_kinds_come_back() -> None:
    text = 'é "\u2028" \\ \ud800 🙂\n'
    assert renderer.render("{{ text }}{{ text|tojson }}", {"text": text}).startswith(text)


async def test_the_event_loop_goes_on_while_a_template_runs(tmp_path: Path) -> None:
    backend = await open_llama(
        tiny_llama(tmp_path / "a.gguf", template=ENDLESS), LlamaSettings(context=128)
    )
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    session = Session(Document.scratch(b"What was typed"))
    await session.change_model(backend)
    session.set_chat(Chat("", "Hello"))
    counting = asyncio.create_task(count())
    session.weave()
    with pytest.raises(ModelError, match="chat template failed") as raised:
        await session.wait()
    counting.cancel()
    assert turns > 1000
    assert "come to an end" in raised.value.cause
    assert session.document.text == "What was typed"
    await session.close()
    await backend.close()


async def test_a_weave_after_a_template_has_its_tokens(tmp_path: Path) -> None:
    backend = await open_llama(
        tiny_llama(tmp_path / "a.gguf", template=NAMED), LlamaSettings(context=128)
    )
    session = Session(Document.scratch())
    await session.change_model(backend)
    heard = asyncio.Event()
    session.listen(heard.set)
    session.set_chat(Chat("", "Hello"))
    assert backend.open_chat(Chat("", "Hello")) is None
    await asyncio.wait_for(heard.wait(), 30)
    session.weave()
    await session.wait()
    assert session.shown is not None
    data = b"".join(backend.vocabulary.token(id).data for id in session.shown.prompt.tokens)
    assert data == b"<|end|>Hello!"
    await session.close()
    await backend.close()


def test_one_module_renders_templates() -> None:
    root = Path(llterm.__file__).parent
    renders = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.partition(".")[0] == "jinja2" for name in names):
                renders.add(path.relative_to(root).as_posix())
    assert renders == {"backends/template_child.py"}
