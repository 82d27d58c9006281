"""Simon Willison's `llm` against a real `llterm serve`, by its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.served_names import ALIAS
from tests.helpers.served_program import ServedProgram

pytestmark = pytest.mark.clients
Llm = Callable[..., str]
CONFIGURED = """
- model_id: fable-chat
  model_name: {name}
  api_base: {address}/v1
  supports_schema: true
  supports_tools: true
- model_id: fable-responses
  model_name: {name}
  api_base: {address}/v1
  responses: true
- model_id: fable-text
  model_name: {name}
  api_base: {address}/v1
  completion: true
"""


@pytest.fixture(scope="module")
def llm(roomy: ServedProgram, tmp_path_factory: pytest.TempPathFactory) -> Llm:
    """What a command says."""
    home: Path = tmp_path_factory.mktemp("llm")
    (home / "extra-openai-models.yaml").write_text(
        CONFIGURED.format(name=ALIAS, address=roomy.address)
    )

    def run(*arguments: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "llm", *arguments], capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LLM_USER_PATH": str(home), "OPENAI_API_KEY": "none"},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


@pytest.mark.parametrize("model", ["fable-chat", "fable-responses"])
def test_an_answer_is_the_same_streamed_and_whole(llm: Llm, model: str) -> None:
    asked = "prompt", "-m", model, "-s", "You tell stories.", "Of a fox", "-o", "max_tokens", "12"
    seed = () if model == "fable-responses" else ("-o", "seed", "4")
    streamed, whole = llm(*asked, *seed), llm(*asked, *seed, "--no-stream")
    assert streamed.strip()
    assert streamed == whole


def test_a_text_goes_on_with_its_logprobs_in_the_log(llm: Llm) -> None:
    text = llm("prompt", "-m", "fable-text", "Once there was", "-o", "max_tokens", "8",
               "-o", "logprobs", "3")  # fmt: skip
    assert text.strip()
    (logged,) = json.loads(llm("logs", "-n", "1", "--json"))
    assert "logprobs" in json.dumps(logged["response_json"])


def test_a_schema_is_obeyed(llm: Llm) -> None:
    schema = json.dumps({
        "type": "object", "properties": {"tail": {"type": "boolean"}}, "required": ["tail"],
        "additionalProperties": False,
    })  # fmt: skip
    told = llm("prompt", "-m", "fable-chat", "A fox", "--schema", schema, "-o", "seed", "2")
    assert set(json.loads(told)) == {"tail"}


def test_a_conversation_goes_on(llm: Llm) -> None:
    llm("prompt", "-m", "fable-chat", "Of a fox", "-o", "max_tokens", "4")
    assert llm("prompt", "-c", "And then?", "-o", "max_tokens", "4").strip()
