"""Keys for every screen and pane, each in one burst, and what must be so after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from llterm.config.sampling_values import value_of
from llterm.constraints.spec import choices
from llterm.core.chat_messages import ChatMessage, read_chat
from llterm.session import looms
from llterm.session.document import Document
from llterm.ui.dialogs import sampler_rows
from llterm.ui.dialogs.attribution_dialog import AttributionDialog
from llterm.ui.dialogs.chat_dialog import ChatDialog
from llterm.ui.dialogs.comparison_dialog import ComparisonDialog
from llterm.ui.dialogs.constraint_dialog import ConstraintDialog
from llterm.ui.dialogs.export_dialog import ExportDialog
from llterm.ui.dialogs.help_dialog import HelpDialog
from llterm.ui.dialogs.info_dialogs import LogDialog
from llterm.ui.dialogs.inspector_dialog import InspectorDialog
from llterm.ui.dialogs.labels_dialog import LabelsDialog
from llterm.ui.dialogs.looms_dialog import LoomsDialog
from llterm.ui.dialogs.models_dialog import ModelsDialog
from llterm.ui.dialogs.place_dialogs import AlternativesDialog, PlaceDialog
from llterm.ui.dialogs.sampler_dialog import SamplerDialog
from llterm.ui.dialogs.sentences_dialog import SentencesDialog, WriteIn
from llterm.ui.dialogs.settings_dialog import SettingsDialog
from llterm.ui.dialogs.stories_dialog import StoriesDialog
from llterm.ui.dialogs.text_dialogs import AskLine, AskText, EditBranch, PrefixDialog, PutText
from llterm.ui.loom.loom_screen import LoomScreen
from llterm.ui.mix.mix_screen import MixScreen
from llterm.ui.palette import Palette
from llterm.ui.weave.panes import JumpScreen
from llterm.ui.weave.weave_screen import WeaveScreen
from llterm.ui.widgets.find_bar import FindBar
from tests.helpers.bursts import acted, burst, pasted, written
from tests.helpers.driven_app import STORY, Driven

EXPORTED = "burst.txt"
"""What the export writes, in the folder in which the app was started."""


@dataclass(frozen=True)
class Burst:
    """Keys that open something, are meant for it, and come back to the story."""

    covers: tuple[object, ...]
    """Screens, panes and widgets whose keys are in it."""
    keys: str
    holds: Callable[[Driven], object]
    """What must be so in the end."""


def marks(at: Driven) -> list[Any]:
    return list(at.session.document.loom.marks.values())


def in_order(*covers: object, keys: str, holds: Callable[[Driven], object]) -> Burst:
    return Burst(covers, keys, holds)


def ends(text: str) -> Callable[[Driven], bool]:
    return lambda at: at.story.endswith(text) and at.app.screen is at.main


# Each leaves the story in focus; texts are told apart by what was written after them.
PLAIN = [
    in_order(
        WeaveScreen, "story", "everywhere",
        keys=written(*" quick", "ctrl+end", *" fox"), holds=ends(" quick fox"),
    ),
    in_order("a paste", keys=pasted(" pasted\ntext") + written(*"!"), holds=ends(" pasted\ntext!")),
    in_order(
        PrefixDialog, keys=written("f7", *"WORD", "ctrl+j", *"a"),
        holds=lambda at: at.session.document.prefix == "WORD" and ends("!a")(at),
    ),
    in_order(
        FindBar, keys=written("ctrl+f", *"fox", "escape", *"F", "ctrl+end", *"b"),
        holds=lambda at: " quick Ffox" in at.story and ends("!ab")(at),
    ),
    in_order(
        LoomScreen, AskText, "loom",
        keys=written("alt+l", "o", *"hello", "ctrl+j", "escape", *"c"),
        holds=lambda at: "hello" in [one.note for one in marks(at)] and ends("!abc")(at),
    ),
    in_order(
        AskLine, keys=written("alt+l", "t", *"sad, long", "enter", "3", "escape", *"d"),
        holds=lambda at: any(one.tags == ("sad", "long") and one.rating == 3 for one in marks(at))
        and ends("!abcd")(at),
    ),
    in_order(
        PlaceDialog, keys=written("alt+l", "S", "home", "enter", "escape", *"e"),
        holds=lambda at: len(at.session.document.loom.path()) > 2 and ends("!abcde")(at),
    ),
    in_order(
        ComparisonDialog,
        keys=written(
            "alt+l", "A", *" a branch", "ctrl+j", "w", "down", "escape", "escape", *"f",
        ),
        holds=ends("!abcdef"),
    ),
    in_order(
        HelpDialog, keys=written("f1", "pagedown", "escape", *"g"), holds=ends("!abcdefg"),
    ),
    in_order(LogDialog, keys=written("f12", "down", "escape", *"h"), holds=ends("!abcdefgh")),
    in_order(
        SettingsDialog, keys=written("f5", "7", "escape", *"i"),
        holds=lambda at: at.session.document.rules.depth == 7 and ends("!abcdefghi")(at),
    ),
    in_order(
        SamplerDialog, keys=written("ctrl+k", *"0.5", "enter", "escape", *"j"),
        holds=lambda at: value_of(
            at.session.sampling, sampler_rows.rows(at.session.sampling)[1].name
        ) == 0.5 and ends("!abcdefghij")(at),
    ),
    in_order(
        ChatDialog, keys=written("alt+c", *"Hi", "f5", *"Yes", "f5", *"So", "ctrl+j", *"k"),
        holds=lambda at: read_chat(at.session.document.chat).said()
        == (ChatMessage("user", "Hi"), ChatMessage("assistant", "Yes"), ChatMessage("user", "So"))
        and ends("!abcdefghijk")(at),
    ),
    in_order(
        Palette, keys=written("ctrl+p", *"hidden text", "enter", *"+", "ctrl+j", *"l"),
        holds=lambda at: at.session.document.prefix == "WORD+" and ends("!abcdefghijkl")(at),
    ),
    in_order(
        LoomsDialog, keys=written("alt+o", "j", "d", "d", "u", "escape", *"m"),
        holds=lambda at: {one.title for one in looms.looms()} == {"cat", "boat"}
        and ends("!abcdefghijklm")(at),
    ),
    in_order(
        SentencesDialog, WriteIn, keys=written("alt+n", "w", *" So.", "ctrl+j", "escape", *"n"),
        holds=ends("!abcdefghijklm So.n"),
    ),
    in_order(
        MixScreen, "mix", keys=written("alt+x", "v", "home", "escape", *"o"),
        holds=ends(" So.no"),
    ),
    in_order(
        ConstraintDialog, keys=written("ctrl+l", *" lamp", "ctrl+j", *"p"),
        holds=lambda at: at.session.constraint == choices([" lamp"]) and ends(" So.nop")(at),
    ),
    in_order(
        ExportDialog, keys=written("alt+e", "tab", *EXPORTED, "enter", *"q"),
        holds=lambda at: Path(EXPORTED).exists() and ends(" So.nopq")(at),
    ),
    in_order(
        LabelsDialog, keys=written("alt+g", *"cat, dog", "ctrl+j", "f5", "escape", *"A"),
        holds=lambda at: at.main.options.labels.labels == "cat, dog" and ends(" So.nopqA")(at),
    ),
    in_order(
        StoriesDialog, keys=written("ctrl+right_square_bracket", "2", *"r"),
        holds=lambda at: at.story.endswith("r") and not at.story.endswith(" So.nopqAr"),
    ),
    in_order(
        ModelsDialog, keys=written("alt+m", "j", "k", "u", *"s"),
        holds=lambda at: at.session.source is None and at.story.endswith("rs"),
    ),
]  # fmt: skip
WOVEN = [
    in_order(
        "suggestions", keys=written("ctrl+o", "end", "home", "escape", *"a"),
        holds=lambda at: at.story == f"{STORY}a",
    ),
    in_order(
        EditBranch, keys=written("backspace", "ctrl+n", "f3", *"!", "ctrl+j", *"b"),
        holds=ends("!b"),
    ),
    in_order(
        AlternativesDialog, keys=written("alt+l", "i", "down", "escape", "escape", *"c"),
        holds=ends("!bc"),
    ),
    in_order(
        "a theme", keys=written("ctrl+o", "t", *"paper", "enter", "escape", *"d"),
        holds=lambda at: at.app.theme == "paper" and ends("!bcd")(at),
    ),
]  # fmt: skip
HEATED = [
    in_order(
        JumpScreen, "heat",
        keys=written("ctrl+o", "3", "h", "home", "right", "escape", *"a"), holds=ends("a"),
    ),
    in_order(
        InspectorDialog,
        keys=written("f4", "home", "i", "tab", *"min_p=0.5", "escape", "escape", *"b"),
        holds=ends("ab"),
    ),
    in_order(
        AttributionDialog, keys=written("f4", "a", "m", "escape", "escape", *"c"),
        holds=ends("abc"),
    ),
    in_order(
        PutText, keys=written("f4", "home", "t", *"Z", "ctrl+j", *"d"),
        holds=lambda at: at.story.startswith("OnceZd"),
    ),
]  # fmt: skip


def two_more_looms(folder: Path) -> None:
    """Looms for the list of looms: bursts look for a cat, a boat and a tree there."""
    for name in ("boat", "tree"):
        Document.create(folder / f"{name}.loom", name.encode()).close()
        looms.remember(folder / f"{name}.loom")


async def in_turn(at: Driven, bursts: list[Burst]) -> None:
    """Each in one go, and only when what the one before it left is right."""
    for one in bursts:
        burst(at, one.keys)
        await acted(at)
        try:
            await at.until(partial(one.holds, at))
        except AssertionError:
            where = f"{one.covers}: {at.app.screen}, {at.app.focused}, {at.story[-60:]!r}"
            raise AssertionError(where) from None
        assert at.app.screen is at.main
        assert at.main.editor.has_focus
