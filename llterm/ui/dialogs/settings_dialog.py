"""Every setting of the weave. A change counts at once; a value that cannot be is refused in place.

Rows are made from the configuration's own table of settings, so that ranges and help are the same
here, in the file and on the command line.
"""

from __future__ import annotations

import math
from dataclasses import replace

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Static

from llterm import state
from llterm.config.schema import UI, WEAVE
from llterm.config.setting import Setting
from llterm.core.weave_settings import WeaveSettings
from llterm.session.session import Session
from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.dialogs.sampler_rows import typed_value, value_text
from llterm.ui.launch import ScreenOptions
from llterm.ui.notices import troubles
from llterm.ui.widgets.fields import Field, Toggle

_SPEED = next(one for one in UI if one.name == "play_speed")
_OPTIONS = tuple(
    one for one in UI if one.name in ("accept_sole", "autopilot") or one.name.startswith("sample_")
)
_ALL = (*WEAVE, *_OPTIONS, _SPEED)


class SettingsDialog(Dialog[None]):
    """The panel. Each row: name, value, range; below them what the row in focus means."""

    TITLE = "Weave settings"
    KEYS = "↑↓ move   Space yes or no   Esc done"
    BINDINGS = [  # noqa: RUF012
        Binding("up", "app.focus_previous", show=False),
        Binding("down,enter", "app.focus_next", show=False),
    ]

    def __init__(self, session: Session, options: ScreenOptions) -> None:
        super().__init__()
        self._session, self._options = session, options

    def body(self) -> ComposeResult:
        rules = self._session.document.rules
        with _Rows(can_focus=False):
            for setting in WEAVE:
                yield from self._row(setting, getattr(rules, setting.attribute))
            for setting in _OPTIONS:
                yield from self._row(setting, getattr(self._options.ui, setting.name))
            speed = self._session.player.speed
            yield from self._row(_SPEED, 0.0 if math.isinf(speed) else speed)
        yield Static(classes="setting--note", markup=False)

    def _row(self, setting: Setting, value: object) -> ComposeResult:
        with Horizontal(classes="setting"):
            yield Static(setting.name.replace("_", " "), classes="setting--name", markup=False)
            if setting.kind == "yes or no":
                yield Toggle(bool(value), id=setting.name)
            else:
                yield Field(value_text(value), id=setting.name)
                text = "texts, with | between" if isinstance(value, tuple) else setting.range
                yield Static(text, classes="setting--range", markup=False)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        name = event.widget.id
        if any(one.name == name for one in _ALL):
            self.note(_setting(name).help)

    @on(Field.Changed)
    def _typed(self, event: Field.Changed) -> None:
        setting = _setting(event.input.id)
        try:
            value = typed_value(setting, event.value)
        except ValueError as wrong:
            event.input.add_class("-wrong")
            allowed = f" (allowed: {setting.range})" if setting.range not in str(wrong) else ""
            self.note(f"✗ {wrong}{allowed}", wrong=True)
            return
        event.input.remove_class("-wrong")
        if event.input.has_focus:
            self.note(setting.help)
        self._set(setting, value)

    @on(Toggle.Changed)
    def _switched(self, event: Toggle.Changed) -> None:
        self._set(_setting(event.toggle.id), event.value)

    def _set(self, setting: Setting, value: object) -> None:
        if setting is _SPEED:
            self._session.player.speed = float(str(value)) or math.inf
            state.keep({"ui.play_speed": value})
            return
        if setting in _OPTIONS:
            self._options.ui = replace(self._options.ui, **{setting.name: value})  # type: ignore[arg-type]
            state.keep({f"ui.{setting.name}": value})
            return
        changed = {setting.attribute: value}
        rules: WeaveSettings = replace(self._session.document.rules, **changed)  # type: ignore[arg-type]
        with troubles(self):
            self._session.set_rules(rules)


class _Rows(VerticalScroll, inherit_bindings=False):
    """Scrolls to the row in focus, and leaves the arrows to the panel, which moves by rows."""


def _setting(name: str | None) -> Setting:
    return next(one for one in _ALL if one.name == name)
