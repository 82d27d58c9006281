"""What the model would call a text, the story or a branch, by labels: as it becomes known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llterm.backends.remote.transport import of_server
from llterm.core.chat_messages import Chat
from llterm.core.classification.classify_settings import (
    ClassifySettings,
    LabelQuestion,
    Spellings,
    usual_template,
)
from llterm.core.classification.labels import Label, typed_label
from llterm.core.classification.question_template import QuestionTemplate, listed_labels
from llterm.core.classification.verdicts import LabelJudge, Verdict, verdicts
from llterm.core.prompt import MARGIN
from llterm.core.query import Backend, Cost
from llterm.core.tokens import text_bytes
from llterm.core.windows import SeenStory, first_seen
from llterm.engine.classify import Classifier, Scores
from llterm.errors import BackendUnavailable, LltermError
from llterm.session.background_task import BackgroundTask, Reason
from llterm.session.cursor import Cursor

CHAT_HEAD = 256
"""Tokens kept free for what a chat template writes about a message."""


@dataclass(frozen=True, slots=True)
class LabelForm:
    """What a person typed."""

    labels: str = ""
    """`NAME` or `NAME=ALIAS|ALIAS`, one a line; on a single line joined by commas."""
    question: str = ""
    """What is asked of the text, or a template with `{text}` in it."""
    chat: bool = False
    """It is said to the model, and the label is its reply."""

    @property
    def typed(self) -> tuple[Label, ...]:
        """The labels. Raises UsageError."""
        lines = self.labels.strip()
        parts = lines.split("\n" if "\n" in lines else ",")
        return tuple(typed_label(part.strip()) for part in parts if part.strip())

    def settings(self, prefix: str, spellings: Spellings) -> ClassifySettings:
        """All that counts. Raises UsageError."""
        template, question = QuestionTemplate(self.question), ""
        if "text" not in template.places:
            question = self.question.strip()
            template = usual_template(questions=bool(question), several=False)
        settings = ClassifySettings(
            (LabelQuestion(question, self.typed),),
            template,
            spellings,
            prefix=prefix,
            chat=Chat() if self.chat else None,
        )
        settings.check()
        return settings


class LabelReader:
    """One text, which the cursor's model is asked about."""

    def __init__(self, cursor: Cursor, text: bytes, changed: Callable[[], None]) -> None:
        """`changed` is called whenever there is more to see."""
        self._cursor = cursor
        self._text = text
        self._changed = changed
        self._task = BackgroundTask("The text could not be classified", self._ended)
        self.verdict: Verdict | None = None
        """As far as it is known; None until some label has a probability."""
        self._error: LltermError | None = None
        self._returned = 0
        """How often the model's servers had answered again when that came."""
        self.seen = SeenStory()
        """How much of the text the model was given."""
        self.cost = Cost()

    @property
    def running(self) -> bool:
        return self._task.running

    @property
    def error(self) -> LltermError | None:
        """Why it ended; a server's that has answered since is none any more."""
        well = of_server(self._error) and self._cursor.returns > self._returned
        return None if well else self._error

    def start(self, form: LabelForm) -> None:
        """Ask anew. Returns at once; what is wrong with the form is its error."""
        self.verdict = self._error = None
        self.seen, self.cost = SeenStory(), Cost()
        self._task.start(lambda: self._read(form))
        self._changed()

    def stop(self) -> None:
        """Ask no further; what is known stays."""
        if self._task.stop():
            self._changed()

    async def close(self) -> None:
        """Stop, and wait until the model was let go."""
        await self._task.close()

    # --- inner workings

    def _ended(self, reason: Reason) -> None:
        self._error = reason if isinstance(reason, LltermError) else None
        self._returned = self._cursor.returns
        self._changed()

    async def _read(self, form: LabelForm) -> Reason:
        source = self._model()
        can = source.capabilities
        spellings: Spellings = "all" if can.full_vocabulary or can.masks else "canonical"
        settings = form.settings(self._cursor.document.prefix, spellings)
        classifier = Classifier(source, settings)
        judges = await classifier.judges()
        text = await self._in_sight(source, settings)

        def hear(scores: Scores) -> None:
            self.cost = classifier.spent
            self._hear(judges, scores)

        hear(await classifier.scores(text, hear))
        return ""

    def _model(self) -> Backend:
        self._cursor.awake()
        backend = self._cursor.backend
        if backend is None:
            raise BackendUnavailable("This model cannot read a text", "", "Choose another one.")
        return backend

    async def _in_sight(self, source: Backend, settings: ClassifySettings) -> str:
        """The text, without a beginning that is out of the model's sight."""
        vocabulary, context = source.vocabulary, source.capabilities.context
        ids = await vocabulary.tokenize(self._text)
        (asked,) = settings.questions
        beside = {"question": asked.text, "labels": listed_labels(asked.labels)}
        around = settings.prefix + settings.template.filled(beside)
        head = len(await vocabulary.tokenize(around.encode("utf-8", "surrogateescape")))
        head += CHAT_HEAD if settings.chat is not None else 0
        start = first_seen(len(ids), head, context, MARGIN)
        dropped = len(text_bytes(vocabulary, ids[:start]))
        self.seen = SeenStory(len(ids), start, dropped)
        return self._text[dropped:].decode("utf-8", "surrogateescape")

    def _hear(self, judges: Sequence[LabelJudge], scores: Scores) -> None:
        if any(each.mass for each in scores):
            self.verdict = verdicts(judges, [scores])[0][0]
        self._changed()
