"""`llterm.aopen`: a model of the async face. The names of `model.py`, awaited; streams are async
iterators. All on the event loop that opened it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, Unpack, overload

from llterm.core.attribution_methods import AttributionSettings
from llterm.core.attribution_methods import Method as AttributionMethod
from llterm.core.classification.calibrations import CalibrationKind, Normalization
from llterm.core.mixing.mix_recipe import Mode
from llterm.core.query import Cost, HeldPath
from llterm.jobs.comparison_plan import CompareOptions
from llterm.jobs.request import Request
from llterm.jobs.score import ScoreOptions
from llterm.library.async_loom import AsyncLoom, AsyncNode
from llterm.library.call_settings import (
    DrawSettings,
    OpenSettings,
    SearchSettings,
    Several,
    Texts,
    sample_options,
)
from llterm.library.loom_core import LoomCore
from llterm.library.loop_thread import HereAlone
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

AsyncPlace = str | bytes | AsyncNode | Sequence[AsyncNode]
"""As `model.Place`."""


@asynccontextmanager
async def aopen(
    model: str = "",
    *,
    progress: Progress | None = None,
    config: str | Path | None = None,
    **settings: Unpack[OpenSettings],
) -> AsyncGenerator[AsyncModel]:
    """As `open`, in an async with block. Cancelling gives it up."""
    file = None if config is None else Path(config)
    core = await ModelCore.open(model, progress, file, settings)
    try:
        yield AsyncModel(core, HereAlone())
    finally:
        await core.close()


class AsyncModel:
    """A model that is open, as `Model`. Calls that run at once take turns; a cancelled one ends
    what it began."""

    def __init__(self, core: ModelCore, thread: HereAlone) -> None:
        """Made by `aopen`."""
        self._core = core
        self._thread = thread

    def __repr__(self) -> str:
        return f"<AsyncModel {self.name}{', closed' if self._core.work.closed else ''}>"

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

    def generate(
        self,
        text: AsyncPlace = "",
        *,
        chat: Messages | None = None,
        system: str = "",
        tokens: int = 256,
        stop: Texts = (),
        sentence: bool = False,
        heal: bool = True,
        **settings: Unpack[DrawSettings],
    ) -> AsyncGenerator[TextPiece]:
        """As `Model.generate`: an async iterator. Closing it (`aclose`) stops it."""
        options = sample_options(1, tokens, stop, sentence=sentence, heal=heal)
        return self._core.generate(self._request(text, chat, system), options, settings)

    async def sample(
        self,
        text: AsyncPlace = "",
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
        """As `Model.sample`."""
        options = sample_options(n, tokens, stop, sentence=sentence, heal=heal)
        return await self._core.sample(self._request(text, chat, system), options, settings)

    async def suggest(
        self,
        text: AsyncPlace = "",
        *,
        chat: Messages | None = None,
        system: str = "",
        **settings: Unpack[SearchSettings],
    ) -> tuple[MadeText, ...]:
        """As `Model.suggest`."""
        return await self._core.suggest(self._request(text, chat, system), settings)

    async def next(
        self,
        text: AsyncPlace = "",
        top: int = 10,
        *,
        chat: Messages | None = None,
        system: str = "",
        **settings: Unpack[DrawSettings],
    ) -> NextTokens:
        """As `Model.next`."""
        return await self._core.next(self._request(text, chat, system), top, settings)

    async def score(
        self,
        text: AsyncPlace,
        *,
        chat: Messages | None = None,
        system: str = "",
        top: int = 5,
        window: int | None = None,
        stride: int | None = None,
    ) -> TextScoring:
        """As `Model.score`."""
        options = ScoreOptions(top, window, stride)
        return await self._core.score(self._request(text, chat, system), options)

    @overload
    async def classify(
        self, text: str, labels: Collection[str] | Mapping[str, str], *, question: str = "",
        template: str | None = None, several: bool = False, threshold: float = 0.0,
        calibrate: CalibrationKind | None = None, normalize: Normalization = "none",
        orders: int = 1, chat: bool = False, system: str = "",
    ) -> Classification: ...  # fmt: skip
    @overload
    async def classify(
        self, text: Several, labels: Collection[str] | Mapping[str, str], *, question: str = "",
        template: str | None = None, several: bool = False, threshold: float = 0.0,
        calibrate: CalibrationKind | None = None, normalize: Normalization = "none",
        orders: int = 1, chat: bool = False, system: str = "",
    ) -> list[Classification]: ...  # fmt: skip
    async def classify(
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
        """As `Model.classify`."""
        asked = classify_settings(
            labels, question, template, several, threshold=threshold, calibrate=calibrate,
            normalize=normalize, orders=orders,
            chat=read_messages((), system) if chat or system else None,
        )  # fmt: skip
        texts = [text] if isinstance(text, str) else list(text)
        verdicts = [each[0] for each in await self._core.classify(texts, asked)]
        return verdicts[0] if isinstance(text, str) else verdicts

    async def attribute(
        self,
        text: AsyncPlace,
        *,
        at: int | None = None,
        candidate: str | None = None,
        method: AttributionMethod = "attention",
        layer: int = 0,
        last: int = 64,
    ) -> TokenAttribution:
        """As `Model.attribute`."""
        how = AttributionSettings(method, layer, last)
        return await self._core.attribute(self._request(text, None, ""), at, candidate, how)

    async def mix(
        self,
        others: AsyncModel | Sequence[AsyncModel],
        text: AsyncPlace = "",
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
        """As `Model.mix`."""
        cores = _cores(others)
        recipe = recipe_of(1 + len(cores), mode, weights, pool, turn)
        request = self._request(text, chat, system)
        return await self._core.mix(cores, request, recipe, tokens, settings)

    async def compare(
        self,
        others: AsyncModel | Sequence[AsyncModel],
        text: AsyncPlace,
        *,
        tokens: int = 0,
        window: int | None = None,
        stride: int | None = None,
    ) -> list[ModelComparison]:
        """As `Model.compare`."""
        options = CompareOptions(tokens=tokens, window=window, stride=stride)
        request = self._request(text, None, "")
        return await self._core.compare(_cores(others), request, options)

    async def prefill(
        self, text: AsyncPlace, *, chat: Messages | None = None, system: str = ""
    ) -> int:
        """As `Model.prefill`."""
        return await self._core.prefill(self._request(text, chat, system))

    async def cached(
        self, text: AsyncPlace, *, chat: Messages | None = None, system: str = ""
    ) -> HeldPath:
        """As `Model.cached`."""
        return await self._core.cached(self._request(text, chat, system))

    async def pin(
        self, text: AsyncPlace, *, chat: Messages | None = None, system: str = ""
    ) -> None:
        """As `Model.pin`."""
        await self._core.pin(self._request(text, chat, system))

    async def release(
        self, text: AsyncPlace, *, chat: Messages | None = None, system: str = ""
    ) -> bool:
        """As `Model.release`."""
        return await self._core.release(self._request(text, chat, system))

    async def save(
        self, text: AsyncPlace, path: str | Path, *, chat: Messages | None = None, system: str = ""
    ) -> None:
        """As `Model.save`."""
        await self._core.save_state(self._request(text, chat, system), Path(path))

    async def load(self, path: str | Path) -> int:
        """As `Model.load`."""
        return await self._core.load_state(Path(path))

    async def tokenize(self, text: str | bytes) -> tuple[int, ...]:
        """As `Model.tokenize`."""
        return await self._core.tokenize(text)

    def detokenize(self, tokens: Collection[int]) -> bytes:
        """As `Model.detokenize`."""
        return self._core.detokenize(tokens)

    async def loom(
        self,
        text: str = "",
        *,
        chat: bool | Messages = False,
        system: str = "",
        prefix: str = "",
        save: str | Path | None = None,
    ) -> AsyncLoom:
        """As `Model.loom`."""
        beginning, said = read_beginning(text, chat, system)
        path = None if save is None else Path(save)
        return self._opened(await LoomCore.create(self._core, beginning, said, prefix, path))

    async def open_loom(self, path: str | Path) -> AsyncLoom:
        """As `Model.open_loom`."""
        return self._opened(await LoomCore.open(self._core, Path(path)))

    def _opened(self, core: LoomCore) -> AsyncLoom:
        loom = AsyncLoom(core, self._thread)
        self._core.ending.append(core.close)
        return loom

    def _request(self, place: AsyncPlace, chat: Messages | None, system: str) -> Request:
        node = place if isinstance(place, str | bytes | AsyncNode) else place[-1]
        if isinstance(node, AsyncNode):
            return self._core.at_home(node._core.request(node.id))
        return self._core.request(node, chat, system)


def _cores(models: AsyncModel | Sequence[AsyncModel]) -> list[ModelCore]:
    return [each._core for each in ([models] if isinstance(models, AsyncModel) else models)]
