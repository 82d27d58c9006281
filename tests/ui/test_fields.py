"""Every field of the app: draws inertly what a stranger wrote, and gives it back as it was."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from textual.screen import Screen
from textual.widget import Widget

import llterm
import llterm.ui
from llterm.constraints.spec import Constraint
from llterm.core.chat_messages import Chat
from llterm.core.display_text import area_text, field_text
from llterm.session.label_reader import LabelForm
from llterm.ui.dialogs.chat_dialog import ChatDialog
from llterm.ui.dialogs.constraint_dialog import ConstraintDialog
from llterm.ui.dialogs.export_dialog import ExportDialog
from llterm.ui.dialogs.inspector_dialog import InspectorDialog
from llterm.ui.dialogs.labels_dialog import LabelsDialog
from llterm.ui.dialogs.sampler_dialog import SamplerDialog
from llterm.ui.dialogs.sentences_dialog import WriteIn
from llterm.ui.dialogs.settings_dialog import SettingsDialog
from llterm.ui.dialogs.text_dialogs import (
    AskLine,
    AskText,
    EditBranch,
    PrefixDialog,
    PutText,
    TextDialog,
)
from llterm.ui.weave.heat_handlers import spot_of
from llterm.ui.widgets.fields import Area, Field, FieldDocument
from llterm.ui.widgets.find_bar import FindBar
from tests.helpers import hostile_text
from tests.helpers.driven_app import Driven, Start, drawn

TEXT = hostile_text.TEXT + "\ud800\udcff\ue000 end"
LINES = f"{TEXT}\n\t{TEXT}\r\nlast\x85\u2028 line"
ALLOWED = {"llterm.ui.widgets.fields", "llterm.ui.weave.prose"}


async def _constrain(_: Constraint | None) -> None:
    """Takes anything."""


def _inspector(at: Driven) -> Screen[Any]:
    spot = spot_of(at.main)
    assert spot is not None
    return InspectorDialog(at.session, spot, "a token")


def _labels(at: Driven) -> Screen[Any]:
    at.main.options.labels = LabelForm(LINES, LINES)
    return LabelsDialog(at.session, at.main.options, b"text", TEXT)


SCREENS: dict[type[Any], Callable[[Driven], Screen[Any]]] = {
    AskLine: lambda at: AskLine(TEXT, LINES, TEXT),
    AskText: lambda at: AskText(TEXT, LINES),
    ChatDialog: lambda at: ChatDialog(Chat(LINES, LINES)),
    ConstraintDialog: lambda at: ConstraintDialog(Constraint("regex", LINES), _constrain),
    EditBranch: lambda at: EditBranch(LINES),
    ExportDialog: lambda at: ExportDialog(Path(f"{hostile_text.TEXT.replace('/', '')}.loom")),
    InspectorDialog: _inspector,
    LabelsDialog: _labels,
    PrefixDialog: lambda at: PrefixDialog(LINES),
    PutText: lambda at: PutText(LINES),
    SamplerDialog: lambda at: SamplerDialog(at.session),
    WriteIn: lambda at: WriteIn(LINES),
    SettingsDialog: lambda at: SettingsDialog(at.session, at.main.options),
}
PARTS = {FindBar}
"""Not screens: the weave screen's own, and the loom screen's."""


def modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(llterm.ui.__path__, "llterm.ui.")
    return [importlib.import_module(one.name) for one in found]


def makes_fields(kind: type[Any]) -> bool:
    """Whether its own code, or that of a class it is made of, makes a field."""
    ours = [one for one in kind.__mro__ if one.__module__.startswith("llterm.ui.")]
    trees = [ast.parse(inspect.getsource(one)) for one in ours]
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"Field", "Area"}
        for tree in trees
        for node in ast.walk(tree)
    )


def test_there_are_no_fields_but_these_two() -> None:
    """Textual's own draw what they hold."""
    for path in Path(llterm.__path__[0]).rglob("*.py"):
        named = ".".join(["llterm", *path.relative_to(llterm.__path__[0]).with_suffix("").parts])
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual"):
                names = {one.name for one in node.names}
                assert not names & {"Input", "TextArea", "MaskedInput"} or named in ALLOWED, path
            if isinstance(node, ast.Attribute) and node.attr in {"Input", "TextArea"}:
                raise AssertionError(f"{path}:{node.lineno}")


def test_every_dialog_with_a_field_is_opened_here() -> None:
    kinds = {
        kind
        for module in modules()
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and issubclass(kind, Widget) and makes_fields(kind)
    }
    assert kinds - {TextDialog} == set(SCREENS) | PARTS


async def test_a_hostile_text_is_drawn_inert_and_kept(start: Start) -> None:
    async with start(size=(100, 40)) as at:
        await at.press("f4")
        await at.until(lambda: at.main.heat.reading is not None)
        for make in SCREENS.values():
            await unharmed(at, make(at))


def fields(screen: Screen[Any]) -> list[Field | Area]:
    return [*screen.query(Field), *screen.query(Area)]


async def unharmed(at: Driven, screen: Screen[Any]) -> None:
    """Whatever it was made with, and then a hostile text in every line, placeholder and notice."""
    at.app.push_screen(screen)
    await at.until(lambda: at.app.screen is screen and fields(screen))
    assert all(area.text == LINES for area in screen.query(Area))
    if isinstance(screen, AskLine):
        assert screen.query_one(Field).value == TEXT
    for line in screen.query(Field):
        line.value = line.placeholder = TEXT
    at.app.notify(TEXT, title=TEXT)
    await at.until(lambda: "␛" in "".join(drawn(screen)))
    shown = "".join(drawn(screen))
    assert shown == field_text(shown), screen
    assert all(line.value == TEXT for line in screen.query(Field))
    screen.dismiss(None)
    await at.until(lambda: at.app.screen is at.main)


async def test_an_edit_changes_its_place_alone_and_undo_brings_the_bytes_back(start: Start) -> None:
    async with start() as at:
        screen = AskText("Edit", LINES)
        at.app.push_screen(screen)
        await at.until(lambda: at.app.screen is screen and [*screen.query(Area)])
        area = screen.query_one(Area)
        await at.press("backspace", "backspace", "x")
        assert area.text == LINES[:-2] + "x"
        area.move_cursor((0, 0))
        area.replace("", (0, 0), (0, 9))
        assert area.text == LINES[9:-2] + "x"
        area.undo()
        area.select_all()
        assert area.selected_text == area.text
        for _ in range(3):
            area.undo()
        assert area.text == LINES
        area.redo()
        await at.press("ctrl+j")
        assert at.app.screen is at.main


async def test_a_line_is_edited_by_its_stand_ins(start: Start) -> None:
    async with start() as at:
        answers: list[str | None] = []
        at.app.push_screen(AskLine("Name", "", "a\x1b\x07\tb"), answers.append)
        await at.until(lambda: [*at.app.screen.query(Field)])
        field = at.app.screen.query_one(Field)
        assert "a␛␇⇥b" in "".join(drawn(at.app.screen))
        field.cursor_position = 3
        await at.press("backspace", "enter")
        assert answers == ["a\x1b\tb"]


texts = st.text(st.sampled_from("ab\n\t\r\x1b\x07\x85\u2028\u202e\ue000é🦊\udcff"), max_size=12)


@given(texts)
def test_a_text_and_what_is_drawn_have_the_same_places(text: str) -> None:
    assert len(area_text(text)) == len(field_text(text)) == len(text)
    assert area_text(area_text(text)) == area_text(text)
    assert field_text(text) == area_text(field_text(text))
    assert "".join(field_text(text).splitlines()) == field_text(text)


@given(texts, st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), texts), max_size=4))
def test_a_draft_is_the_text_whatever_is_edited(
    text: str, edits: list[tuple[int, int, str]]
) -> None:
    """Against the same edits of a plain string; each edit is undone by what it took."""
    draft = FieldDocument(text)
    for first, other, new in edits:
        before = draft.text
        start, stop = sorted((first % (len(before) + 1), other % (len(before) + 1)))
        places = [draft.get_location_from_index(at) for at in (start, stop)]
        assert draft.get_text_range(places[0], places[1]) == before[start:stop]
        result = draft.replace_range(places[0], places[1], new)
        assert result.replaced_text == before[start:stop]
        assert draft.text == before[:start] + new + before[stop:]
        assert "\n".join(draft.lines) == area_text(draft.text)
        again = FieldDocument(draft.text)
        again.replace_range(places[0], result.end_location, result.replaced_text)
        assert again.text == before
