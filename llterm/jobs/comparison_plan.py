"""What a comparison reads: which models, in which windows of the text, as tokens or as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llterm.core.chat_messages import Chat
from llterm.core.comparison.conditions import Condition
from llterm.core.kernels import KernelKind
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.query import Backend
from llterm.core.tokens import Anchor, Tail, Vocabulary, grows, text_bytes
from llterm.core.tokens import Path as TokenPath
from llterm.core.windows import halves, overlapping
from llterm.engine.base_file import BaseFile, BaseWriter
from llterm.engine.compare import ModelReader, TextWindow
from llterm.engine.members import teach
from llterm.engine.mix_player import MixPlayer
from llterm.engine.mixture import Mix, distinct
from llterm.engine.prompt_heads import head_of
from llterm.engine.score import Method
from llterm.engine.whole_rows import cannot_score
from llterm.errors import CapabilityMissing, UsageError
from llterm.jobs.mix import mix_sampling
from llterm.jobs.request import Request
from llterm.jobs.runner import Listener, names_of
from llterm.jobs.score import NO_HALVES, window_and_stride

ALONE = Recipe("democratic", OpinionPool((1.0,)))
"""A mix of one model."""
USUAL_WINDOW = 512
"""llama-perplexity's, where windows lie side by side and no other is asked for."""


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """How models are compared with a reference."""

    reference: int = 0
    """Index of the reference; of no account with a base file, where all are candidates."""
    source: str = ""
    """Where the text is from."""
    tokens: int = 0
    """Most tokens of the text that are read, as the reference counts them; 0: all."""
    further: int = 0
    """Above 0: the reference goes on with the text for so many tokens, and those are compared."""
    window: int | None = None
    stride: int | None = None
    method: Method = "overlap"
    base: Path | None = None
    """A base file that is the reference, and brings the text."""
    write_base: Path | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """What is read by whom."""

    reference: ModelReader | None
    candidates: Sequence[ModelReader]
    names: Sequence[str]
    """The candidates'."""
    vocabulary: Vocabulary
    ids: Tail
    """The whole text's tokens, without the vocabulary's prefix."""
    views: Sequence[TextWindow]
    by_id: bool
    """Tokens are those of the models' one vocabulary; otherwise bytes."""
    window: int
    stride: int
    method: Method
    reference_name: str = ""

    @property
    def kernels(self) -> Sequence[KernelKind | None]:
        """What the reference's figures are computed with, then the candidates'; None where that is
        elsewhere, or was for a base file."""
        return [
            None if reader is None else reader.backend.capabilities.kernel_kind
            for reader in (self.reference, *self.candidates)
        ]

    @classmethod
    async def of(
        cls,
        request: Request,
        options: CompareOptions,
        backends: Sequence[Backend],
        base: BaseFile | None,
        listener: Listener,
    ) -> ComparisonPlan:
        """The plan for opened models. Raises LltermError where they cannot be compared so."""
        names = distinct(names_of(request))
        chat, prefix = request.chat, request.prefix or ""
        by_id = len({backend.vocabulary.fingerprint for backend in backends}) == 1
        if base is None and any(grows(backend.vocabulary) for backend in backends):
            by_id = await cut_alike(backends, request.text)
        check_comparable(backends, names, by_id=by_id)
        method: Method = "halves" if options.write_base is not None else options.method
        if (chat or prefix) and (base is not None or method == "halves"):
            raise UsageError(*NO_HALVES)
        if base is not None:
            return cls._of_file(backends, names, base, by_id)
        model = backends[options.reference]
        text = await _beginning(model, request.text, options.tokens)
        if not by_id:
            # The only alphabet that they share.
            backends = [Mix([backend], ALONE, bytewise=True) for backend in backends]
        readers = [await _reader(backend, chat, prefix) for backend in backends]
        reference = readers[options.reference]
        others = [n for n in range(len(backends)) if n != options.reference]
        # Of one that is whole a model's first choice has a name, wherever it comes from.
        known = [reader.backend.vocabulary for reader in (reference, *readers)]
        vocabulary = next((each for each in known if not grows(each)), known[0])
        ids = await vocabulary.tokenize(text)
        begun = len(ids) if options.further else 0
        if options.further:
            ids += await _own_text(request, options, reference, ids, listener)
        if by_id:
            for backend in backends:
                teach(backend.vocabulary, ids, vocabulary)
        # Windows leave room for the longest chat there is.
        head = max((reader.head or vocabulary.prefix for reader in readers), key=len)
        context = min(backend.capabilities.context for backend in backends)
        usual = min(USUAL_WINDOW, context) if method == "halves" else context
        window, stride = window_and_stride(
            options.window or usual, options.stride, method,
            context=context, prefix=len(head), who="The models see",
        )  # fmt: skip
        views = list(_views(head, ids, begun, window, stride, method))
        return cls(
            reference, [readers[n] for n in others], [names[n] for n in others],
            vocabulary, ids, views, by_id, window, stride, method, names[options.reference],
        )  # fmt: skip

    @classmethod
    def _of_file(
        cls, backends: Sequence[Backend], names: Sequence[str], base: BaseFile, by_id: bool
    ) -> ComparisonPlan:
        vocabulary = backends[0].vocabulary
        if not by_id or vocabulary.size != base.size:
            raise UsageError(
                f"{base.path.name} is of another vocabulary",
                f"Its rows have {base.size:,} tokens; the models' have "
                + " and ".join(f"{one.vocabulary.size:,}" for one in backends) + ".",
                "A base file serves the models that share its tokenizer.",
            )  # fmt: skip
        context = min(backend.capabilities.context for backend in backends)
        if base.window > context:
            raise UsageError(
                f"{base.path.name} has windows of {base.window:,} tokens",
                f"The models see {context:,}.",
                f"Set --context {base.window}.",
            )
        head = vocabulary.prefix[:1]
        views: list[TextWindow] = []
        ids: list[int] = []
        for index in range(base.count):
            tokens = base.tokens(index)
            shift = index * base.window
            views.append(TextWindow(head + tokens[len(head) :], base.first, shift))
            ids.extend(tokens)
        return cls(
            None, list(map(ModelReader, backends)), names, vocabulary, tuple(ids), views, True,
            base.window, base.window, "halves",
        )  # fmt: skip

    @property
    def listing(self) -> tuple[str, ...]:
        """Names of the models that list only their best candidates, the reference last: nothing is
        told then that needs whole rows."""
        readers = [*zip(self.names, self.candidates, strict=True)]
        if self.reference is not None:
            readers.append((self.reference_name, self.reference))
        return tuple(name for name, reader in readers if not reader.whole)

    def writer(self, path: Path | None) -> BaseWriter | None:
        """Writes a base file of the reference's rows, where a path is given.

        Raises LltermError where these models cannot make one, or the path takes none.
        """
        if path is None:
            return None
        if not self.by_id:
            raise UsageError(
                "No base file can be written of these models",
                "Their vocabularies differ, so they are compared byte by byte.",
                "Compare models that share a tokenizer.",
            )
        if self.reference is not None and not self.reference.whole:
            raise CapabilityMissing(
                f"No base file can be written of {self.reference_name}",
                "It lists only its best candidates, and a base file holds whole rows.",
                "A model in process can be written.",
            )
        text = self.vocabulary.prefix + self.ids
        windows = [text[one.begin : one.end] for one in halves(len(text), self.window)]
        return BaseWriter(path, self.window, self.vocabulary.size, windows)


async def cut_alike(backends: Sequence[Backend], text: bytes) -> bool:
    """Whether models have one vocabulary, as far as a text shows: all cut it into the same ids, and
    mean the same by them. Raises LltermError."""
    if not text or not all(backend.capabilities.token_ids for backend in backends):
        return False
    cuts = set()
    for vocabulary in (backend.vocabulary for backend in backends):
        tokens = [vocabulary.token(id) for id in await vocabulary.tokenize(text)]
        cuts.add(tuple((token.id, token.data) for token in tokens))
    return len(cuts) == 1


async def _reader(backend: Backend, chat: Chat | None, prefix: str) -> ModelReader:
    head = await head_of(backend, chat, prefix) if chat or prefix else None
    if head is None and grows(backend.vocabulary):
        # It may not know what another one's texts begin with.
        head = backend.vocabulary.prefix
    return ModelReader(backend, head)


def check_comparable(backends: Sequence[Backend], names: Sequence[str], *, by_id: bool) -> None:
    """Raises CapabilityMissing where a model does not tell what a comparison is made of."""
    for name, backend in zip(names, backends, strict=True):
        if backend.capabilities.full_vocabulary:
            continue
        if not backend.capabilities.score:
            raise cannot_score(name)
        if not by_id:
            raise CapabilityMissing(
                f"{name} cannot be compared byte by byte",
                "The vocabularies differ or are not known, and it lists only its best candidates:"
                " what the next byte is would be an estimate.",
                "Compare it with a model that has its tokenizer, or open it in process.",
            )


async def _beginning(model: Backend, text: bytes, tokens: int) -> bytes:
    """The text's first `tokens` tokens, as this model counts them; 0: all of it."""
    if not tokens:
        return text
    return text_bytes(model.vocabulary, (await model.vocabulary.tokenize(text))[:tokens])


async def _own_text(
    request: Request,
    options: CompareOptions,
    reader: ModelReader,
    ids: Tail,
    listener: Listener,
) -> tuple[int, ...]:
    """What the reference goes on with."""
    reference = reader.backend
    mix = reference if isinstance(reference, Mix) else Mix([reference], ALONE)
    prefix = reference.vocabulary.prefix if reader.head is None else reader.head
    room = reference.capabilities.context - len(prefix) - len(ids)
    written: list[int] = []
    path = TokenPath(Anchor(prefix + ids))
    player = MixPlayer(mix, mix_sampling(request.sampling, request.config), request.text)
    async for turn in player.play(path, min(options.further, room)):
        if not turn.token.end:
            written.append(turn.token.id)
        listener.say(f"Writing: {len(written):,} tokens")
    if not written:
        raise UsageError(
            "The reference ends the text at once", "", "Choose another text, or read one as it is."
        )
    return tuple(written)


def _views(
    prefix: Tail, ids: Tail, begun: int, window: int, stride: int, method: Method
) -> list[TextWindow]:
    """The windows over a text, and what is compared in each: nothing before index `begun`."""
    views: list[TextWindow] = []
    if method == "halves":
        text, head = prefix + ids, prefix[:1]
        for span in halves(len(text), window):
            tokens = head + text[span.begin + len(head) : span.end]
            views.append(TextWindow(tokens, span.first - span.begin, span.begin - len(prefix)))
    else:
        for span in overlapping(len(ids), window - len(prefix), stride):
            first = max(span.first, begun)
            start = max(len(prefix) + first - span.begin, 1)
            tokens = prefix + ids[span.begin : span.end]
            views.append(TextWindow(tokens, start, span.begin - len(prefix), len(prefix)))
    views = [view for view in views if view.start < len(view.tokens)]
    if not views:
        raise UsageError(
            "The text does not fill one window" if method == "halves" else "The text is too short",
            f"It has {len(ids):,} tokens"
            + (f", and windows side by side have {window:,}." if method == "halves" else "."),
            "Give a longer text, or a smaller --window.",
        )
    return views
