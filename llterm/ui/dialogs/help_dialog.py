"""Every key that works, read from the bindings that are really there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.widgets import Static

from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.widgets.key_bar import key_name

_PICK = "Accept suggestion number"
_HIDDEN = frozenset({"super", "hyper", "meta"})


class HelpPart(NamedTuple):
    """Keys of a node, under a title if it has one."""

    title: str
    node: DOMNode
    ours: bool
    """Whether they are of the registry, or those that the node inherits."""


SIGNS = """\
  ▾ ▸  open branch, folded branch
  ■ ○  the text ends here, not ended yet
  ␣ ⏎ ⇥  space, line break, tab
  �  something that cannot be shown
  ┬  a fork; in the loom ◆ is a bookmark, • is unread, ● is the story's end
  Heat: cold is expected, hot is not; • the candidate that stands there.
  A surprise has 6 bits or more: less likely than one in 64. A fork has
  3 bits of entropy or more, or a second candidate of 25% or more.
  A percent is the share of the row above it; under a tenth of a percent
  it is odds, 1 in 2,000 (k thousand, M million, B billion, T trillion).
  Joint is the share of everything that could follow the story; bits are
  -log2 of it: one more for each halving. Choices have the model's own
  probability, and beside it their share of what all choices have."""


class HelpDialog(Dialog[None]):
    """Keys by pane, the focused pane's first; then what signs mean."""

    KEYS = "↑↓ scroll   F2 all commands by name   Esc close"

    def __init__(
        self,
        parts: Sequence[HelpPart],
        signs: str = SIGNS,
        *,
        title: str = "Keys",
        palette: bool = True,
    ) -> None:
        """`palette`: whether the commands have one where the help was asked for."""
        super().__init__()
        self.title = title
        self._parts, self._signs = parts, signs
        if not palette:
            self.KEYS = "↑↓ scroll   Esc close"

    def body(self) -> ComposeResult:
        with VerticalScroll():
            for title, node, ours in self._parts:
                if title:
                    yield Static(Content.styled(title, "bold"), classes="help--pane")
                yield Static(keys_table(bound(node, ours=ours)))
            yield Static("Signs", classes="help--pane help--title", markup=False)
            yield Static(self._signs, markup=False)


def bound(node: DOMNode, *, ours: bool) -> list[tuple[str, str]]:
    """Keys and what they do: a node's bindings from the registry, or those it inherits."""
    keys_of: dict[str, list[str]] = {}
    for key, binding in node._bindings:
        plain = not binding.system and not _HIDDEN & set(key.split("+"))
        shadowed = not ours and any(
            one.id and one.action != binding.action for one in node._bindings.key_to_bindings[key]
        )
        if binding.description and plain and not shadowed and bool(binding.id) == ours:
            keys_of.setdefault(binding.description, []).append(key_name(key))
    picks = [text for text in keys_of if text.startswith(_PICK)]
    for text in picks[1:]:
        del keys_of[text]
    if picks:
        keys_of[picks[0]] = ["1-9"]
    return [(" ".join(keys[:3]), text.replace("number 1", "of this number"))
            for text, keys in keys_of.items()]  # fmt: skip


def keys_table(rows: Iterable[tuple[str, str]]) -> Content:
    rows = list(rows)
    width = max((cell_len(keys) for keys, _ in rows), default=0)
    lines = []
    for keys, text in rows:
        pad = " " * (width - cell_len(keys))
        lines.append(Content.assemble("  ", (keys, "$accent"), f"{pad}  {text}"))
    return Content("\n").join(lines)
