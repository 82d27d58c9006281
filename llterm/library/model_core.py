"""A model that is open, for both faces: what is asked of it, as jobs over it. All on one loop."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from llterm.backends.registry import find_model, open_model
from llterm.config import Config, ModelConfig, load_config
from llterm.core.attribution_methods import AttributionSettings
from llterm.core.chat_messages import ROLES, Chat, ChatMessage, chat_of
from llterm.core.classification.classify_settings import (
    ClassifySettings,
    LabelQuestion,
    usual_template,
)
from llterm.core.classification.labels import Label
from llterm.core.classification.question_template import QuestionTemplate
from llterm.core.classification.text_rows import TextRow
from llterm.core.held_text import HeldText
from llterm.core.json_text import json_text
from llterm.core.mixing.mix_recipe import Mode, Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.query import Backend, Failed, HeldPath, KeepsStates, Query
from llterm.core.tokens import Anchor, Tail, text_bytes
from llterm.core.tokens import Path as TokenPath
from llterm.errors import CapabilityMissing, UsageError, reason
from llterm.formats.exports import write_file
from llterm.jobs import attribute, classify, compare, mix, next_token, sample, score, suggest
from llterm.jobs.comparison_plan import CompareOptions
from llterm.jobs.request import Request, RequestStory
from llterm.jobs.runner import SILENCE, absences, load_progress
from llterm.library import text_results as results
from llterm.library.call_settings import (
    DrawSettings,
    SearchSettings,
    check_names,
    constraint_of,
    data_of,
    opening_values,
    sampler_values,
    weave_values,
)
from llterm.library.loop_thread import closed_error
from llterm.regular_file import read_file
from llterm.reports.classify_json import ClassifyLineFormat

T = TypeVar("T")
MOST_STATE = 8 << 30
"""Bytes of a file with a state."""
Progress = Callable[[float], None]
"""Told the share of a model that is loaded, 0 to 1, on llterm's thread."""
Messages = str | Sequence[Mapping[str, str]]
"""What is said to a model: by the person, or several messages with role and content."""


class OpenWork:
    """What runs on a model: closing it ends all of it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closed = False

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to its end. Raises UsageError where the model is closed before."""
        if self.closed:
            work.close()
            raise closed_error()
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self.closed and not (current is not None and current.cancelling()):
                raise closed_error() from None
            raise
        finally:
            self._tasks.discard(task)

    async def close(self) -> None:
        """End what runs, and take nothing more."""
        self.closed = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class ModelCore:
    """A model and what may be asked of it. Everything raises LltermError."""

    def __init__(self, name: str, backend: Backend, config: Config) -> None:
        self.name = name
        self.backend = backend
        self.config = config
        self.work = OpenWork()
        self.ending: list[Callable[[], None]] = []
        """What is closed with it."""

    @classmethod
    async def open(
        cls, name: str, progress: Progress | None, file: Path | None, given: Mapping[str, Any]
    ) -> ModelCore:
        """Load it. `file` replaces the user's and the folder's `llterm.toml`."""
        values = opening_values(given)
        config = await asyncio.to_thread(load_config, None, file)
        template = values.pop("chat_template", None)
        name = name or config.model
        known = await asyncio.to_thread(find_model, name, config)
        if template is not None:
            settings = replace(known.settings, chat_template=template)
            config = _with_model(config, known.name, settings, known.path)
            name = known.name
        backend = await open_model(
            name, config, values, load_progress(SILENCE, name) if progress is None else progress,
            absences(SILENCE),
        )  # fmt: skip
        return cls(known.name, backend, config)

    async def close(self) -> None:
        """Close its looms, end what runs, and free it. May be called again."""
        if self.work.closed:
            return
        await self.work.close()
        async with AsyncExitStack() as stack:
            # Whichever of them fails, the others are done.
            stack.push_async_callback(self.backend.close)
            for end in self.ending:
                stack.callback(end)

    def request(self, text: str | bytes, chat: Messages | None, system: str = "") -> Request:
        """A text for it; `chat`: what that is a reply to."""
        return Request(
            config=self.config,
            models=(self.name,),
            text=data_of(text),
            backends=(self.backend,),
            chat=None if chat is None and not system else read_messages(chat or (), system),
        )

    def at_home(self, request: Request) -> Request:
        """The request of a loom, which another model may have opened, for this one."""
        return replace(request, models=(self.name,), backends=(self.backend,))

    # --- what is asked of it

    async def generate(
        self, request: Request, options: sample.SampleOptions, settings: DrawSettings
    ) -> AsyncGenerator[results.TextPiece]:
        """Its tokens as they are drawn. Closing it cancels."""
        pieces: asyncio.Queue[tuple[sample.SampledToken, bytes] | None] = asyncio.Queue()
        size = 0

        def followed(drawn: sample.SampledText) -> None:
            # What heals the text's end is there already.
            nonlocal size
            data = drawn.sample.data
            pieces.put_nowait((drawn.tokens[-1], data[size:]))
            size = len(data)

        job = sample.sample(self._drawn(request, settings, "generate"), options, followed=followed)
        task = asyncio.ensure_future(self.work.run(job))
        task.add_done_callback(lambda _: pieces.put_nowait(None))
        held = HeldText()
        try:
            while (piece := await pieces.get()) is not None:
                if self.work.closed:
                    raise closed_error()
                token, data = piece
                yield results.TextPiece(
                    token.token.id, data, held.add(data), token.logprob, token.p
                )
            failure = (await task).failure
            if failure is not None:
                raise failure
        finally:
            task.cancel()
            with suppress(BaseException):
                await task

    async def suggest(
        self, request: Request, settings: SearchSettings
    ) -> tuple[results.MadeText, ...]:
        """The most probable ways on, best first."""
        check_names(settings, SearchSettings.__annotations__, "suggest")
        request = replace(
            request,
            rules={**request.rules, **weave_values(settings)},
            sampling={**request.sampling, **sampler_values(settings)},
            constraint=constraint_of(settings) or request.constraint,
        )
        result = await self.work.run(suggest.suggest(request))
        return tuple(map(results.suggested, result.view.suggestions))

    async def sample(
        self, request: Request, options: sample.SampleOptions, settings: DrawSettings
    ) -> tuple[results.MadeText, ...]:
        """Texts that are drawn side by side."""
        job = sample.sample(self._drawn(request, settings, "sample"), options)
        result = await self.work.run(job)
        if result.failure is not None and not any(each.tokens for each in result.samples):
            raise result.failure
        return tuple(map(results.sampled, result.samples))

    async def score(self, request: Request, options: score.ScoreOptions) -> results.TextScoring:
        """How it reads a text."""
        return results.scored(await self.work.run(score.score(request, options)))

    async def next(self, request: Request, top: int, settings: DrawSettings) -> results.NextTokens:
        """What may stand next."""
        if top < 1:
            raise UsageError("top is below 1", "", "Ask for one candidate at least.")
        asked = self._drawn(request, settings, "next")
        result = await self.work.run(next_token.next_token(asked, top))
        return results.next_tokens(result, top)

    async def classify(
        self, texts: Sequence[str], settings: ClassifySettings
    ) -> list[list[results.Classification]]:
        """What it calls each text: for each question once."""
        request = self.request(b"", None)
        rows = GivenTexts(texts)
        options = classify.ClassifyOptions(ClassifyLineFormat())
        result = await self.work.run(classify.classify(request, rows, settings, options))
        return [list(results.classified(*each)) for each in result.judged()]

    async def attribute(
        self, request: Request, at: int | None, candidate: str | None, how: AttributionSettings
    ) -> results.TokenAttribution:
        """What led it to a token."""
        wanted = None if candidate is None else data_of(candidate)
        options = attribute.AttributeOptions(how, at, wanted)
        return results.attributed(await self.work.run(attribute.attribute(request, options)))

    async def mix(
        self,
        others: Sequence[ModelCore],
        request: Request,
        recipe: Recipe,
        tokens: int,
        settings: DrawSettings,
    ) -> results.MixedText:
        """A text by it and others."""
        asked = replace(
            self._drawn(request, settings, "mix"), recipe=recipe, **_models(self, others)
        )
        return results.mixed(await self.work.run(mix.mix(asked, tokens)))

    async def compare(
        self, others: Sequence[ModelCore], request: Request, options: CompareOptions
    ) -> list[results.ModelComparison]:
        """Other models beside it, the reference, over a text."""
        asked = replace(request, **_models(self, others))
        return results.compared(await self.work.run(compare.compare(asked, options)))

    async def tokenize(self, text: str | bytes) -> tuple[int, ...]:
        """A text's tokens, without those that it wants before any text."""
        return await self.work.run(self.backend.vocabulary.tokenize(data_of(text)))

    # --- cached states, each derived from a token path

    async def prompt(self, request: Request) -> Tail:
        """What it reads before it goes on from a text, as much as it sees."""
        begun = RequestStory.of(request, SILENCE.warn)
        rules = replace(begun.rules, heal=False, depth=1)
        return (await self.work.run(begun.prompt(self.backend, rules))).tokens

    async def prefill(self, request: Request) -> int:
        """Evaluate a path, so that what is asked after it begins at once. Returns how many tokens
        were evaluated for that."""
        tokens = await self.prompt(request)
        return await self.work.run(self._evaluated(tokens))

    async def _evaluated(self, tokens: Tail) -> int:
        async with aclosing(self.backend.ask([Query(TokenPath(Anchor(tokens)))])) as answers:
            async for answer in answers:
                if isinstance(answer, Failed):
                    raise answer.error
                return answer.cost.tokens
        return 0

    async def cached(self, request: Request) -> HeldPath:
        """How much of a path is evaluated already."""
        return await self.work.run(self._states().held(await self.prompt(request)))

    async def pin(self, request: Request) -> None:
        """Keep a path's state whatever else is asked."""
        await self.work.run(self._states().pin(await self.prompt(request)))

    async def release(self, request: Request) -> bool:
        """Keep it no longer."""
        return await self.work.run(self._states().release(await self.prompt(request)))

    async def save_state(self, request: Request, path: Path) -> None:
        """Write a path's state to a file."""
        data = await self.work.run(self._states().saved_state(await self.prompt(request)))
        await asyncio.to_thread(_write_state_file, path, data)

    async def load_state(self, path: Path) -> int:
        """Pin the state of a file. Returns how many tokens its path has."""
        data = await asyncio.to_thread(_read_state_file, path)
        return len(await self.work.run(self._states().load_state(data, path.name)))

    def _states(self) -> KeepsStates:
        if not isinstance(self.backend, KeepsStates):
            raise CapabilityMissing(
                f"{self.name} does not show what it has cached",
                "Its server, or its kind of model, keeps that to itself.",
                "prefill works there too; a model of a file in this process shows all.",
            )
        return self.backend

    def detokenize(self, tokens: Collection[int]) -> bytes:
        """The text that these stand for. Raises UsageError for what is no token."""
        vocabulary = self.backend.vocabulary
        for id in tokens:
            if not 0 <= id < vocabulary.size:
                raise UsageError(
                    f"{id} is no token of {self.name}", f"It has {vocabulary.size:,}.", ""
                )
        return text_bytes(vocabulary, tokens)

    def _drawn(self, request: Request, settings: DrawSettings, call: str) -> Request:
        check_names(settings, DrawSettings.__annotations__, call)
        return replace(
            request,
            sampling={**request.sampling, **sampler_values(settings)},
            constraint=constraint_of(settings) or request.constraint,
        )


class GivenTexts:
    """Texts to be classified, as a call gives them."""

    name = "the texts"

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def digest(self) -> str:
        return hashlib.sha256(json_text(list(self._texts)).encode()).hexdigest()

    def walk(self) -> Iterator[TextRow]:
        for number, text in enumerate(self._texts):
            yield TextRow(str(number), text)


def recipe_of(
    count: int,
    mode: Mode,
    weights: Sequence[float] | None,
    pool: Literal["linear", "log"],
    turn: int,
) -> Recipe:
    """How so many models are mixed. Raises UsageError."""
    if weights is not None and len(weights) != count:
        raise UsageError(
            f"{len(weights)} weights for {count} models", "", "Give each model one, in order."
        )
    return Recipe(mode, OpinionPool(tuple(weights or (1.0,) * count), pool), turn)


def classify_settings(
    labels: Collection[str] | Mapping[str, str],
    questions: str | Sequence[str],
    template: str | None,
    several: bool,
    **others: Any,
) -> ClassifySettings:
    """How texts are classified. `labels`: names, or names with what they mean. Raises
    UsageError."""
    meanings = labels if isinstance(labels, Mapping) else dict.fromkeys(labels, "")
    if isinstance(labels, str) or len(meanings) != len(labels):
        raise UsageError("The labels are no list of names", "", "Give several, each once.")
    named = tuple(Label(name, description=meaning) for name, meaning in meanings.items())
    asked = (questions,) if isinstance(questions, str) else tuple(questions)
    return ClassifySettings(
        tuple(LabelQuestion(question, named) for question in asked),
        usual_template(questions=any(asked), several=several)
        if template is None
        else QuestionTemplate(template),
        several=several,
        **others,
    )


def read_messages(chat: Messages, system: str = "") -> Chat:
    """What a text is a reply to. Raises UsageError."""
    if isinstance(chat, str):
        return Chat(system, chat)
    said = [ChatMessage("system", system)] if system else []
    for message in chat:
        role, content = message.get("role"), message.get("content")
        if role not in ROLES or not isinstance(content, str):
            raise UsageError(
                "A message of the chat is none",
                f"Each has a role, {', '.join(ROLES)}, and content, a text.",
                "",
            )
        said.append(ChatMessage(role, content))
    return chat_of(said)


def read_beginning(text: str, chat: bool | Messages, system: str) -> tuple[str, Chat | None]:
    """What a loom begins with: its text, and the chat that it is a reply to, where it is one. With
    True the text is what the person says. Raises UsageError."""
    if chat is False and not system:
        return text, None
    if chat is True:
        return "", read_messages(text, system)
    return text, read_messages(chat or (), system)


def _write_state_file(path: Path, data: bytes) -> None:
    write_file(path.expanduser(), data)


def _read_state_file(path: Path) -> bytes:
    try:
        return read_file(path.expanduser(), MOST_STATE)
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read", f"{reason(error)}.", "") from error


def _models(first: ModelCore, others: Sequence[ModelCore]) -> dict[str, Any]:
    """Of a request to several models."""
    cores = (first, *others)
    return {
        "models": tuple(core.name for core in cores),
        "backends": tuple(core.backend for core in cores),
    }


def _with_model(config: Config, name: str, settings: ModelConfig, path: Path | None) -> Config:
    """With other settings of one model, known by this name."""
    own = settings if settings.server is not None else replace(settings, path=path)
    return replace(config, models={**config.models, name: own})
