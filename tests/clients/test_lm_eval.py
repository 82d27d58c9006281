"""lm-eval's `local-completions` on a task of this folder, with no network: its log-likelihoods are
those of `llterm score`, its accuracy is what llama-cpp-python's `echo` gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from llama_cpp import Llama

from tests.clients.served_names import ALIAS
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.program_batch import Batch, run
from tests.helpers.served_program import ServedProgram

pytestmark = pytest.mark.clients
TASKS = Path(__file__).parent / "tasks"
TASK = "fable_choices"
BEGINNING = "<|endofstory|>"
"""The model's first token, by name, as the task has it."""
CLOSE = 2e-3
"""What rounding may do to a log-likelihood."""


@dataclass(frozen=True, slots=True)
class JudgedChoice:
    """One ending of one item, as lm-eval read it."""

    item: int
    context: str
    ending: str
    loglikelihood: float
    greedy: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """What lm-eval found."""

    accuracy: float
    choices: Sequence[JudgedChoice]
    answers: Sequence[int]
    """Which choice of each item is right."""


@pytest.fixture(scope="module")
def judgement(program: ServedProgram, tmp_path_factory: pytest.TempPathFactory) -> Judgement:
    home = tmp_path_factory.mktemp("lm_eval")
    where = f"base_url={program.address}/v1/completions"
    subprocess.run(
        [sys.executable, "-m", "lm_eval", "run", "--model", "local-completions",
         "--include_path", ".", "--tasks", TASK, "--output_path", str(home), "--log_samples",
         "--model_args",
         f"model={ALIAS},{where},tokenizer_backend=remote,num_concurrent=8,max_length=256"],
        cwd=TASKS, check=True, capture_output=True,
        env={**os.environ, "HF_HOME": str(home / "hub"), "HF_HUB_OFFLINE": "1",
             "HF_DATASETS_OFFLINE": "1"},
    )  # fmt: skip
    (results,) = home.rglob("results_*.json")
    (samples,) = home.rglob("samples_*.jsonl")
    items: list[Any] = [json.loads(line) for line in samples.read_text().splitlines()]
    items.sort(key=lambda item: item["doc_id"])
    choices = [
        JudgedChoice(place, asked["arg_0"], asked["arg_1"], float(value), greedy == "True")
        for place, item in enumerate(items)
        for asked, ((value, greedy),) in zip(item["arguments"].values(), item["resps"], strict=True)
    ]
    accuracy = json.loads(results.read_text())["results"][TASK]["acc,none"]
    return Judgement(accuracy, choices, [item["doc"]["answer"] for item in items])


def test_its_loglikelihoods_are_those_of_llterm_score(
    judgement: Judgement, figure: Callable[[str], None], tmp_path: Path
) -> None:
    texts = [choice.context.removeprefix(BEGINNING) + choice.ending for choice in judgement.choices]
    lines = [
        ("score", "-m", str(BUNDLED), "--format", "json", "--top", "1", "--prompt", text)
        for text in texts
    ]
    apart = []
    for choice, ran in zip(judgement.choices, run(Batch(tmp_path, lines)), strict=True):
        assert ran.code == 0, ran.err
        tokens = json.loads(ran.out)["tokens"]
        left = len(choice.ending.encode())
        ending = []
        while left > 0:
            ending.append(tokens.pop())
            left -= len(ending[-1]["bytes"])
        assert left == 0, "lm-eval cut it at a token"
        scored = sum(token["logprob"] for token in ending)
        apart.append(abs(choice.loglikelihood - scored))
        assert choice.greedy == all(token["rank"] == 1 for token in ending)
    figure(f"lm-eval: {len(texts)} log-likelihoods, {max(apart):.1e} from llterm score at the most")
    assert max(apart) <= CLOSE


def test_its_accuracy_is_that_of_llama_cpp_pythons_echo(
    judgement: Judgement, figure: Callable[[str], None]
) -> None:
    """Which takes a prompt as a text only, begins it by itself, and leaves that out of its
    lists."""
    reference = Llama(str(BUNDLED), n_ctx=256, n_threads=1, logits_all=True, verbose=False)
    right, apart = 0, 0.0
    for item, answer in enumerate(judgement.answers):
        values = []
        for choice in judgement.choices:
            if choice.item != item:
                continue
            context = choice.context.removeprefix(BEGINNING)
            echoed: Any = reference.create_completion(
                context + choice.ending, max_tokens=1, temperature=0, logprobs=1, echo=True
            )
            before = len(reference.tokenize(context.encode(), add_bos=False))
            listed = echoed["choices"][0]["logprobs"]["token_logprobs"]
            values.append(sum(listed[before:-1]))
            apart = max(apart, abs(values[-1] - choice.loglikelihood))
        right += values.index(max(values)) == answer
    reference.close()
    accuracy = right / len(judgement.answers)
    figure(
        f"lm-eval: accuracy {judgement.accuracy:.4f} of {len(judgement.answers)} items, by "
        f"llama-cpp-python's echo {accuracy:.4f}; log-likelihoods {apart:.1e} apart at the most"
    )
    assert apart <= CLOSE
    assert judgement.accuracy == pytest.approx(accuracy, abs=1e-9)
