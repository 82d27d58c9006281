"""Train the model on a packed token stream, by the wall clock, with checkpoints.

The learning rate follows a cosine over the stated number of minutes (or of steps), and the context
grows by stages over the same span. Matrices inside the layers are trained with Muon, the embedding
and the norms with AdamW. A checkpoint is written every few minutes, so a run that was killed goes
on with --resume: the clock runs from the first start, so the end does not move. A moving average of
the weights is kept from the middle of the run on; the final checkpoint says which of the two scored
better on the held-out stream.

Runs on a CUDA device if there is one, else on the CPU. The figures go to log.csv in the output
folder. To change the sizes or the batch, see --help.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from model import ModelConfig, StoryModel
from torch import Tensor, nn

LOG_FIELDS = (
    "step",
    "seconds",
    "tokens",
    "context",
    "lr",
    "train_loss",
    "heldout_nats",
    "heldout_bits_per_byte",
    "ema_bits_per_byte",
)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Return the nearest semi-orthogonal matrices (Newton-Schulz, five steps) of a stack."""
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates; matrices of one shape are handled as one stack."""

    def __init__(
        self, parameters: list[nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        shapes = sorted({tuple(p.shape) for p in parameters})
        groups = [{"params": [p for p in parameters if tuple(p.shape) == s]} for s in shapes]
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update all matrices from their gradients."""
        for group in self.param_groups:
            parameters: list[nn.Parameter] = group["params"]
            gradients = torch.stack([p.grad for p in parameters])
            state = self.state[parameters[0]]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(gradients)
            momentum: Tensor = state["momentum"]
            momentum.lerp_(gradients, 1 - group["momentum"])
            updates = orthogonalise(gradients.lerp_(momentum, group["momentum"]))
            rows, columns = parameters[0].shape
            scale = group["lr"] * max(1.0, rows / columns) ** 0.5
            for parameter, update in zip(parameters, updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-scale)


class Windows:
    """Endless shuffled windows over a token stream, every token once per pass; resumable."""

    def __init__(self, stream: np.ndarray, seed: int) -> None:
        self.stream = stream
        self.seed = seed
        self.epoch = 0
        self.context = 0
        self.position = 0
        self.starts = np.zeros(0, dtype=np.int64)

    def shuffle(self) -> None:
        """Draw the order (and the offset) of the windows of the current pass."""
        chooser = np.random.default_rng((self.seed, self.epoch, self.context))
        offset = int(chooser.integers(self.context))
        self.starts = np.arange(offset, len(self.stream) - self.context - 1, self.context)
        chooser.shuffle(self.starts)

    def batch(self, count: int, context: int) -> tuple[Tensor, Tensor]:
        """Return the next `count` windows of `context` tokens, and their next tokens."""
        if context != self.context or self.position + count > len(self.starts):
            self.epoch += 1
            self.context = context
            self.position = 0
            self.shuffle()
        starts = self.starts[self.position : self.position + count]
        self.position += count
        rows = np.stack([self.stream[s : s + context + 1] for s in starts]).astype(np.int64)
        tokens = torch.from_numpy(rows)
        return tokens[:, :-1], tokens[:, 1:]

    def state(self) -> dict[str, int]:
        """Return what `restore` needs."""
        return {"epoch": self.epoch, "context": self.context, "position": self.position}

    def restore(self, state: dict[str, int]) -> None:
        """Go on where `state` was taken."""
        self.epoch, self.context = state["epoch"], state["context"]
        self.position = state["position"]
        if self.context:
            self.shuffle()


def heldout_windows(
    stream: np.ndarray, context: int, every: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every `every`-th window of the held-out stream with its next tokens."""
    for start in range(0, len(stream) - 1, context * every):
        row = torch.from_numpy(stream[start : start + context + 1].astype(np.int64))
        yield row[None, :-1], row[None, 1:]


@torch.no_grad()
def heldout_loss(
    model: StoryModel, stream: np.ndarray, context: int, every: int, device: torch.device
) -> float:
    """Return the mean held-out loss in nats per token over every `every`-th window."""
    model.eval()
    total, count = 0.0, 0
    for tokens, targets in heldout_windows(stream, context, every):
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = model.loss(tokens.to(device), targets.to(device))
        total += loss.item() * targets.numel()
        count += targets.numel()
    model.train()
    return total / count


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Write `state` so that `path` is always a complete checkpoint."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def parse_stages(text: str) -> list[tuple[float, int]]:
    """Turn "512:0,1024:0.8" into [(0.0, 512), (0.8, 1024)]."""
    stages = [(float(part.split(":")[1]), int(part.split(":")[0])) for part in text.split(",")]
    return sorted(stages)


def context_at(stages: list[tuple[float, int]], progress: float) -> int:
    """Return the context length of the stage that `progress` (0 to 1) is in."""
    return [context for start, context in stages if progress >= start][-1]


def learning_rate_factor(step: int, warmup: int, progress: float, floor: float) -> float:
    """Return the factor on all learning rates: linear warm-up, then cosine down to `floor`."""
    cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return min(1.0, (step + 1) / warmup) * cosine


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    defaults = ModelConfig()
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("train", type=Path, help="packed training stream from pack.py")
    add("heldout", type=Path, help="packed held-out stream from pack.py, never trained on")
    add("out", type=Path, help="folder for checkpoint.pt and log.csv")
    add("--resume", action="store_true", help="go on from checkpoint.pt in the output folder")
    add("--minutes", type=float, default=120.0, help="length of the run by the wall clock")
    add("--steps", type=int, help="length of the run in steps, instead of --minutes")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--threads", type=int, default=2, help="CPU threads")
    add("--no-compile", action="store_true", help="do without torch.compile")
    add("--seed", type=int, default=1)
    add("--layers", type=int, default=defaults.layers)
    add("--width", type=int, default=defaults.width)
    add("--heads", type=int, default=defaults.heads)
    add("--kv-heads", type=int, default=defaults.kv_heads)
    add("--feed-forward", type=int, default=defaults.feed_forward)
    add("--dropout", type=float, default=0.0, help="wanted from about four passes on")
    add("--batch-tokens", type=int, default=4096, help="tokens in one step")
    add("--stages", default="512:0,1024:0.8,2048:0.93", help="context:share of the run, ...")
    add("--muon-lr", type=float, default=0.02)
    add("--muon-momentum", type=float, default=0.95)
    add("--weight-decay", type=float, default=0.05, help="of the matrices under Muon")
    add("--embedding-lr", type=float, default=4e-3)
    add("--norm-lr", type=float, default=3e-3)
    add("--warmup", type=int, default=40, help="warm-up steps")
    add("--floor", type=float, default=0.01, help="last learning rate as a share of the first")
    add("--ema", type=float, default=0.995, help="decay of the moving average per step")
    add("--ema-from", type=float, default=0.5, help="share of the run where the average begins")
    add("--eval-steps", type=int, default=200, help="steps between held-out readings")
    add("--eval-every", type=int, default=6, help="a reading takes every n-th held-out window")
    add("--checkpoint-minutes", type=float, default=3.0)
    return parser.parse_args()


class Trainer:
    """One training run: model, optimisers, data and the clock."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        name = args.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(name)
        torch.set_num_threads(args.threads)
        torch.manual_seed(args.seed)
        torch.set_float32_matmul_precision("high")
        self.stages = parse_stages(args.stages)

        self.heldout = np.fromfile(args.heldout, dtype=np.uint16)
        counts = json.loads(args.heldout.with_suffix(".json").read_text(encoding="utf-8"))
        self.bits_per_nat = counts["tokens"] / counts["bytes"] / math.log(2)
        self.windows = Windows(np.fromfile(args.train, dtype=np.uint16), args.seed)

        vocab = int(self.windows.stream.max()) + 1
        config = ModelConfig(
            vocab=-(-vocab // 256) * 256,
            width=args.width,
            layers=args.layers,
            heads=args.heads,
            kv_heads=args.kv_heads,
            feed_forward=args.feed_forward,
            dropout=args.dropout,
        )
        self.model = StoryModel(config).to(self.device)
        self.ema: StoryModel | None = None
        matrices = [p for p in self.model.blocks.parameters() if p.ndim == 2]
        norms = [p for p in self.model.parameters() if p.ndim == 1]
        adam_groups = [
            {"params": [self.model.embedding.weight], "lr": args.embedding_lr},
            {"params": norms, "lr": args.norm_lr},
        ]
        self.optimisers = [
            Muon(matrices, args.muon_lr, args.muon_momentum, args.weight_decay),
            torch.optim.AdamW(adam_groups, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        ]
        for group in (g for optimiser in self.optimisers for g in optimiser.param_groups):
            group["first_lr"] = group["lr"]
        self.loss = self.model.loss
        if not args.no_compile:
            self.loss = torch.compile(self.model.loss, dynamic=False)

        self.step = 0
        self.tokens = 0
        self.started = time.time()
        args.out.mkdir(parents=True, exist_ok=True)
        self.checkpoint = args.out / "checkpoint.pt"
        self.log = args.out / "log.csv"
        if args.resume:
            self.restore()
        else:
            with self.log.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(LOG_FIELDS)

    def restore(self) -> None:
        """Take everything up from the checkpoint."""
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        if state["ema"] is not None:
            self.ema = copy.deepcopy(self.model)
            self.ema.load_state_dict(state["ema"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.windows.restore(state["windows"])
        self.step, self.tokens = state["step"], state["tokens"]
        self.started = state["started"]
        torch.set_rng_state(state["random"].cpu())

    def save(self, path: Path, best: str = "model") -> None:
        """Write a checkpoint; `best` names the weights that an export should take."""
        state = {
            "config": asdict(self.model.config),
            "best": best,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "windows": self.windows.state(),
            "step": self.step,
            "tokens": self.tokens,
            "started": self.started,
            "random": torch.get_rng_state(),
        }
        save_atomically(state, path)

    def progress(self) -> float:
        """Return how much of the run is over, 0 to 1."""
        if self.args.steps:
            return self.step / self.args.steps
        return (time.time() - self.started) / (60 * self.args.minutes)

    def train_step(self, context: int, progress: float) -> Tensor:
        """Do one optimiser step and return its loss."""
        args = self.args
        factor = learning_rate_factor(self.step, args.warmup, progress, args.floor)
        tokens, targets = self.windows.batch(args.batch_tokens // context, context)
        autocast = torch.autocast(self.device.type, dtype=torch.bfloat16)
        with autocast:
            loss = self.loss(tokens.to(self.device), targets.to(self.device))
        loss.backward()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = factor * group["first_lr"]
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += tokens.numel()
        self.average(progress)
        return loss.detach()

    @torch.no_grad()
    def average(self, progress: float) -> None:
        """Move the averaged weights towards the current ones."""
        if self.ema is None:
            if progress >= self.args.ema_from:
                self.ema = copy.deepcopy(self.model)
            return
        for mean, parameter in zip(self.ema.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(parameter, 1 - self.args.ema)

    def evaluate(self, context: int, every: int) -> tuple[float, float | None]:
        """Return held-out nats per token of the model and of the averaged weights."""
        nats = heldout_loss(self.model, self.heldout, context, every, self.device)
        if self.ema is None:
            return nats, None
        return nats, heldout_loss(self.ema, self.heldout, context, every, self.device)

    def report(self, context: int, train_loss: float, nats: float, ema: float | None) -> None:
        """Append one line to the log and print it."""
        row = [
            self.step,
            round(time.time() - self.started),
            self.tokens,
            context,
            f"{self.optimisers[0].param_groups[0]['lr']:.5f}",
            f"{train_loss:.4f}",
            f"{nats:.4f}",
            f"{nats * self.bits_per_nat:.4f}",
            "" if ema is None else f"{ema * self.bits_per_nat:.4f}",
        ]
        with self.log.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)
        print(" ".join(f"{k}={v}" for k, v in zip(LOG_FIELDS, row, strict=True)), flush=True)

    def run(self) -> None:
        """Train to the end of the schedule, then judge on the whole held-out stream."""
        args = self.args
        losses: list[Tensor] = []
        last_save = time.time()
        context = context_at(self.stages, self.progress())
        while (progress := self.progress()) < 1:
            context = context_at(self.stages, progress)
            losses.append(self.train_step(context, progress))
            if self.step % args.eval_steps == 0:
                mean = torch.stack(losses).mean().item()
                losses.clear()
                self.report(context, mean, *self.evaluate(context, args.eval_every))
            if time.time() - last_save > 60 * args.checkpoint_minutes:
                self.save(self.checkpoint)
                last_save = time.time()
        self.save(self.checkpoint)
        mean = torch.stack(losses).mean().item() if losses else math.nan
        nats, ema = self.evaluate(context, 1)
        self.report(context, mean, nats, ema)
        self.save(self.checkpoint, "ema" if ema is not None and ema < nats else "model")


def main() -> None:
    """Train."""
    Trainer(parse_arguments()).run()


if __name__ == "__main__":
    main()
