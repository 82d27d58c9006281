"""The model picker: every model that can be opened, and what speaks for or against it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llterm.backends.inventory import ModelEntry, fit_text, list_models, size_text, with_offers
from llterm.backends.registry import KnownModel
from llterm.config import Config
from llterm.config.server_settings import is_address
from llterm.core.display_text import label_text
from llterm.ui.dialogs.dialog import ListDialog
from llterm.ui.key_gate import AWAITED
from llterm.ui.widgets.text_fit import crop, fill

UNLOAD = "unload"
NAME = 34
"""Most cells of a name in the list; the line below says it whole."""


class ModelsDialog(ListDialog[KnownModel | str]):
    """Gives back the chosen model, or `UNLOAD`. Looks into the files while it is open."""

    TITLE = "Models"
    KEYS = "⏎ open   U unload the one in use   Esc close"
    BINDINGS = [  # noqa: RUF012
        Binding("u", "unload", show=False),
    ]

    def __init__(self, config: Config, used: str) -> None:
        """`used`: the name of the model in use; empty without one."""
        super().__init__()
        self._config = config
        self._used = used
        self._rows: Sequence[ModelEntry] = ()

    def body(self) -> ComposeResult:
        yield OptionList(markup=False, compact=True)
        yield Static("Looking for models …", id="chosen", classes="dialog--note", markup=False)

    def on_mount(self) -> None:
        self.run_worker(self._look(), group=AWAITED)

    async def _look(self) -> None:
        """Fill the list: disks may be slow, and the app must not wait for them."""
        bare = [self._used] if is_address(self._used) else []
        self._rows = await asyncio.to_thread(list_models, self._config, bare)
        options = self.options
        options.add_options(Option(line) for line in _lines(self._rows, self._used))
        used = [one.known.name == self._used for one in self._rows]
        options.highlighted = used.index(True) if any(used) else 0
        options.focus()
        self.run_worker(self._ask_servers())

    async def _ask_servers(self) -> None:
        """What servers offer, once they have said so."""
        self._rows = await with_offers(self._rows)
        self._note(self.options.highlighted)

    def action_unload(self) -> None:
        self.dismiss(UNLOAD)

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._note(event.option_index)

    def _note(self, index: int | None) -> None:
        """The whole of what is known of a row, below the list."""
        if index is None:
            return
        model = self._rows[index]
        doubt = model.problem or fit_text(model.fit)
        parts = [model.known.name, doubt, str(model.known.path or model.offers)]
        lines = [label_text(line) for line in "\n".join(filter(None, parts)).split("\n")]
        self.query_one("#chosen", Static).update(Content("\n".join(lines)))

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._rows[event.option_index].known)


def _lines(rows: Sequence[ModelEntry], used: str) -> list[Content]:
    """A line a model: mark, name, size, quantisation, origin, doubts."""
    names = [crop(label_text(model.known.name), NAME) for model in rows]
    wide = max(map(cell_len, names))
    lines = []
    for model, name in zip(rows, names, strict=True):
        mark = "● " if model.known.name == used else "  "
        size = size_text(model.size) if model.size else ""
        doubt = "cannot be opened" if model.problem else fit_text(model.fit)
        lines.append(
            Content.assemble(
                mark,
                (fill(name, wide), "bold"),
                f"  {size:>9}  {label_text(model.quantisation):<7} {model.origin}",
                (f"  {doubt}" if doubt else "", "$warning"),
            )
        )
    return lines
