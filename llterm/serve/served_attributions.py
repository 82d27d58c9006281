"""`/v1/llterm/attribution`: what led to a token; `/v1/llterm/status`: what can be asked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from llterm.backends.gradients_process import check_installed
from llterm.core.attribution import Attribution, Question
from llterm.core.attribution_methods import METHODS, AttributionSettings, Family
from llterm.engine.attribute import Attributions
from llterm.engine.generation import Busy
from llterm.errors import CapabilityMissing, LltermError, UsageError
from llterm.serve.api_errors import bad_field
from llterm.serve.inspection_bodies import MethodFields
from llterm.serve.inspections import TextPlace, read_place, shown_token
from llterm.serve.legacy_logprobs import sayable
from llterm.serve.model_pool import ModelPool
from llterm.serve.pooled_model import PooledModel
from llterm.serve.request_rules import RequestRules
from llterm.serve.served_models import ServedModel
from llterm.version import __version__

log = logging.getLogger(__name__)

Answer = Mapping[str, Any]
_OTHERS = "Attention and leaving tokens out work without them."


class ServedAttributions:
    """What is computed of gradients: one at a time, for each loads its model again."""

    def __init__(self) -> None:
        self._differentiating = False

    async def answer(
        self, body: MethodFields, model: ServedModel, text: TextPlace | None = None
    ) -> Answer:
        """Each token's value. `text`: where it is, of a body that does not say so itself. Raises
        LltermError."""
        model.check_predicts()
        question, place = await _question(body, model, text)
        how = AttributionSettings(body.method, body.layer, body.last, body.limit)
        if METHODS[body.method] == "gradient":
            told = await self._differentiated(model, question, how)
        else:
            told = await _attributed(model, question, how)
        heat = told.heat
        return {
            "model": model.name,
            "method": body.method,
            "title": how.title,
            "target": {"index": place, **shown_token(model, question.target)},
            "tokens": [
                {
                    "index": told.first + number,
                    **shown_token(model, question.tokens[told.first + number]),
                    "value": float(value),
                    "heat": float(heat[number]),
                }
                for number, value in enumerate(told.values)
            ],
            "elsewhere": told.elsewhere,
            "logprob": None if told.logprob is None else sayable(told.logprob),
            "layers": list(told.layers),
            "gap": told.gap,
            "notes": list(told.notes),
        }

    async def _differentiated(
        self, model: ServedModel, question: Question, how: AttributionSettings
    ) -> Attribution:
        if not _gradients_installed():
            raise CapabilityMissing(
                "Gradients need an extra that is not installed",
                "The server's llterm lacks llterm[gradients].",
                _OTHERS,
            )
        if self._differentiating:
            raise Busy("Gradients are computed already", "Each time a model is loaded again.",
                       "Ask again later.")  # fmt: skip
        self._differentiating = True
        try:
            return await _attributed(model, question, how)
        except UsageError:
            raise
        except LltermError as error:
            # Its words may name a file of this machine.
            log.error("gradients of %s: %s", model.name, error)
            raise CapabilityMissing(f"{model.name} has no gradients here",
                                    "The server's log says why.", _OTHERS) from error  # fmt: skip
        finally:
            self._differentiating = False


async def _attributed(
    model: ServedModel, question: Question, how: AttributionSettings
) -> Attribution:
    attributions = Attributions(model.backend, question)
    try:
        attributions.price(how)
        return await attributions.ask(how)
    finally:
        await attributions.close()


async def _question(
    body: MethodFields, model: ServedModel, text: TextPlace | None
) -> tuple[Question, int]:
    """What is asked; and the index of the token among all."""
    place = text or await read_place(body, model)
    count = len(place.written)
    at = body.target_index
    if at is None:
        at = count if body.target_token_id is not None or not count else count - 1
    if at > count:
        raise bad_field("target_index", f"There is no token {at}",
                        f"completion_ids has {count:,} of them.")  # fmt: skip
    if body.target_token_id is not None:
        (target,) = model.check_ids([body.target_token_id], "target_token_id")
    elif at < count:
        target = place.written[at]
    else:
        raise bad_field("target_token_id", "Nothing stands there yet",
                        "It is the place after completion_ids.", "Name a token.")  # fmt: skip
    before = place.prompt + place.written[:at]
    prefix = model.vocabulary.prefix
    head = len(prefix) if before[: len(prefix)] == prefix else 0
    return Question(before, head, target), len(before)


def server_status(pool: ModelPool, rules: RequestRules) -> Answer:
    """The models, and what each that is loaded can be asked."""
    return {
        "version": __version__,
        "preset": rules.preset,
        "presets": sorted(rules.presets),
        "models": [_status(model) for model in pool.models],
    }


def _status(pooled: PooledModel) -> Answer:
    told = {"name": pooled.name, "state": pooled.state, "requests": pooled.requests}
    if not pooled.replicas:
        return told
    model = pooled.replicas[0].model
    capabilities = model.backend.capabilities
    return {
        **told,
        "kind": model.kind,
        "context": model.room,
        "vocabulary": model.vocabulary.size,
        "chat_template": model.chats.known and model.predicts,
        "distributions": model.predicts and capabilities.full_vocabulary,
        "constraints": model.predicts and capabilities.masks,
        "embeddings": capabilities.embeddings,
        "attribution": _methods(model),
        "kernels": capabilities.kernel_kind,
    }


def _methods(model: ServedModel) -> Sequence[str]:
    """The ways by which it can be asked what led to a token."""
    capabilities = model.backend.capabilities
    can: dict[Family, bool] = {
        "attention": capabilities.attention,
        "omission": model.predicts and capabilities.full_vocabulary,
        "gradient": capabilities.weights is not None and _gradients_installed(),
    }
    return [method for method, family in METHODS.items() if can[family]]


def _gradients_installed() -> bool:
    try:
        check_installed()
    except CapabilityMissing:
        return False
    return True
