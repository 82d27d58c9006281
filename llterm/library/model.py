"""`llterm.open`: a model of the sync face. From any thread, also beside a running event loop."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from llterm.core.attribution_methods import AttributionSettings
from llterm.core.attribution_methods import Method as AttributionMethod
from llterm.core.classification.calibrations import CalibrationKind, Normalization
from llterm.core.mixing.mix_recipe import Mode
from llterm.core.query import Cost, HeldPath
from llterm.jobs.comparison_plan import CompareOptions
from llterm.jobs.request import Request
from llterm.jobs.score import ScoreOptions
from llterm.library.call_settings import (
    DrawSettings,
    OpenSettings,
    SearchSettings,
    Several,
    Texts,
    sample_options,
)
from llterm.library.loom import Loom, Node
from llterm.library.loom_core import LoomCore
from llterm.library.loop_thread import LoopThread, Stream, leave_thread, take_thread
from llterm.library.model_core import (
    Messages,
    ModelCore,
    Progress,
    classify_settings,
    read_beginning,
    read_messages,
    recipe_of,
)
from llterm.library.text_results import (
    Classification,
    MadeText,
    MixedText,
    ModelComparison,
    NextTokens,
    TextPiece,
    TextScoring,
    TokenAttribution,
)

T = TypeVar("T")
Place = str | bytes | Node | Sequence[Node]
"""A text, or a node: the text from its loom's root to its end, under the loom's own settings. Of a
path of nodes the last."""


def open(
    model: str = "",
    *,
    progress: Progress | None = None,
    config: str | Path | None = None,
    **settings: Unpack[OpenSettings],
) -> Model:
    """A model, loaded: by its name in `llterm.toml` or on this machine, the path of a GGUF file, or
    the address of a server (`http://…`, with `#name` where it has several). Without a name: the one
    that is configured, else the bundled one.

    `progress` is told the share that is loaded, 0 to 1, on llterm's thread. `config` names the file
    that stands in for the user's and the folder's `llterm.toml`. `settings`: as in [models.NAME].
    Use it in a with block, which closes it and its looms. Raises ModelError, BackendUnavailable,
    UsageError. Ctrl-C gives it up.
    """
    file = None if config is None else Path(config)
    thread = take_thread()
    try:
        core = thread.run(ModelCore.open(model, progress, file, settings))
    except BaseException:
        leave_thread()
        raise
    return Model(core, thread)


class Model:
    """A model that is open. Every call raises LltermError with a title, a cause and a hint; Ctrl-C
    in one ends what it began, and is raised. Calls from several threads take turns."""

    def __init__(self, core: ModelCore, thread: LoopThread) -> None:
        """Made by `open`."""
        self._core = core
        self._thread = thread
        self._finalizer = weakref.finalize(self, _close, core, thread)

    def __repr__(self) -> str:
        return f"<Model {self.name}{'' if self._finalizer.alive else ', closed'}>"

    @property
    def name(self) -> str:
        return self._core.name

    @property
    def context(self) -> int:
        """Most tokens that it sees."""
        return self._core.backend.capabilities.context

    @property
    def spent(self) -> Cost:
        """What was evaluated and asked since it was opened: tokens, decodes, requests."""
        return self._core.backend.spent

    def close(self) -> None:
        """End what it does for anybody, close its looms, and free it. May be called again."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- texts by the model

    def generate(
        self,
        text: Place = "",
        *,
        chat: Messages | None = None,
        system: str = "",
        tokens: int = 256,
        stop: Texts = (),
        sentence: bool = False,
        heal: bool = True,
        **settings: Unpack[DrawSettings],
    ) -> Stream[TextPiece]:
        """Go on with a text, token by token: an iterator. Closed early, it stops.

        `chat`: what `text` is the beginning of a reply to, as a text or as messages. `tokens`: at
        most so many. `stop`: texts after which it ends. `sentence`: end where a sentence does.
        `heal`: finish a word that the text ends in first. `settings`: the sampler's, and what is to
        be fitted.
        """
        options = sample_options(1, tokens, stop, sentence=sentence, heal=heal)
        request = self._request(text, chat, system)
        return Stream(self._thread, self._core.generate(request, options, settings))

    def sample(
        self,
        text: Place = "",
        n: int = 1,
        *,
        chat: Messages | None = None,
        system: str = "",
        tokens: int = 64,
        stop: Texts = (),
        sentence: bool = False,
        heal: bool = True,
        **settings: Unpack[DrawSettings],
    ) -> tuple[MadeText, ...]:
        """`n` ways to go on, drawn side by side: as `llterm sample`. Parameters as `generate`'s."""
        options = sample_options(n, tokens, stop, sentence=sentence, heal=heal)
        request = self._request(text, chat, system)
        return self._run(self._core.sample(request, options, settings))

    def suggest(
        self,
        text: Place = "",
        *,
        chat: Messages | None = None,
        system: str = "",
        **settings: Unpack[SearchSettings],
    ) -> tuple[MadeText, ...]:
        """The most probable ways to go on, exactly, best first: as `llterm suggest`. `settings`:
        those of a weave, what is to be fitted, and bans."""
        return self._run(self._core.suggest(self._request(text, chat, system), settings))

    # --- what the model thinks of texts

    def next(
        self,
        text: Place = "",
        top: int = 10,
        *,
        chat: Messages | None = None,
        system: str = "",
        **settings: Unpack[DrawSettings],
    ) -> NextTokens:
        """What may stand next: the `top` best candidates, before and after the sampler chain."""
        return self._run(self._core.next(self._request(text, chat, system), top, settings))

    def score(
        self,
        text: Place,
        *,
        chat: Messages | None = None,
        system: str = "",
        top: int = 5,
        window: int | None = None,
        stride: int | None = None,
    ) -> TextScoring:
        """How it reads a text: each token's logprob, rank, entropy and `top` alternatives, and the
        perplexity. As `llterm score`; of a text longer than its context in windows."""
        options = ScoreOptions(top, window, stride)
        return self._run(self._core.score(self._request(text, chat, system), options))

    @overload
    def classify(
        self, text: str, labels: Collection[str] | Mapping[str, str], *, question: str = "",
        template: str | None = None, several: bool = False, threshold: float = 0.0,
        calibrate: CalibrationKind | None = None, normalize: Normalization = "none",
        orders: int = 1, chat: bool = False, system: str = "",
    ) -> Classification: ...  # fmt: skip
    @overload
    def classify(
        self, text: Several, labels: Collection[str] | Mapping[str, str], *, question: str = "",
        template: str | None = None, several: bool = False, threshold: float = 0.0,
        calibrate: CalibrationKind | None = None, normalize: Normalization = "none",
        orders: int = 1, chat: bool = False, system: str = "",
    ) -> list[Classification]: ...  # fmt: skip
    def classify(
        self,
        text: Texts,
        labels: Collection[str] | Mapping[str, str],
        *,
        question: str = "",
        template: str | None = None,
        several: bool = False,
        threshold: float = 0.0,
        calibrate: CalibrationKind | None = None,
        normalize: Normalization = "none",
        orders: int = 1,
        chat: bool = False,
        system: str = "",
    ) -> Classification | list[Classification]:
        """What it calls a text, or each of several, with every label's probability: as
        `llterm classify`.

        `labels`: names, or names with what they mean. `several`: each label is asked about by
        itself. `threshold`: with less no label is chosen. `chat`: the question is put to a chat
        model.
        """
        asked = classify_settings(
            labels, question, template, several, threshold=threshold, calibrate=calibrate,
            normalize=normalize, orders=orders,
            chat=read_messages((), system) if chat or system else None,
        )  # fmt: skip
        texts = [text] if isinstance(text, str) else list(text)
        verdicts = [each[0] for each in self._run(self._core.classify(texts, asked))]
        return verdicts[0] if isinstance(text, str) else verdicts

    def attribute(
        self,
        text: Place,
        *,
        at: int | None = None,
        candidate: str | None = None,
        method: AttributionMethod = "attention",
        layer: int = 0,
        last: int = 64,
    ) -> TokenAttribution:
        """What led it to a token of a text: a value for each token before.

        `at`: the token's index, from the end where below 0; the text's length means what comes
        after it. None: the last one. `candidate`: another token in its place. Gradients need the
        extra `llterm[gradients]`.
        """
        how = AttributionSettings(method, layer, last)
        request = self._request(text, None, "")
        return self._run(self._core.attribute(request, at, candidate, how))

    # --- with other models

    def mix(
        self,
        others: Model | Sequence[Model],
        text: Place = "",
        *,
        tokens: int = 64,
        mode: Mode = "democratic",
        weights: Sequence[float] | None = None,
        pool: Literal["linear", "log"] = "linear",
        turn: int = 1,
        chat: Messages | None = None,
        system: str = "",
        **settings: Unpack[DrawSettings],
    ) -> MixedText:
        """Go on with a text together with other models, which may have other vocabularies: as
        `llterm mix`. `weights`: one a model, this one's first."""
        cores = _cores(others)
        recipe = recipe_of(1 + len(cores), mode, weights, pool, turn)
        request = self._request(text, chat, system)
        return self._run(self._core.mix(cores, request, recipe, tokens, settings))

    def compare(
        self,
        others: Model | Sequence[Model],
        text: Place,
        *,
        tokens: int = 0,
        window: int | None = None,
        stride: int | None = None,
    ) -> list[ModelComparison]:
        """Hold other models, such as its quantised files, against this one over a text: as
        `llterm mix --mode reference`. `tokens`: of the text are read, 0 for all."""
        options = CompareOptions(tokens=tokens, window=window, stride=stride)
        request = self._request(text, None, "")
        return self._run(self._core.compare(_cores(others), request, options))

    # --- cached states

    def prefill(self, text: Place, *, chat: Messages | None = None, system: str = "") -> int:
        """Evaluate a text, or a node's path, so that what is asked after it begins at once. Returns
        how many tokens that took: none of what is cached."""
        return self._run(self._core.prefill(self._request(text, chat, system)))

    def cached(self, text: Place, *, chat: Messages | None = None, system: str = "") -> HeldPath:
        """How many tokens of its path, from the beginning on, are cached, and whether its state is
        pinned. A question evaluates the others, and always the last one. Raises CapabilityMissing
        where the model is on a server."""
        return self._run(self._core.cached(self._request(text, chat, system)))

    def pin(self, text: Place, *, chat: Messages | None = None, system: str = "") -> None:
        """Keep its path's state, whatever else is asked, until it is released: what begins with the
        path goes on from there. Raises as `cached`."""
        self._run(self._core.pin(self._request(text, chat, system)))

    def release(self, text: Place, *, chat: Messages | None = None, system: str = "") -> bool:
        """Keep it no longer. Returns whether it was pinned."""
        return self._run(self._core.release(self._request(text, chat, system)))

    def save(
        self, text: Place, path: str | Path, *, chat: Messages | None = None, system: str = ""
    ) -> None:
        """Write its path's state to a file, for `load` in another process. Raises as `cached`."""
        self._run(self._core.save_state(self._request(text, chat, system), Path(path)))

    def load(self, path: str | Path) -> int:
        """Pin the state of a file that `save` wrote. Returns how many tokens its path has. Raises
        UsageError for another model's, or a damaged one. As with a model's file: load what you
        trust."""
        return self._run(self._core.load_state(Path(path)))

    # --- tokens

    def tokenize(self, text: str | bytes) -> tuple[int, ...]:
        """A text's tokens, without those that the model wants before any text."""
        return self._run(self._core.tokenize(text))

    def detokenize(self, tokens: Collection[int]) -> bytes:
        """The text that these tokens stand for; special ones stand for none. Raises UsageError for
        a number that is no token."""
        return self._core.detokenize(tokens)

    # --- looms

    def loom(
        self,
        text: str = "",
        *,
        chat: bool | Messages = False,
        system: str = "",
        prefix: str = "",
        save: str | Path | None = None,
    ) -> Loom:
        """A new loom that begins with a text; in memory, or in a new file (`save`).

        `chat`: the text is what a person says, the root is that in the model's chat template, and
        what hangs below it are replies; or messages, and the text is the beginning of the reply.
        `prefix`: hidden text before the story. Raises UsageError where the file exists,
        CapabilityMissing where the model opens no chats.
        """
        beginning, said = read_beginning(text, chat, system)
        path = None if save is None else Path(save)
        return self._opened(self._run(LoomCore.create(self._core, beginning, said, prefix, path)))

    def open_loom(self, path: str | Path) -> Loom:
        """An existing .loom file. Where another llterm writes it, it can be read only. Raises
        UsageError where there is none, or it is damaged."""
        return self._opened(self._run(LoomCore.open(self._core, Path(path))))

    def _opened(self, core: LoomCore) -> Loom:
        loom = Loom(core, self._thread)
        self._core.ending.append(core.close)
        return loom

    def _request(self, place: Place, chat: Messages | None, system: str) -> Request:
        node = place if isinstance(place, str | bytes | Node) else place[-1]
        if isinstance(node, Node):
            loom, id = node._core, node.id
            return self._thread.call(lambda: self._core.at_home(loom.request(id)))
        return self._core.request(node, chat, system)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._thread.run(work)


def _cores(models: Model | Sequence[Model]) -> list[ModelCore]:
    return [each._core for each in ([models] if isinstance(models, Model) else models)]


def _close(core: ModelCore, thread: LoopThread) -> None:
    """Whoever lets go of a model has it closed, and its thread where it was the last."""
    try:
        thread.run(core.close())
    finally:
        leave_thread()
