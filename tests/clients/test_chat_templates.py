"""llama.cpp's own 70 chat templates: what llterm's server writes by them, its server writes too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest

from llterm.backends.chat_formats import TemplateFile
from llterm.backends.llamacpp import LlamaSettings, open_llama
from tests.clients import template_chats
from tests.clients.llamacpp_suite import template_files
from tests.clients.template_chats import CHATS, WITH_TOOLS, Written
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_api import served

pytestmark = [pytest.mark.clients, pytest.mark.server]
IN_WORDS = (
    "GigaChat3-10B-A1.8B", "HuggingFaceTB-SmolLM3-3B", "Kimi-K2-Instruct", "Kimi-K2-Thinking",
    "Kimi-K3", "LFM2-8B-A1B", "LFM2.5-Instruct", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek-ai-DeepSeek-V3.1",
    "fireworks-ai-llama-3-firefunction-v2", "google-gemma-2-2b-it",
    "ibm-granite-granite-3.3-2B-Instruct", "llama-cpp-deepseek-r1", "llama-cpp-rwkv-world",
    "meetkai-functionary-medium-v3.2", "microsoft-Phi-3.5-mini-instruct", "muse-glimmer",
)  # fmt: skip
"""Templates that show no tools, or write calls in no form that is found out: tools are said in
words then, and calls asked for in the form that most models have seen. llama.cpp shows such models
no tools, or has a reader of its own for them."""
OTHERS: Mapping[str, tuple[frozenset[str], str]] = {
    "google-gemma-2-2b-it": (
        frozenset({"system", "turns"}),
        "it refuses system messages: before what is said then, with a blank line between, which"
        " llama.cpp leaves out",
    ),
    "google-gemma-4-31B-it-interleaved": (
        frozenset({"call", "thought and call", "call before"}),
        "it wants what tools answered in the message of the call, where llama.cpp puts it: here it"
        " is a turn of the tool's",
    ),
    "llama-cpp-rwkv-world": (
        frozenset({"closed"}),
        "llama.cpp leaves add_generation_prompt out where it is false, which it takes for true",
    ),
    "upstage-Solar-Open-100B": (frozenset({"closed"}), "the same"),
    "unsloth-mistral-Devstral-Small-2507": (
        frozenset({"thoughts"}), "llama.cpp leaves out what was said where thoughts stand with it",
    ),
}  # fmt: skip
"""What else differs, and why."""


@pytest.fixture(scope="module")
def templates() -> Mapping[str, str]:
    return {file.stem: file.read_text() for file in template_files()}


@pytest.fixture(scope="module")
def theirs(templates: Mapping[str, str]) -> Mapping[str, Written]:
    """What llama.cpp's server writes by each."""
    ran = subprocess.run(
        [sys.executable, template_chats.__file__, str(BUNDLED)], check=True, text=True,
        input=json.dumps({"templates": templates, "chats": CHATS}),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    written: Mapping[str, Written] = json.loads(ran.stdout)
    return written


async def written_here(name: str, text: str) -> Written:
    """What llterm's server writes by a template."""
    template = TemplateFile(name, text)
    model = await open_llama(
        BUNDLED, LlamaSettings(threads=1, context=256, chat_template=template), name="fable"
    )
    written: Written = {}
    async with served(model) as api:
        for name, chat in CHATS.items():
            answer = await api.client.post("/apply-template", json=chat)
            written[name] = answer.json()["prompt"] if answer.status_code == 200 else None
    await model.close()
    return written


async def test_chats_are_written_as_llamacpps_server_writes_them(
    templates: Mapping[str, str],
    theirs: Mapping[str, Written],
    figure: Callable[[str], None],
) -> None:
    differing: dict[str, frozenset[str]] = {}
    for name, text in templates.items():
        ours = await written_here(name, text)
        chats = frozenset(chat for chat in CHATS if ours[chat] != theirs[name][chat])
        if chats:
            differing[name] = chats
    tried = len(templates) * len(CHATS)
    figure(
        f"chat templates: {tried - sum(map(len, differing.values()))} of {tried} chats are written "
        f"as llama.cpp does, by {len(templates) - len(differing)} of {len(templates)} templates all"
    )
    expected = {name: chats for name, (chats, _) in OTHERS.items()}
    for name in IN_WORDS:
        expected[name] = expected.get(name, frozenset()) | WITH_TOOLS.keys()
    assert differing == expected, "what is equal is no exception"
