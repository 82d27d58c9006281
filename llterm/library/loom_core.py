"""A loom that is open, for both faces: what its nodes are asked and told. All on one thread."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from llterm.config.sampling_values import all_changed
from llterm.constraints.compiled import compile
from llterm.constraints.spec import Constraint, read_constraint
from llterm.core.chat_messages import Chat, chat_draft, chat_text, read_chat
from llterm.core.loom_tree import PERSON, ROOT
from llterm.core.sampling.sampler_chain import Chains
from llterm.core.sampling.sampler_settings import PRESETS, Sampling
from llterm.core.tokens import Tail, draft_tokens
from llterm.engine.prompt_heads import opened_chat
from llterm.engine.weave import check_constraints
from llterm.errors import LltermError, UsageError
from llterm.jobs.request import Request
from llterm.library.call_settings import (
    DrawSettings,
    check_names,
    constraint_of,
    data_of,
    sampler_values,
)
from llterm.library.model_core import ModelCore
from llterm.session.document import Document
from llterm.session.growth import Growth, GrowthRules, check_open
from llterm.store.stored_settings import read_sampling

T = TypeVar("T")

PROMPT, RESPONSE = "Prompt: ", "\n\nResponse:\n\n"
"""What is shown around what a person says to a chat model, as N8Loom shows it."""


@dataclass(frozen=True, slots=True)
class GrownToken:
    """The next token of one of the children that grow side by side."""

    parent: int
    """Id of the node that it grows from."""
    number: int
    """Which of its children, from 0."""
    data: bytes
    """What it adds to the text."""
    logprob: float
    """Natural, of the raw model."""
    finish: str | None
    """Why the child ends with it; None where it goes on."""

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")

    @property
    def p(self) -> float:
        return math.exp(self.logprob)


@dataclass(frozen=True, slots=True)
class GrownNodes:
    """What came of a growth."""

    nodes: Mapping[int, Sequence[int]]
    """Ids of the children that each node got. One that ended with its first token has no text and
    is no node: there may be fewer than were asked for."""
    errors: Mapping[int, LltermError]
    """Why a node could not be grown from, or not as far as it was asked."""


class LoomCore:
    """A document, and the model that goes on with it."""

    def __init__(self, model: ModelCore, document: Document, opened: Tail, shown: bytes) -> None:
        """`opened`, `shown`: a chat at the root as the model reads it, tokens and text."""
        self.model = model
        self.document = document
        self.closed = False
        self._opened = opened
        self._shown = shown
        children = document.loom.children.get(ROOT, [])
        alone = len(children) == 1 and not self.chat
        self.root: int = children[0] if alone else ROOT
        """The node that everything hangs under: the beginning, where there is one."""

    @classmethod
    async def create(
        cls, model: ModelCore, text: str, chat: Chat | None, prefix: str, path: Path | None
    ) -> LoomCore:
        """A new loom, kept in a file where there is a path. Raises UsageError where that exists."""
        opened, shown = await _chat_root(model, chat or Chat())
        document = Document.scratch(data_of(text), model.config.weave)
        document.chat = chat_text(chat) if chat is not None else ""
        document.prefix = prefix
        return cls(model, document if path is None else _saved(document, path), opened, shown)

    @classmethod
    async def open(cls, model: ModelCore, path: Path) -> LoomCore:
        """An existing one. Raises UsageError where there is none, or it is damaged."""
        document = _opened(path)
        try:
            opened, shown = await _chat_root(model, read_chat(document.chat))
        except BaseException:
            document.close()
            raise
        return cls(model, document, opened, shown)

    @property
    def chat(self) -> Chat:
        """What the loom is a reply to; empty where it is none."""
        return read_chat(self.document.chat)

    # --- nodes as they are

    def check_open(self) -> None:
        """Raise UsageError once it was closed: what is written then would be kept nowhere."""
        if self.closed:
            raise UsageError("This loom is closed", "", "Open it again.")

    def close(self) -> None:
        """Write what is not written yet, and give its file free. May be called again."""
        if not self.closed:
            self.closed = True
            self.document.close()

    def held(self, id: int) -> int:
        """The id, of a node that is there. Raises UsageError."""
        self.check_open()
        if not self.document.loom.holds(id):
            raise UsageError("That branch is not there", "It was undone or deleted.", "Undo that.")
        return id

    def data(self, id: int) -> bytes:
        """A node's own text."""
        if self.held(id) == ROOT:
            return self._shown
        return self.document.loom.data(self.document.loom.nodes[id])

    def shown(self, id: int) -> str:
        """The same as it is shown: of a chat's root what the person said."""
        if id == ROOT and self.chat:
            return PROMPT + self.chat.message + RESPONSE
        return self.data(id).decode("utf-8", "replace")

    def path(self, id: int) -> list[int]:
        """The nodes from the root to this one."""
        self.held(id)
        above = [node.id for node in self.document.loom.path(id)]
        if self.root == ROOT:
            return [ROOT, *above]
        return above[above.index(self.root) :] if self.root in above else above

    def leaves(self, ids: Sequence[int]) -> list[int]:
        """The nodes below these, or these themselves, that have no children, each once."""
        loom, found = self.document.loom, dict[int, None]()
        for id in ids:
            if loom.holds(id):
                found.update((one, None) for one in loom.below(id) if not loom.children.get(one))
        return list(found)

    def ended(self, id: int) -> bool:
        """Whether the model ended its text with this node."""
        return self.held(id) != ROOT and self.document.branches.ended(id)

    def author(self, id: int) -> str:
        """`person`, or the model's name."""
        if self.held(id) == ROOT:
            return PERSON
        return self.document.loom.pieces[self.document.loom.nodes[id].piece].author

    def logprobs(self, id: int) -> list[float] | None:
        """Those of a node's tokens, at birth; None where no model made all of it."""
        if self.held(id) == ROOT:
            return None
        loom = self.document.loom
        logprobs = [span.logprob for span in loom.spans(loom.nodes[id]) if span.data]
        known = [logprob for logprob in logprobs if logprob is not None]
        return known if len(known) == len(logprobs) else None

    async def tokens(self, id: int) -> list[tuple[int, bytes]]:
        """A node's own tokens, and what each adds: a model's as they were drawn, less those that
        only write the end of the text before again; a person's text as the model reads it alone."""
        if self.held(id) == ROOT:
            return [(token, b"") for token in self._opened]
        loom, vocabulary = self.document.loom, self.model.backend.vocabulary
        told: list[tuple[int, bytes]] = []
        for span in list(loom.spans(loom.nodes[id])):
            piece, index = span.piece, span.index
            if not span.data:
                continue
            if index is not None and piece.ids and piece.fingerprint == vocabulary.fingerprint:
                told.append((piece.ids[index], span.data))
            else:
                ids = await self.model.work.run(vocabulary.tokenize(span.data))
                told += [(token, vocabulary.token(token).data) for token in ids]
        return told

    async def prompt_tokens(self, id: int) -> Tail:
        """What the model reads before it goes on from a node, as much as it sees."""
        return await self.model.prompt(self.request(id))

    # --- nodes as they become

    async def clip(self, id: int, count: int) -> None:
        """Keep a node's first tokens; of a count below 0, all but so many at its end. What is cut
        off goes with all below the node. Raises UsageError where nothing would stay."""
        self._own(id)
        tokens = await self.tokens(id)
        kept = len(tokens) + count if count < 0 else count
        if kept >= len(tokens):
            return
        size = sum(len(data) for _, data in tokens[: max(kept, 0)])
        if not size:
            raise UsageError(
                "A node has text", f"It has {len(tokens)} tokens, and none would stay.",
                "Delete it, or keep one.",
            )  # fmt: skip
        self.document.branches.clip(id, size)

    def delete(self, id: int) -> None:
        """Delete a node with all below it."""
        self._own(id)
        self.document.branches.delete(id)

    def move(self, id: int, parent: int) -> None:
        """Hang a node with all below it under another one, also one that was deleted."""
        if id == self.root:
            raise _root_stays()
        self.document.branches.move(id, parent)

    def _own(self, id: int) -> None:
        if self.held(id) in (self.root, ROOT):
            raise _root_stays()

    # --- what the model does with them

    def request(self, id: int) -> Request:
        """What is asked of the model at a node, under the loom's own settings."""
        document = self.document
        config = replace(self.model.config, weave=document.rules, sampling=self._sampling())
        return replace(
            self.model.request(document.loom.text(self.held(id)), None),
            config=config,
            runs=document.loom.runs_to(id),
            prefix=document.prefix or None,
            chat=self.chat or None,
            constraint=read_constraint(document.constraint),
        )

    async def grow(
        self, ids: Sequence[int], rules: GrowthRules, settings: DrawSettings
    ) -> GrownNodes:
        """Children for each of these nodes, all in one batch and one step of the history. One that
        has ended, or is gone, gets an error and none; the others go on."""
        open, errors = self._open(ids)
        if not open:
            return GrownNodes({}, errors)

        async def work() -> GrownNodes:
            growth = await self._begin(open, rules, settings)
            async with aclosing(growth.run()) as drawn:
                async for _ in drawn:
                    pass
            return self._planted(growth, errors)

        return await self.model.work.run(work())

    async def grow_below(
        self, id: int, rules: GrowthRules, settings: DrawSettings
    ) -> Sequence[int]:
        """The children of one node. Raises what kept it from growing."""
        grown = await self.grow([id], rules, settings)
        if id in grown.errors:
            raise grown.errors[id]
        return grown.nodes[id]

    async def stream(
        self, ids: Sequence[int], rules: GrowthRules, settings: DrawSettings, into: list[int]
    ) -> AsyncGenerator[GrownToken]:
        """The same, token by token; at the end `into` gets the children's ids. Closed early it
        leaves none."""
        for error in self._open(ids)[1].values():
            raise error
        growth = await self.model.work.run(self._begin(ids, rules, settings))
        sizes: dict[tuple[int, int], int] = {}
        async with aclosing(growth.run()) as steps:
            while (step := await self.model.work.run(_next(steps))) is not None:
                child, drawn = step
                place, data = (child.parent, child.number), drawn.sample.data
                added = data[sizes.get(place, 0) :]
                sizes[place] = len(data)
                yield GrownToken(*place, added, drawn.choice.logprob, drawn.sample.finish)
        planted = self._planted(growth, {})
        for made in planted.nodes.values():
            into += made
        for error in planted.errors.values():
            raise error

    async def _begin(
        self, ids: Sequence[int], rules: GrowthRules, settings: DrawSettings
    ) -> Growth:
        check_names(settings, DrawSettings.__annotations__, "grow")
        backend, values = self.model.backend, sampler_values(settings)
        presets = {**PRESETS, **self.model.config.presets}
        try:
            sampling = all_changed(self._sampling(), values, presets)
        except ValueError as wrong:
            raise UsageError("The sampler cannot be set so", f"{wrong}.", "") from wrong
        chain = await Chains(backend.vocabulary).told(sampling)
        wanted: Constraint | None = constraint_of(settings) or read_constraint(
            self.document.constraint
        )
        constraint = None
        if wanted is not None:
            check_constraints(backend)
            constraint = await asyncio.to_thread(compile, wanted, backend.vocabulary)
        return await Growth.begin(self.document, backend, ids, rules, chain, constraint)

    def _planted(self, growth: Growth, errors: dict[int, LltermError]) -> GrownNodes:
        nodes: dict[int, list[int]] = {child.parent: [] for child in growth.children}
        for child, id in growth.plant():
            nodes[child.parent].append(id)
        for child in growth.children:
            if child.error is not None:
                errors.setdefault(child.parent, child.error)
        self.document.model = self.model.name
        return GrownNodes(nodes, errors)

    def _open(self, ids: Sequence[int]) -> tuple[list[int], dict[int, LltermError]]:
        """Those of these that can be grown from, and why others can't."""
        errors: dict[int, LltermError] = {}
        for id in ids:
            try:
                check_open(self.document, self.held(id))
            except LltermError as error:
                errors[id] = error
        return [id for id in dict.fromkeys(ids) if id not in errors], errors

    def _sampling(self) -> Sampling:
        return read_sampling(self.document.sampling) or self.model.config.sampling


def _saved(document: Document, path: Path) -> Document:
    """A new loom's file, open."""
    path = path.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    document.copy_to(path)
    return Document.open(path)


def _opened(path: Path) -> Document:
    path = path.expanduser()
    if not path.exists():
        raise UsageError(f"There is no loom {path}", "", "Model.loom(save=…) makes one.")
    return Document.open(path)


async def _next(steps: AsyncGenerator[T]) -> T | None:
    return await anext(steps, None)


async def _chat_root(model: ModelCore, chat: Chat) -> tuple[Tail, bytes]:
    """A chat as the model reads it. Raises CapabilityMissing where it can open none."""
    if not chat:
        return (), b""
    backend = model.backend
    parts = await model.work.run(opened_chat(backend, chat))
    tokens = await draft_tokens(chat_draft(parts, backend.vocabulary), backend.vocabulary)
    return tokens, "".join(part.text for part in parts).encode("utf-8", "replace")


def _root_stays() -> UsageError:
    return UsageError(
        "The root stays as it is", "Everything hangs under it.", "Change what is below it."
    )
