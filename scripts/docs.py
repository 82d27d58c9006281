"""Writes the generated pages, docs/commands.md, docs/keys.md, llterm.toml.example, and the list of
formats in docs/formats.md.

python scripts/docs.py           write them
python scripts/docs.py --check   fail when one is not current
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIRST, LAST = "<!-- formats, made by `make docs` -->", "<!-- end of formats -->"
WIDTH = 88
"""Columns of the help pages in docs/commands.md."""

sys.path.insert(0, str(ROOT))
# Help is wrapped to the terminal's width, which must not matter here.
os.environ.update(COLUMNS=str(WIDTH), TERMINAL_WIDTH=str(WIDTH), NO_COLOR="1")


def pages() -> dict[Path, str]:
    """Every generated page by its path."""
    from llterm.config.example import example

    return {
        ROOT / "docs/commands.md": commands(),
        ROOT / "docs/keys.md": keys(),
        ROOT / "docs/formats.md": with_formats((ROOT / "docs/formats.md").read_text("utf-8")),
        ROOT / "llterm.toml.example": example(),
    }


def commands() -> str:
    """The help of every command."""
    import typer

    from llterm.cli.app import app

    parts = [
        "# Commands\n\n"
        "Made by `make docs` from the help of the program itself. stdout is data, stderr is\n"
        "narration. Weave settings and model flags are the same everywhere; a typed flag counts\n"
        "more than `LLTERM_*` variables, those more than `llterm.toml`.\n\n"
        "| exit code | |\n| --- | --- |\n"
        "| 0 | done |\n| 1 | failed |\n"
        "| 2 | usage, configuration, or an input file that cannot be read |\n"
        "| 3 | a backend could not be reached; trying again may help |\n"
        "| 4 | a model could not be found or loaded |\n"
        "| 5 | the model cannot do what was asked |\n| 6 | a required condition did not hold |\n"
        "| 130 | interrupted |\n"
    ]
    for path, text in _helps(typer.main.get_command(app), "llterm", None):
        parts.append(f"\n## `{path}`\n\n```\n{text}\n```\n")
    return "".join(parts)


def keys() -> str:
    """The table of actions."""
    from llterm.key_names import NEVER
    from llterm.keymap import LETTERED, resolve

    lines = [
        "# Keys",
        "",
        "Made by `make docs` from the action registry. `llterm keys` prints the keys in force, and",
        "`llterm keys --test` shows what your terminal sends for the keys you press.",
        "",
        "| action | keys | in the suggestion tree too | in the heat panel | on the loom screen "
        "| on the mix screen | what it does |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    keymap = resolve({})
    for action, shown, tree in keymap.rows():
        outside = "" if action.where in LETTERED else _cells(shown)
        inside = _cells(shown if action.where == "suggestions" else tree)
        heat = _cells(shown) if action.where == "heat" else ""
        loom = _cells(keymap.keys(action, "loom"))
        mix = _cells(shown) if action.where == "mix" else ""
        row = (f"`{action.id}`", outside, inside, heat, loom, mix, action.help)
        lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "## Your own keys",
        "",
        "In `llterm.toml`, by action; they replace all default keys of that action. Letters,",
        "arrows and the like count in the suggestion tree, the heat panel, the loom screen and "
        "the mix screen:",
        "elsewhere they belong to the text.",
        "",
        "```toml",
        "[keys]",
        '"weave.start" = "ctrl+j,f13,w"',
        "```",
        "",
        "Some keys cannot be had in every terminal, and llterm refuses them by name:",
        "",
        "| key | why |",
        "| --- | --- |",
        *(f"| `{key}` | {why} |" for key, why in NEVER.items() if "bracket" not in key),
        "",
        "`ctrl+enter`, `shift+enter`, `alt+enter`, `ctrl+tab`, `ctrl+digit`, `ctrl+shift+letter`",
        "and most `alt` keys are lost in some terminals: beside a safe key they may stand, never",
        "alone. Safe everywhere: function keys, arrows, `tab`, `ctrl` with a letter but H, I, M.",
        "",
    ]
    return "\n".join(lines)


def with_formats(page: str) -> str:
    """The page with the list of formats as it is now."""
    from llterm.formats.file_formats import FORMATS

    before, _, rest = page.partition(FIRST)
    _, _, after = rest.partition(LAST)
    lines = ["", "| format | what it is | out, as | in |", "| --- | --- | --- | --- |"]
    for row in FORMATS:
        suffixes = ", ".join(f"`{suffix}`" for suffix in row.suffixes)
        lines.append(f"| `{row.name}` | {row.label} | {suffixes} | {'yes' if row.tried else ''} |")
    return before + FIRST + "\n".join([*lines, "", LAST]) + after


def _cells(names: tuple[str, ...]) -> str:
    return " ".join(f"`{name}`" if name != "|" else "`\\|`" for name in names)


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    context.terminal_width = context.max_content_width = WIDTH
    yield (
        context.command_path,
        "\n".join(line.rstrip() for line in command.get_help(context).splitlines()),
    )
    for name, one in getattr(command, "commands", {}).items():
        yield from _helps(one, name, context)


def main() -> int:
    """Write or check; the exit code."""
    stale = []
    for path, text in pages().items():
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
    if "--check" not in sys.argv:
        print("\n".join(f"wrote {name}" for name in stale) or "all pages are current")
        return 0
    for name in stale:
        print(f"{name} is not current: run `make docs`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
