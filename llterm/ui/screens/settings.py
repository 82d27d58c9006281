"""Every setting of the weave. A change counts at once; a value that cannot be is refused in place.

Rows are made from the configuration's own table of settings, so that ranges and help are the same
here, in the file and on the command line.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Static

from llterm.config.schema import UI, WEAVE
from llterm.config.setting import Setting
from llterm.core.rules import Rules
from llterm.ui.options import Options
from llterm.ui.screens.dialog import Dialog
from llterm.ui.screens.painting import troubles
from llterm.ui.widgets.fields import Field
from llterm.ui.widgets.toggle import Toggle

if TYPE_CHECKING:
    from llterm.ui.screens.weave import WeaveScreen

_SPEED = next(one for one in UI if one.name == "play_speed")
_OPTIONS = tuple(one for one in UI if one.name in {field.name for field in fields(Options)})
"""Those of the app that this panel holds under their own names."""
_ALL = (*WEAVE, *_OPTIONS, _SPEED)


class Settings(Dialog[None]):
    """The panel. Each row: name, value, range; below them what the row in focus means."""

    TITLE = "Weave settings"
    KEYS = "↑↓ move   Space yes or no   Esc done"
    BINDINGS = [  # noqa: RUF012
        Binding("up", "app.focus_previous", show=False),
        Binding("down,enter", "app.focus_next", show=False),
    ]

    def __init__(self, main: WeaveScreen) -> None:
        super().__init__()
        self._main = main

    def body(self) -> ComposeResult:
        rules = self._main.session.document.rules
        with _Rows(can_focus=False):
            for setting in WEAVE:
                yield from self._row(setting, getattr(rules, setting.attribute))
            for setting in _OPTIONS:
                yield from self._row(setting, getattr(self._main.options, setting.name))
            speed = self._main.session.player.speed
            yield from self._row(_SPEED, 0.0 if math.isinf(speed) else speed)
        yield Static(classes="setting--note", markup=False)

    def _row(self, setting: Setting, value: object) -> ComposeResult:
        with Horizontal(classes="setting"):
            yield Static(setting.name.replace("_", " "), classes="setting--name", markup=False)
            if setting.kind == "yes or no":
                yield Toggle(bool(value), id=setting.name)
            else:
                yield Field(shown(value), id=setting.name)
                text = "texts, with | between" if isinstance(value, tuple) else setting.range
                yield Static(text, classes="setting--range", markup=False)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        name = event.widget.id
        if any(one.name == name for one in _ALL):
            self._note(_setting(name).help)

    def _note(self, text: str, *, wrong: bool = False) -> None:
        note = self.query_one(".setting--note", Static)
        note.set_class(wrong, "-wrong")
        note.update(text)

    @on(Field.Changed)
    def _typed(self, event: Field.Changed) -> None:
        setting = _setting(event.input.id)
        try:
            value = read(setting, event.value)
        except ValueError as wrong:
            event.input.add_class("-wrong")
            allowed = f" (allowed: {setting.range})" if setting.range not in str(wrong) else ""
            self._note(f"✗ {wrong}{allowed}", wrong=True)
            return
        event.input.remove_class("-wrong")
        if event.input.has_focus:
            self._note(setting.help)
        self._set(setting, value)

    @on(Toggle.Changed)
    def _switched(self, event: Toggle.Changed) -> None:
        self._set(_setting(event.toggle.id), event.value)

    def _set(self, setting: Setting, value: object) -> None:
        session = self._main.session
        if setting is _SPEED:
            session.player.speed = float(str(value)) or math.inf
            self._main.keep_choice("ui.play_speed", value)
            return
        if setting in _OPTIONS:
            setattr(self._main.options, setting.name, value)
            self._main.keep_choice(f"ui.{setting.name}", value)
            return
        changed = {setting.attribute: value}
        rules: Rules = replace(session.document.rules, **changed)  # type: ignore[arg-type]
        with troubles(self._main):
            session.set_rules(rules)


class _Rows(VerticalScroll, inherit_bindings=False):
    """Scrolls to the row in focus, and leaves the arrows to the panel, which moves by rows."""


def shown(value: object) -> str:
    """A value as it stands in a field; texts are separated by `|`, line breaks are `\\n`."""
    if isinstance(value, tuple):
        return "|".join(text.replace("\n", "\\n") for text in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def read(setting: Setting, text: str) -> object:
    """The value that was typed. Raises ValueError with the reason."""
    if setting.kind == "list of texts":
        return setting.check([one for one in text.replace("\\n", "\n").split("|") if one])
    if not text.strip():
        raise ValueError("nothing is typed")
    return setting.parse(text.strip())


def _setting(name: str | None) -> Setting:
    return next(one for one in _ALL if one.name == name)
