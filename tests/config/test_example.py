"""The example file says what the schema says."""

from __future__ import annotations

from pathlib import Path

from llterm.config import Config, load_config
from llterm.config.example import example, literal
from llterm.config.schema import FORMAT, MODEL, SERVER, TABLES
from llterm.keymap import ACTIONS
from tests.helpers.full_config import RIVALS, everything

SHIPPED = Path(__file__).parents[2] / "llterm.toml.example"


def test_the_shipped_example_is_the_generated_one() -> None:
    assert SHIPPED.read_text("utf-8") == example(), "run `make docs`"


def test_as_it_is_it_changes_nothing(tmp_path: Path) -> None:
    config = load_config(file=SHIPPED, environment={}, folder=tmp_path)
    assert (config.weave, config.ui, config.model) == (Config().weave, Config().ui, Config().model)
    assert not config.origins


def test_every_line_is_valid_when_the_hash_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text(everything(), "utf-8")
    config = load_config(file=path, environment={}, folder=tmp_path)
    names = [f"{table}.{row.name}" for table, rows in TABLES.items() for row in rows]
    names += [f"keys.{action.id}" for action in ACTIONS]
    names += [f"models.NAME.{row.name}" for row in MODEL if row.name not in RIVALS]
    names += [f"formats.NAME.{row.name}" for row in FORMAT]
    names += [f"models.OTHER.{row.name}" for row in SERVER if row.name not in RIVALS]
    assert {*config.origins} == {name.lstrip(".") for name in names}
    assert "NAME" in config.presets


def test_literals_are_read_back() -> None:
    import tomllib

    for value in (True, 3, 0.25, 'a"b\\c\n\x1b\u202e', ["x", "y"]):
        assert tomllib.loads(f"v = {literal(value)}")["v"] == value
