"""LiteLLM against a real `llterm serve`, in a process of its own: it looks at the environment, and
for the network, when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.served_names import ALIAS
from tests.helpers.served_program import ServedProgram

pytestmark = pytest.mark.clients
CALLS = """
import json, sys
import litellm
address, name = sys.argv[1:]
chat = {"model": f"openai/{name}", "api_base": address, "api_key": "none", "seed": 3,
        "messages": [{"role": "user", "content": "Of a fox"}], "max_tokens": 8}
text = {"model": f"text-completion-openai/{name}", "api_base": address, "api_key": "none",
        "prompt": "Once there was", "max_tokens": 8, "seed": 3}
fox = {"type": "object", "properties": {"tail": {"type": "boolean"}}, "required": ["tail"],
       "additionalProperties": False}
shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": fox}}
tool = {"type": "function", "function": {"name": "look", "parameters": fox}}
whole = litellm.completion(**chat)
parts = litellm.completion(**chat, stream=True)
formed = litellm.completion(**{**chat, "max_tokens": 60}, response_format=shape)
called = litellm.completion(**{**chat, "max_tokens": 60}, tools=[tool], tool_choice="required")
legacy = litellm.text_completion(**text, logprobs=3)
pieces = litellm.text_completion(**text, stream=True)
vectors = litellm.embedding(model=f"openai/{name}", api_base=address, api_key="none",
                            input=["A fox", "A boat"], encoding_format="float")
try:
    litellm.completion(**{**chat, "model": "openai/nobody"})
    missing = ""
except litellm.NotFoundError as error:
    missing = str(error)
print(json.dumps({
    "whole": whole.choices[0].message.content,
    "used": whole.usage.total_tokens,
    "streamed": "".join(part.choices[0].delta.content or "" for part in parts),
    "formed": formed.choices[0].message.content,
    "called": called.choices[0].message.tool_calls[0].function.arguments,
    "legacy": legacy.choices[0].text,
    "logprobs": len(legacy.choices[0].logprobs.token_logprobs),
    "pieces": "".join(part.choices[0].text or "" for part in pieces),
    "squares": [sum(x * x for x in each["embedding"]) for each in vectors.data],
    "missing": missing,
}))
"""


@pytest.fixture(scope="module")
def told(roomy: ServedProgram, tmp_path_factory: pytest.TempPathFactory) -> Any:
    home: Path = tmp_path_factory.mktemp("litellm")
    ran = subprocess.run(
        [sys.executable, "-c", CALLS, f"{roomy.address}/v1", ALIAS],
        capture_output=True, text=True, check=False, cwd=home,
        env={**os.environ, "HOME": str(home), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_what_it_streams_is_what_it_gives_whole(told: Any) -> None:
    assert told["whole"] == told["streamed"]
    assert told["legacy"] == told["pieces"]
    assert told["used"] > 8


def test_formats_and_tools_are_obeyed(told: Any) -> None:
    for name in ("formed", "called"):
        assert set(json.loads(told[name])) == {"tail"}


def test_logprobs_and_embeddings_reach_its_user(told: Any) -> None:
    """The former came back empty from other servers."""
    assert told["logprobs"] == 8
    assert told["squares"] == pytest.approx([1, 1], abs=1e-5)


def test_a_wrong_name_is_its_own_error(told: Any) -> None:
    assert "nobody" in told["missing"]
