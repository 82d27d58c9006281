"""The keys of the mix screen, from its bindings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from llterm.ui.screens.dialog import Dialog
from llterm.ui.screens.help import bound, keys_table

if TYPE_CHECKING:
    from llterm.ui.screens.mix import MixScreen

_LEGEND = """\
  A B C  the models; under each token the one whose first choice it was, the surest
         of several; · no model's first choice: the mix found it; nothing: yours
  In the reference mode: the models that would say something else there, and the
  hotter a token, the further the chosen model is from the reference (1 nat: full).
  ▸ the chosen column   • what stands there   ≠ another first choice
  KLD is the KL divergence from the mix, or the reference, in nats."""


class MixHelp(Dialog[None]):
    """Keys and signs."""

    TITLE = "The mix screen"
    KEYS = "↑↓ scroll   Esc close"

    def __init__(self, screen: MixScreen) -> None:
        super().__init__()
        self._of = screen

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(keys_table(bound(self._of, ours=True)))
            yield Static("Signs", classes="help--pane help--title", markup=False)
            yield Static(_LEGEND, markup=False)
