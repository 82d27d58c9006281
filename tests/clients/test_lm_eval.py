"""lm-eval's `local-completions` on a task of this folder, with no network: its log-likelihoods are
those of `llterm score`, its accuracy is what llama-cpp-python's `echo` gives, and what it finds of
each item is what `/v1/llterm/classify` says with canonical spellings."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
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
NORMALIZED = {
    "acc": "none", "acc_norm": "bytes", "acc_bytes": "bytes", "acc_mutual_info": "pmi",
}  # fmt: skip
"""lm-eval's metrics, and what llterm calls the scores that they compare; acc_norm divides by
characters, and the endings here are ASCII."""
CLOSE = 2e-3
"""What rounding may do to a log-likelihood."""
PARTED = 5e-3
"""And where one side has its rows in slots, the other in a pool: docs/performance.md."""


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
    unconditional: Sequence[float]
    """The log-likelihood of every choice after nothing."""
    right: Mapping[str, Sequence[bool]]
    """Of each item, by metric, whether lm-eval finds its answer right."""


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
    asked = [
        JudgedChoice(place, asked["arg_0"], asked["arg_1"], float(value), greedy == "True")
        for place, item in enumerate(items)
        for asked, ((value, greedy),) in zip(item["arguments"].values(), item["resps"], strict=True)
    ]
    choices = [choice for choice in asked if choice.context]
    unconditional = [choice.loglikelihood for choice in asked if not choice.context]
    right = {metric: [item[metric] == 1.0 for item in items] for metric in NORMALIZED}
    accuracy = json.loads(results.read_text())["results"][TASK]["acc,none"]
    answers = [item["doc"]["answer"] for item in items]
    return Judgement(accuracy, choices, answers, unconditional, right)


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


def test_each_items_verdict_is_that_of_llterm_classify(
    judgement: Judgement, program: ServedProgram, figure: Callable[[str], None]
) -> None:
    assert len(judgement.unconditional) == len(judgement.choices)
    apart: list[float] = []
    ratios: list[float] = []
    for item, answer in enumerate(judgement.answers):
        places = [n for n, choice in enumerate(judgement.choices) if choice.item == item]
        own = [judgement.choices[n] for n in places]
        body = {
            "text": own[0].context.removeprefix(BEGINNING),
            "labels": [choice.ending.removeprefix(" ") for choice in own],
            "spellings": "canonical",
        }
        for metric, normalize in NORMALIZED.items():
            reply = httpx2.post(
                f"{program.address}/v1/llterm/classify", json={**body, "normalize": normalize}
            )
            (text,) = reply.raise_for_status().json()["texts"]
            (verdict,) = text["answers"]
            (chosen,) = verdict["chosen"]
            assert (body["labels"].index(chosen) == answer) == judgement.right[metric][item]
            for n, choice, label in zip(places, own, verdict["labels"], strict=True):
                apart.append(abs(label["logprob"] - choice.loglikelihood))
                if normalize == "pmi":
                    # Shares are the softmax of what is compared, so their ratio tells it.
                    first = verdict["labels"][0]
                    score = choice.loglikelihood - judgement.unconditional[n]
                    least = own[0].loglikelihood - judgement.unconditional[places[0]]
                    ratio = math.log(label["p"]) - math.log(first["p"])
                    ratios.append(abs(ratio - (score - least)))
    means = {metric: sum(right) / len(right) for metric, right in judgement.right.items()}
    figure(
        f"lm-eval: {means} as llterm classify says of each of {len(judgement.answers)} items;"
        f" log-likelihoods {max(apart):.1e} apart at the most"
    )
    assert max(apart) <= PARTED
    assert max(ratios) <= 4 * PARTED, "each is made of four of them"
