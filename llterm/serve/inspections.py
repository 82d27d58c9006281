"""`/v1/llterm/preview` and `/step`: what may stand at a place of a text, what the sampler makes of
it, and a token more. Nothing is kept: the whole text comes with each request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from llterm.constraints.compiled import Compiled
from llterm.constraints.compiled import compile as compiled
from llterm.constraints.spec import regex
from llterm.core.display_text import visible
from llterm.core.distribution import Bits, Distribution
from llterm.core.query import Failed, Query
from llterm.core.sampling.candidates import NoCandidateLeft
from llterm.core.sampling.ladder import Ladder
from llterm.core.sampling.sampler_chain import Chain, Choice, Situation
from llterm.core.tokens import Anchor, Path, Tail, text_bytes
from llterm.engine.backend_generator import best_candidates
from llterm.engine.draw import STORY
from llterm.engine.weave import check_constraints
from llterm.errors import CapabilityMissing
from llterm.serve.api_errors import ApiError, bad_field
from llterm.serve.body_constraints import of_structured_outputs, only_one
from llterm.serve.chat_bodies import ChatBody
from llterm.serve.chat_prompts import conversation_of, read_chat
from llterm.serve.generation_fields import stop_texts
from llterm.serve.inspection_bodies import MOST_FORCED
from llterm.serve.legacy_logprobs import sayable, token_text
from llterm.serve.llterm_questions import OwnAnchors
from llterm.serve.request_prompts import check_size, read_prompt
from llterm.serve.request_rules import RequestRules
from llterm.serve.sampler_fields import sampling_of
from llterm.serve.served_models import ServedModel

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TextPlace:
    """A place in a text: its tokens, and those written after them."""

    prompt: Tail
    written: Tail

    @property
    def tokens(self) -> Tail:
        return self.prompt + self.written


async def read_place(body: Any, model: ServedModel) -> TextPlace:
    """What a body says of it. Raises ApiError."""
    if (body.prompt is None) == (body.messages is None):
        raise bad_field("prompt", "There is to be prompt or messages, one of the two")
    if body.messages is not None:
        chat = conversation_of(ChatBody(messages=body.messages))
        prompt = (await read_chat(chat, model)).tokens
    else:
        prompt = (await read_prompt([body.prompt], model)).tokens
    written = model.check_ids(body.completion_ids or (), "completion_ids")
    check_size(len(prompt) + len(written), model, "completion_ids")
    return TextPlace(prompt, written)


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """What is seen at one place."""

    distribution: Distribution
    valid: Bits
    """What the constraint allows, shape (ids,)."""
    choice: Choice | None
    """What is drawn there: with a seed the branch and the place decide, as they do in a drawn text.
    None where nothing may stand there."""

    @property
    def drawn(self) -> int | None:
        return None if self.choice is None else self.choice.id

    @property
    def ladder(self) -> Ladder | None:
        return None if self.choice is None else self.choice.ladder


@dataclass(frozen=True, slots=True, eq=False)
class TextInspection:
    """A request that is understood."""

    body: Any
    model: ServedModel
    place: TextPlace
    chain: Chain
    constraint: Compiled | None
    anchor: Anchor

    async def preview(self) -> Answer:
        """The tokens, and what may follow them. Raises LltermError."""
        place, finish = self.place, self._finish(self.place.written)
        told: dict[str, Any] = {
            "model": self.model.name,
            "prompt_tokens": [shown_token(self.model, id) for id in place.prompt],
            "completion_tokens": [shown_token(self.model, id) for id in place.written],
            "finish": finish,
            "distribution": None,
        }
        if finish is None:
            async with aclosing(self._sights([place.written])) as sights:
                async for _, sight in sights:
                    told["distribution"] = await asyncio.to_thread(self._told, sight, None)
        return told

    async def step(self) -> Answer:
        """A token more, drawn or forced, or a text's. Raises LltermError."""
        written = self.place.written
        if self._finish(written) is not None:
            raise bad_field("completion_ids", "The completion has ended",
                            "Nothing is written after that.")  # fmt: skip
        how, forced = await self._forced()
        tails = [written + forced[:count] for count in range(max(len(forced), 1))]
        appended: dict[int, Answer] = {}
        async with aclosing(self._sights(tails)) as sights:
            async for number, sight in sights:
                id = forced[number] if forced else sight.drawn
                if id is None:
                    break
                if forced and not sight.valid[id]:
                    name = "force_text" if how == "forced_text" else "force_token_id"
                    raise bad_field(name, f"The constraint forbids token {id}")
                told = await asyncio.to_thread(self._told, sight, id)
                appended[number] = {"how": how, **told}
        metas = [appended[number] for number in sorted(appended)]
        written += tuple(meta["token"]["id"] for meta in metas)
        return {
            "model": self.model.name,
            "completion_ids": list(written),
            "text": text_bytes(self.model.vocabulary, written).decode("utf-8", "replace"),
            "appended_meta": metas,
            "finish": self._finish(written) if metas else "stuck",
        }

    async def _forced(self) -> tuple[str, Tail]:
        """How tokens are chosen; those that are forced."""
        body = self.body
        if body.force_token_id is not None and body.force_text is not None:
            raise bad_field("force_text", "force_token_id and force_text do not go together")
        if body.force_token_id is not None:
            return "forced_token", self.model.check_ids([body.force_token_id], "force_token_id")
        if body.force_text is None:
            return "greedy" if self.chain.settings.temperature == 0 else "sampled", ()
        tokens = await self.model.vocabulary.tokenize(body.force_text.encode())
        if not 0 < len(tokens) <= MOST_FORCED:
            raise bad_field("force_text", f"The text has {len(tokens):,} tokens",
                            f"1 to {MOST_FORCED} are forced at once.")  # fmt: skip
        check_size(len(self.place.tokens) + len(tokens), self.model, "force_text")
        return "forced_text", tokens

    async def _sights(self, tails: Sequence[Tail]) -> AsyncGenerator[tuple[int, _Sight]]:
        """What is seen after each, by its number: in any order, and none is kept."""
        queries = [Query(Path(self.anchor, tail), full=True) for tail in tails]
        numbers = {id(query.path): number for number, query in enumerate(queries)}
        async with aclosing(self.model.backend.ask(queries)) as answers:
            async for answer in answers:
                if isinstance(answer, Failed):
                    raise answer.error
                number = numbers[id(answer.path)]
                distribution = answer.distribution
                yield number, await asyncio.to_thread(self._sight, tails[number], distribution)

    def _sight(self, tail: Tail, distribution: Distribution) -> _Sight:
        size = self.model.vocabulary.size
        mask = None if self.constraint is None else self.constraint.mask(tail).allowed
        valid = np.ones(size, np.bool_) if mask is None else mask
        at = self._situation(tail)
        first = self.chain.forced(at, self.constraint, tail) if self.constraint else []
        choice: Choice | None = None
        with suppress(NoCandidateLeft):
            choice = self.chain.draw(
                distribution, at, line=self.body.branch, mask=mask, first=first
            )
        return _Sight(distribution, valid, choice)

    def _situation(self, tail: Tail) -> Situation:
        vocabulary = self.model.vocabulary
        story = text_bytes(vocabulary, self.place.prompt)[-STORY:]
        return Situation(self.place.prompt + tail, story, text_bytes(vocabulary, tail), len(tail))

    def _finish(self, written: Tail) -> str | None:
        """Why nothing follows these; None where something may."""
        vocabulary = self.model.vocabulary
        if written and vocabulary.token(written[-1]).end:
            return "end"
        text = text_bytes(vocabulary, written).decode("utf-8", "replace")
        if any(stop in text for stop in stop_texts(self.body.stop)):
            return "stop"
        return "length" if len(self.place.prompt) + len(written) >= self.model.room else None

    def _told(self, sight: _Sight, chosen: int | None) -> Answer:
        """A distribution, with the token that was chosen."""
        listed = best_candidates(sight.distribution, self.body.top)
        tokens = [self._candidate(sight, id, logprob) for id, logprob in listed]
        ladder, row = sight.ladder, sight.distribution.full
        assert row is not None
        told: dict[str, Any] = {
            "tokens": tokens,
            "rest": {
                "count": len(row) - len(tokens),
                "p_base": max(1 - sum(each["p_base"] for each in tokens), 0.0),
                "p_final": max(float(ladder is not None) - sum(each["p_final"] for each in tokens),
                               0.0),
            },
            "kept": 0 if ladder is None else int(ladder.kept.sum()),
            "valid": int(sight.valid.sum()),
            "entropy": sight.distribution.entropy[0],
        }  # fmt: skip
        if chosen is not None:
            rank = 1 + int((row > row[chosen]).sum())
            chosen_token = self._candidate(sight, chosen, float(row[chosen]))
            told["token"] = {**chosen_token, "rank": rank}
        return told

    def _candidate(self, sight: _Sight, id: int, logprob: float) -> Mapping[str, Any]:
        ladder = sight.ladder
        dropped = "stuck" if ladder is None else ladder.dropped_by[id]
        return {
            **shown_token(self.model, id),
            "logprob": sayable(logprob),
            "p_base": float(np.exp(logprob)),
            "p_final": 0.0 if ladder is None else float(ladder.p_final[id]),
            "kept": ladder is not None and bool(ladder.kept[id]),
            "valid": bool(sight.valid[id]),
            "dropped_by": dropped,
        }


async def plan_inspection(
    body: Any,
    model: ServedModel,
    rules: RequestRules,
    anchors: OwnAnchors,
    whose: str,
    place: TextPlace | None = None,
) -> TextInspection:
    """Read a body whole. `place`: where it is, of a body that does not say so itself.

    Raises LltermError for what cannot be; nothing is evaluated then.
    """
    model.check_predicts()
    if not model.backend.capabilities.full_vocabulary:
        raise CapabilityMissing(
            f"{model.name} does not tell every token's probability",
            "Its server tells those of its best candidates.", "Take a model of a file.",
        )  # fmt: skip
    sampling = await sampling_of(body, rules, model)
    if sampling.settings.mirostat:
        raise ApiError(400, "mirostat is not supported here", "It remembers from token to token.",
                       "Leave it out.", param="mirostat", code="unsupported_parameter")  # fmt: skip
    place = place or await read_place(body, model)
    chain = await model.chains.told(sampling)
    wanted = list(of_structured_outputs(body.structured_outputs))
    if body.regex_pattern is not None:
        wanted.append(("regex_pattern", regex(body.regex_pattern)))
    spec = only_one(wanted)
    constraint: Compiled | None = None
    if spec is not None:
        check_constraints(model.backend)
        constraint = await asyncio.to_thread(compiled, spec, model.vocabulary)
    # What was evaluated of the same text before is not evaluated again.
    anchor = anchors.get(whose, model.name, f"inspection {hash(place.prompt)}", place.prompt)
    return TextInspection(body, model, place, chain, constraint, anchor)


def shown_token(model: ServedModel, id: int) -> Mapping[str, Any]:
    """A token as people see it."""
    token = model.vocabulary.token(id)
    return {
        "id": id,
        "text": token_text(token),
        "display": visible(token.data),
        "special": token.special,
    }
