"""What the model would call the story or a branch: labels typed, bars as they come."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from functools import partial

import pytest
from textual.events import Paste
from textual.widgets import Static

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.scripted import ScriptedBackend
from llterm.core.classification.classify_settings import ClassifySettings
from llterm.core.query import Backend, Fact, Failed, Query
from llterm.engine.classify import Classifier
from llterm.errors import BackendUnavailable
from llterm.number_format import fine_percent, of_logprob
from llterm.session.label_reader import LabelForm, LabelReader
from llterm.ui.dialogs.labels_dialog import LabelsDialog
from llterm.ui.loom.loom_screen import LoomScreen
from llterm.ui.widgets.fields import Area
from llterm.ui.widgets.status_line import StatusLine
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.driven_app import STORY, Driven, Progress, Start, drawn, opens
from tests.helpers.sessions import Gate, session

LABELS = "read, counted, went"


async def asked(at: Driven, key: str = "alt+g", labels: str = LABELS) -> LabelsDialog:
    """Open the dialog, paste labels, and have all that is said of them."""
    await at.press(key)
    dialog = await at.opened(LabelsDialog)
    at.app.post_message(Paste(labels))
    await at.press("ctrl+j")
    await answered(at, dialog)
    return dialog


async def answered(at: Driven, dialog: LabelsDialog) -> None:
    await at.until(lambda: not dialog.reading.running)
    await at.until(lambda: told(dialog) and "Asking" not in told(dialog))


def told(dialog: LabelsDialog) -> str:
    return str(dialog.query_one("#told", Static).content)


def said(dialog: LabelsDialog, beginning: str) -> bool:
    return told(dialog).startswith(beginning)


def bars(dialog: LabelsDialog) -> list[str]:
    return str(dialog.query_one("#bars", Static).content).split("\n")


async def shares_of(labels: str, text: str) -> dict[str, float]:
    """What `llterm classify` says of a text."""
    reading: ClassifySettings = LabelForm(labels).settings("", "all")
    (scores,) = await Classifier(ScriptedBackend(), reading).scores(text)
    names = [label.name for label in reading.questions[0].labels]
    return dict(zip(names, map(math.exp, scores.logprobs), strict=True))


def own(dialog: LabelsDialog) -> dict[str, float]:
    """The model's own probability of each label; empty until some are known."""
    verdict = dialog.reading.verdict
    return (
        {share.label.name: math.exp(share.logprob) for share in verdict.labels} if verdict else {}
    )


def end_line(dialog: LabelsDialog) -> str:
    """The line with the text's last words."""
    return str(dialog.query_one("#end", StatusLine).render())


async def test_every_label_has_a_bar_with_its_share_and_its_own_probability(start: Start) -> None:
    shares = await shares_of(LABELS, STORY)
    best = max(shares, key=lambda name: shares[name])
    async with start(STORY) as at:
        await asked(at)
        await at.press("escape")
        for size in ((80, 24), (60, 15), (120, 40)):
            await at.pilot.resize_terminal(*size)
            await at.press("alt+g")
            dialog = await at.opened(LabelsDialog)
            await answered(at, dialog)
            first = bars(dialog)[0]
            assert first.startswith(f"● {best}")
            assert "█" in first
            assert f"{100 * shares[best] / sum(shares.values()):.1f}%" in first
            assert first.endswith(f"p {of_logprob(math.log(shares[best])):>10}")
            assert f"the labels have {fine_percent(sum(shares.values()))}" in told(dialog)
            assert any(first[:20] in line for line in drawn(dialog))
            assert all(len(line) <= size[0] for line in bars(dialog))
            assert (end_line(dialog) == STORY) == (size[0] > len(STORY) + 4)
            assert STORY.endswith(end_line(dialog).removeprefix("…"))
            await at.press("escape")
            assert at.main.editor.has_focus
            assert at.story == STORY


async def test_what_was_typed_is_there_the_next_time_and_asked_at_once(start: Start) -> None:
    async with start(STORY) as at:
        before = bars(await asked(at))
        await at.press("tab", *"Well?", "escape", "alt+g")
        dialog = await at.opened(LabelsDialog)
        await answered(at, dialog)
        assert dialog.query_one("#labels", Area).text == LABELS
        assert dialog.query_one("#question", Area).text == "Well?"
        assert bars(dialog) != before


async def test_a_suggestion_or_a_branch_is_asked_about_as_if_the_story_ended_there(
    start: Start,
) -> None:
    async with start(STORY) as at:
        await at.weave()
        await at.press("ctrl+o", "j", "j")
        row = at.main.row
        assert row is not None
        added = at.session.added(row.tail)
        dialog = await asked(at, "F", "and, so, by")
        assert dialog.title == "What the model would call the suggestion"
        assert own(dialog) == pytest.approx(await shares_of("and, so, by", STORY + added.decode()))
        await at.press("escape")
        assert at.main.suggestions.has_focus
        await at.press("alt+l")
        await at.opened(LoomScreen)
        await at.press("a", *" purred", "ctrl+j")
        await at.press("f")
        dialog = await at.opened(LabelsDialog)
        await answered(at, dialog)
        assert dialog.title == "What the model would call the branch"
        assert own(dialog) == pytest.approx(await shares_of("and, so, by", f"{STORY} purred"))
        await at.press("escape", "escape")
        assert at.story == STORY


async def test_what_is_wrong_with_labels_is_said_in_the_dialog(start: Start) -> None:
    async with start(STORY) as at:
        await at.press("alt+g")
        dialog = await at.opened(LabelsDialog)
        area = dialog.query_one("#labels", Area)
        for labels, title in (
            ("cat, cat", "The label cat is given twice"),
            ("=a, b", "A label has no name"),
            ("", "There are too few labels"),
            ("cat=, b", "The label cat has no alias"),
            ("one", "There are too few labels"),
        ):
            area.text = labels
            await at.press("ctrl+j")
            await at.until(partial(said, dialog, f"✗ {title}. "))
            assert not dialog.reading.running
            assert dialog.query_one("#told").has_class("-wrong")
        await at.press("end", *", dog, fox", "ctrl+j")
        await answered(at, dialog)
        assert set(own(dialog)) == {"one", "dog", "fox"}
        assert not dialog.query_one("#told").has_class("-wrong")
        area.text = "xylophone, zeppelin"
        await at.press("ctrl+j")
        await at.until(lambda: "less than 1%" in told(dialog))
        assert "Rather it begins: " in told(dialog)
        # One a line, where they have commas.
        area.text = ""
        await at.press(*"purred, then", "enter", *"slept=dozed|sat", "ctrl+j")
        await at.until(lambda: set(own(dialog)) == {"purred, then", "slept"})


class Gone(ScriptedBackend):
    """A model whose server went away."""

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        error = BackendUnavailable("The server does not answer", "It is gone.", "Start it.")
        for query in queries:
            yield Failed(query.path, error)

    async def score(self, tokens, start=1, keep=64):  # type: ignore[no-untyped-def]
        raise BackendUnavailable("The server does not answer", "It is gone.", "Start it.")
        yield


async def test_a_model_that_cannot_answer_is_said_with_its_cause(start: Start) -> None:
    start.opening = opens(Gone)
    async with start(STORY) as at:
        dialog = await asked(at)
        assert told(dialog) == "✗ The server does not answer. It is gone. Start it."
        await at.press("escape")
        assert at.main.editor.has_focus


async def test_a_stop_keeps_what_is_known_and_is_heard_at_once(start: Start) -> None:
    gate = Gate(0)
    start.opening = opens(lambda: ScriptedBackend(gate))
    async with start(STORY) as at:
        await at.press("alt+g")
        dialog = await at.opened(LabelsDialog)
        await at.press(*LABELS, "ctrl+j")
        await gate.reached.wait()
        await at.until(lambda: told(dialog).startswith("Asking"))
        await at.press("ctrl+g")
        assert not dialog.reading.running
        assert dialog.reading.verdict is None
        await at.press("escape")
        assert at.main.editor.has_focus
        gate.opened.set()


async def test_bars_stand_there_before_all_is_known() -> None:
    """A label that takes more tokens is told later; the others have a bar meanwhile."""
    begun = session(STORY.encode())
    known: list[int] = []
    ended = asyncio.Event()

    def look() -> None:
        labels = reading.verdict.labels if reading.verdict is not None else ()
        known.append(sum(label.logprob > -math.inf for label in labels))
        if known[-1] and not reading.running:
            ended.set()

    reading = LabelReader(begun, STORY.encode(), look)
    reading.start(LabelForm("read, went to the river"))
    await ended.wait()
    assert {0, 1, 2} <= set(known)
    assert known == sorted(known)
    await reading.close()
    await begun.close()


async def test_a_long_story_is_asked_about_by_its_end(start: Start) -> None:
    async with start(STORY * 400) as at:
        dialog = await asked(at)
        seen = dialog.reading.seen
        assert seen.dropped
        assert f"the first {seen.dropped:,} are beyond" in told(dialog)
        assert end_line(dialog).startswith("…")
        assert (STORY * 400).endswith(end_line(dialog)[1:])


async def test_in_a_chat_the_label_is_the_reply(start: Start) -> None:
    async def opening(progress: Progress) -> Backend:
        return await open_llama(BUNDLED, LlamaSettings(threads=1))

    start.opening = opening
    async with start("The fox was glad.") as at:
        dialog = await asked(at, labels="yes, no")
        alone = own(dialog)
        await at.press("f5")
        await answered(at, dialog)
        assert own(dialog) != pytest.approx(alone)
        await at.press("f5")
        await answered(at, dialog)
        assert own(dialog) == pytest.approx(alone, rel=1e-2)
