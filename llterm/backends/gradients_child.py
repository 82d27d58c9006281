"""Differentiates a model, in a process of its own whose one argument is a GGUF file.

Reads a question a line from standard input and writes an answer a line, both JSON, until its input
ends. Needs the extra `llterm[gradients]`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

from llterm.core.json_text import json_text

LEAST_STEPS, MOST_STEPS = 32, 512
GAP = 0.02
"""Integrated gradients: good enough when their sum is this close to what it should be."""
BATCH = 2048
"""Tokens a pass, of as many points as that makes."""
LOADED = 0.1
"""The share of the work that loading counts for."""

_out: TextIO = sys.stdout


class GradientModel:
    """A causal language model as a function of its input embeddings."""

    def __init__(self, file: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self._torch = torch
        self._model = AutoModelForCausalLM.from_pretrained(
            str(file.parent), gguf_file=file.name, dtype=torch.float32, local_files_only=True
        ).eval()
        self._model.requires_grad_(requires_grad=False)
        self._embedding = self._model.get_input_embeddings()

    def embed(self, tokens: list[int]) -> Any:
        """What the model takes in place of these ids, shape (tokens, width)."""
        return self._embedding(self._torch.tensor(tokens))

    def mean(self) -> Any:
        """The mean of all tokens' embeddings, as `embed` gives them: shape (width,)."""
        count = self._embedding.weight.shape[0]
        return self._embedding(self._torch.arange(count)).mean(dim=0)

    def logprobs(self, embedded: Any, target: int) -> Any:
        """The target's logprob after each, shape (batch,); of shape (batch, tokens, width)."""
        logits = self._model(inputs_embeds=embedded, use_cache=False).logits[:, -1]
        return self._torch.log_softmax(logits.double(), dim=-1)[:, target]

    def gradient(self, embedded: Any, target: int) -> tuple[Any, Any]:
        """The logprobs and their gradients, shape of `embedded`."""
        embedded = embedded.detach().requires_grad_()
        logprobs = self.logprobs(embedded, target)
        (slope,) = self._torch.autograd.grad(logprobs.sum(), embedded)
        return logprobs.detach(), slope


def answer(model: GradientModel, asked: dict[str, Any]) -> dict[str, Any]:
    """One question: `tokens`, `first`, `target`, `method`."""
    first, target = asked["first"], asked["target"]
    x = model.embed(asked["tokens"])
    if asked["method"] == "integrated-gradients":
        return integrated(model, x, first, target)
    logprobs, slope = model.gradient(x[None], target)
    slope = slope[0, first:]
    values = slope.norm(dim=-1) if asked["method"] == "saliency" else (slope * x[first:]).sum(-1)
    return {"values": values.tolist(), "logprob": float(logprobs)}


def integrated(model: GradientModel, x: Any, first: int, target: int) -> dict[str, Any]:
    """Σ over the width of (x − b) · ∫ ∂ log p(b + α(x − b)) / ∂x dα, α from 0 to 1.

    The baseline b has the mean of all tokens' embeddings in place of every token from `first` on.
    The integral by Gauss and Legendre's rule, with twice the points until the sum of the values is
    log p(x) − log p(b) up to GAP. Source: Sundararajan, Taly and Yan, Axiomatic Attribution for
    Deep Networks (2017).
    """
    base = x.clone()
    base[first:] = model.mean()
    whole = float(model.logprobs(x[None], target))
    wanted = whole - float(model.logprobs(base[None], target))
    steps = LEAST_STEPS
    while True:
        values = (integral(model, x, base, target, steps) * (x - base)).sum(-1)[first:]
        # Of a difference near 0 no share can be said.
        gap = abs(float(values.sum()) - wanted) / max(abs(wanted), 0.1)
        if gap <= GAP or steps >= MOST_STEPS:
            break
        steps *= 2
    return {"values": values.tolist(), "logprob": whole, "gap": gap, "steps": steps}


def integral(model: GradientModel, x: Any, base: Any, target: int, steps: int) -> Any:
    """The mean gradient on the straight way from the baseline, shape of x."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = x * 0
    size = max(BATCH // len(x), 1)
    for start in range(0, steps, size):
        share = x.new_tensor((nodes[start : start + size] + 1) / 2)[:, None, None]
        part = x.new_tensor(weights[start : start + size] / 2)[:, None, None]
        _, slope = model.gradient(base + share * (x - base), target)
        total += (slope * part).sum(0)
        tell({"progress": LOADED + (1 - LOADED) * min((start + size) / steps, 1.0)})
    return total


def tell(line: dict[str, Any]) -> None:
    """Write one line to whoever asked."""
    _out.write(json_text(line) + "\n")
    _out.flush()


def serve(file: Path, questions: SimpleQueue[str]) -> None:
    """Load the model once there is a question, then answer."""
    asked = questions.get()
    tell({"progress": 0.0})
    try:
        model = GradientModel(file)
    except (ValueError, KeyError, NotImplementedError, OSError, RuntimeError) as error:
        hint = "Attention and leaving tokens out work without transformers."
        tell({"error": [f"transformers cannot read {file.name}", str(error)[:300], hint]})
        return
    tell({"progress": LOADED})
    while True:
        tell(answer(model, json.loads(asked)))
        asked = questions.get()


def listen(questions: SimpleQueue[str]) -> None:
    """Take questions; end the process when whoever asks them has gone."""
    with os.fdopen(os.dup(0), encoding="utf-8") as lines:
        for line in lines:
            questions.put(line)
    os._exit(0)


def main() -> None:
    """Answer until the input ends."""
    global _out
    # Libraries print where they like: only answers go to standard output.
    _out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    questions: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=listen, args=(questions,), daemon=True).start()
    serve(Path(sys.argv[1]), questions)
