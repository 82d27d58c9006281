"""The sampler stages: each says which of the candidates it keeps, and their logits.

Every stage equals the sampler of its name in llama.cpp (src/llama-sampler.cpp) with min_keep 0 or
1, which are the same there. Sums run in float64 where llama.cpp's run in float32, and ties break by
ascending id where llama.cpp's sort leaves them open.
"""

from __future__ import annotations

import math

import numpy as np

from llterm.core.distribution import Ids, Reals
from llterm.core.sampling.dry import dry
from llterm.core.sampling.mirostat import mirostat_1, mirostat_2
from llterm.core.sampling.sampler_settings import SamplerSettings
from llterm.core.sampling.stage_types import (
    Position,
    Stage,
    StageResult,
    keep_all,
    keep_best,
    log_softmax,
    looked_up,
    marked,
    ranked,
    values_of,
)

# The least that float32, llama.cpp's type, tells well from 0; dividing by less overflows even here.
_COLDEST = 1e-38


def active_stages(settings: SamplerSettings) -> list[tuple[str, Stage]]:
    """The stages that can change something, by name, in the order they run; all but constraints."""
    stages: list[tuple[str, Stage]] = []
    if settings.logit_bias:
        stages.append(("logit_bias", _logit_bias))
    if settings.banned:
        stages.append(("ban", _ban))
    if settings.mirostat:
        # llama.cpp's chain (common/sampling.cpp) is then bias, temperature and mirostat: no
        # penalties and no dynamic temperature.
        if settings.temperature != 1:
            stages.append(("temperature", _fixed_temperature))
        stages.append(("mirostat", mirostat_1 if settings.mirostat == 1 else mirostat_2))
        return stages
    active = _active(settings)
    return stages + [(name, _ORDERED[name]) for name in settings.order if active[name]]


def fixed_temperature(settings: SamplerSettings) -> float | None:
    """What the temperature stage divides every logit by; 0 where it keeps the best one instead,
    None where it moves with the entropy."""
    if settings.dynatemp_range > 0 and not settings.mirostat:
        return None
    return settings.temperature if settings.temperature > _COLDEST else 0.0


def _active(settings: SamplerSettings) -> dict[str, bool]:
    s = settings
    penalised = s.repeat_penalty != 1 or s.frequency_penalty != 0 or s.presence_penalty != 0
    return {
        "penalties": penalised and s.penalty_last_n != 0,
        "dry": s.dry_multiplier != 0 and s.dry_base >= 1 and s.dry_penalty_last_n != 0,
        "top_n_sigma": s.top_n_sigma > 0,
        "top_k": s.top_k > 0,
        "typical_p": s.typical_p < 1,
        "top_p": s.top_p < 1,
        "min_p": s.min_p > 0,
        "xtc": s.xtc_probability > 0 and s.xtc_threshold <= 0.5,
        "temperature": s.temperature != 1 or s.dynatemp_range > 0,
    }


def _logit_bias(
    settings: SamplerSettings, ids: Ids, logits: Reals, position: Position
) -> StageResult:
    biased = logits + looked_up(dict(settings.logit_bias), ids)
    return StageResult(biased, biased > -math.inf)


def _ban(settings: SamplerSettings, ids: Ids, logits: Reals, position: Position) -> StageResult:
    return StageResult(logits, ~np.isin(ids, settings.banned))


def _penalties(
    settings: SamplerSettings, ids: Ids, logits: Reals, position: Position
) -> StageResult:
    seen, times = position.counts(settings.penalty_last_n)
    counts = values_of(seen, times.astype(np.float64), ids)
    # Dividing a negative logit would make its token likelier: those are multiplied.
    repeat = settings.repeat_penalty
    repeated = np.where(logits <= 0, logits * repeat, logits / repeat)
    taken = counts * settings.frequency_penalty + settings.presence_penalty
    return keep_all(np.where(counts > 0, repeated - taken, logits))


def _top_n_sigma(
    settings: SamplerSettings, ids: Ids, logits: Reals, position: Position
) -> StageResult:
    return StageResult(logits, logits >= logits.max() - settings.top_n_sigma * logits.std())


def _top_k(settings: SamplerSettings, ids: Ids, logits: Reals, position: Position) -> StageResult:
    return keep_best(ids, logits, settings.top_k)


def _typical_p(
    settings: SamplerSettings, ids: Ids, logits: Reals, position: Position
) -> StageResult:
    logprobs = log_softmax(logits)
    p = np.exp(logprobs)
    entropy = -(p @ logprobs)
    order = np.lexsort((ids, -logits, np.abs(-logprobs - entropy)))
    crossing = int(np.searchsorted(np.cumsum(p[order]), settings.typical_p, side="right"))
    return StageResult(logits, marked(order[: crossing + 1], len(ids)))


def _top_p(settings: SamplerSettings, ids: Ids, logits: Reals, position: Position) -> StageResult:
    p = np.exp(log_softmax(logits))
    # Candidates this rare have less than 1 - top_p together: the rest crosses it. Spares sorting.
    # Of equal ones rounding may leave each below its share.
    likely = np.flatnonzero(p >= min((1 - settings.top_p) / len(p), p.max()))
    order = likely[ranked(ids[likely], logits[likely])]
    mass = np.cumsum(p[order])
    # llama.cpp's rule: the candidate whose mass reaches top_p is kept. The system the presets come
    # from drops it.
    crossing = int(np.searchsorted(mass, settings.top_p, side="left"))
    return StageResult(logits, marked(order[: crossing + 1], len(ids)))


def _min_p(settings: SamplerSettings, ids: Ids, logits: Reals, position: Position) -> StageResult:
    return StageResult(logits, logits >= logits.max() + math.log(settings.min_p))


def _xtc(settings: SamplerSettings, ids: Ids, logits: Reals, position: Position) -> StageResult:
    if len(ids) < 2 or position.chance() > settings.xtc_probability:
        return keep_all(logits)
    above = int(np.count_nonzero(np.exp(log_softmax(logits)) >= settings.xtc_threshold))
    # Of those above the threshold only the least probable stays.
    return StageResult(logits, ~marked(ranked(ids, logits)[: max(above - 1, 0)], len(ids)))


def _temperature(
    settings: SamplerSettings, ids: Ids, logits: Reals, position: Position
) -> StageResult:
    if settings.dynatemp_range <= 0:
        return _fixed_temperature(settings, ids, logits, position)
    if len(ids) < 2:
        return keep_all(logits)
    logprobs = log_softmax(logits)
    # Rounding may leave the entropy a hair outside 0 to 1 of the most there can be.
    entropy = -float(np.exp(logprobs) @ logprobs) / math.log(len(ids))
    low = max(0.0, settings.temperature - settings.dynatemp_range)
    high = settings.temperature + settings.dynatemp_range
    share = float(min(max(entropy, 0.0), 1.0) ** settings.dynatemp_exponent)
    return _tempered(ids, logits, low + (high - low) * share)


def _fixed_temperature(
    settings: SamplerSettings, ids: Ids, logits: Reals, position: Position
) -> StageResult:
    return _tempered(ids, logits, settings.temperature)


def _tempered(ids: Ids, logits: Reals, temperature: float) -> StageResult:
    return keep_all(logits / temperature) if temperature > _COLDEST else keep_best(ids, logits)


_ORDERED: dict[str, Stage] = {
    "penalties": _penalties,
    "dry": dry,
    "top_n_sigma": _top_n_sigma,
    "top_k": _top_k,
    "typical_p": _typical_p,
    "top_p": _top_p,
    "min_p": _min_p,
    "xtc": _xtc,
    "temperature": _temperature,
}
