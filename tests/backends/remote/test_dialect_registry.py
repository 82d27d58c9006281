"""One list of dialects: the files, the configuration's choices and the documentation follow it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from llterm.backends.remote import dialects
from llterm.backends.remote.dialects import REGISTRY, dialects_to_probe
from llterm.config.server_settings import DIALECTS

FOLDER = Path(dialects.__file__).parent
DOCS = Path(__file__).parents[3] / "docs/backends.md"


def unregistered(folder: Path) -> set[str]:
    """The modules of this folder that hold no registered dialect."""
    registered = {row.dialect.__module__.rpartition(".")[2] for row in REGISTRY.values()}
    return {file.stem for file in folder.glob("*.py")} - registered - {"__init__"}


def test_every_file_is_a_registered_dialect() -> None:
    assert not unregistered(FOLDER)
    assert len(REGISTRY) == len([*FOLDER.glob("*.py")]) - 1


def test_a_new_file_without_registration_is_noticed(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "dialects")
    shutil.copy(folder / "tabby.py", folder / "exllama.py")
    assert unregistered(folder) == {"exllama"}


def test_the_configuration_takes_their_names() -> None:
    assert ("auto", *REGISTRY) == DIALECTS


def test_the_documentation_has_a_row_for_each() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| [^|]+ \| [^|]+ \|", DOCS.read_text(), re.M)
    assert rows == [*REGISTRY]


def test_each_is_probed_in_its_turn_and_those_that_imitate_first() -> None:
    orders = [row.order for row in REGISTRY.values()]
    assert sorted(orders) == [*range(1, len(orders) + 1)]
    names = [kind.name for kind in dialects_to_probe(by_themselves=True)]
    assert names.index("kobold") < names.index("llama"), (
        "KoboldCpp answers /props as llama.cpp does"
    )
    others = [kind.name for kind in dialects_to_probe(by_themselves=False)]
    assert others == ["completions", "mlx", "chat"]
