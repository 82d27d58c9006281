"""Popular models by short names, and where each lies on the Hugging Face hub.

The list comes with llterm. `models.toml` in the person's configuration folder adds to it and counts
more. No file of a project's folder does: a stranger's could lead a name elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

from llterm import paths
from llterm.config.toml import NotToml, TomlFile
from llterm.core.display_text import label_text
from llterm.errors import ConfigError, UsageError, reason

ModelKind = Literal["chat", "base", "embedding"]
_SHIPPED = Path(__file__).with_name("popular_models.toml")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_OPTIONAL: Mapping[str, tuple[type, ...]] = {
    "kind": (str,), "billions": (int, float), "context": (int,), "licence": (str,),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model that can be fetched by its name."""

    name: str
    repository: str
    """The GGUF repository on the hub, `owner/name`."""
    kind: ModelKind = "chat"
    billions: float = 0.0
    """Billions of parameters; 0 where that is not said."""
    context: int = 0
    """Tokens it was trained for; 0 where that is not said."""
    licence: str = ""

    @property
    def parameters(self) -> int:
        return round(self.billions * 1e9)


def read_catalogue() -> dict[str, CatalogueEntry]:
    """Every entry by name, the person's own after llterm's. Raises ConfigError for theirs."""
    return {**_shipped(), **_of_file(paths.catalogue_file())}


def find_entry(name: str) -> CatalogueEntry | None:
    """The entry that this name means, whatever its case and punctuation; None where none does.

    The model's own name on the hub means it too. Raises ConfigError.
    """
    return _spellings(read_catalogue()).get(_letters(name))


def get_entry(name: str) -> CatalogueEntry:
    """As `find_entry`. Raises UsageError naming the nearest where there is none, ConfigError."""
    entries = read_catalogue()
    spellings = _spellings(entries)
    entry = spellings.get(_letters(name))
    if entry is not None:
        return entry
    near = get_close_matches(_letters(name), spellings, 1, 0.6)
    hint = f"Did you mean {spellings[near[0]].name}? " if near else ""
    raise UsageError(
        f"{label_text(name)} is no model on the hub",
        f"It is none of the {len(entries)} popular models that have a short name.",
        f"{hint}`llterm models list --available` shows them; every other model is written"
        " owner/repository:quantisation.",
    )


def _spellings(entries: Mapping[str, CatalogueEntry]) -> dict[str, CatalogueEntry]:
    """Entries by the letters of what means them: names count more than repositories' names."""
    repositories = {
        _letters(re.sub("-gguf$", "", entry.repository.partition("/")[2], flags=re.I)): entry
        for entry in entries.values()
    }
    return repositories | {_letters(name): entry for name, entry in entries.items()}


def _letters(name: str) -> str:
    """A name as it is compared: its letters and digits in lower case."""
    return "".join(filter(str.isalnum, name.lower()))


@cache
def _shipped() -> Mapping[str, CatalogueEntry]:
    return _of_file(_SHIPPED)


def _of_file(path: Path) -> dict[str, CatalogueEntry]:
    """The entries of one file; none where there is no file. Raises ConfigError."""
    try:
        file = TomlFile(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read", f"{reason(error)}.", "Check its permissions."
        ) from error
    except NotToml as error:
        raise ConfigError(f"{path} {error.title}", f"{error.where}.", error.hint) from error
    return {name: _entry(name, values, file, path) for name, values in file.data.items()}


def _entry(name: str, values: Any, file: TomlFile, path: Path) -> CatalogueEntry:
    def mistake(cause: str) -> ConfigError:
        return ConfigError(
            f"{label_text(name)} is no entry of the list of models",
            f"{path}, line {file.line((name,))}: {cause}.",
            'Write it as ["short-name"] with repository = "owner/name" below.',
        )

    if not isinstance(values, Mapping):
        raise mistake("it is no table")
    if not _letters(name):
        raise mistake("its name has no letters")
    repository = values.get("repository")
    if not isinstance(repository, str) or not _REPOSITORY.fullmatch(repository):
        raise mistake("repository is missing, or no owner/name")
    for key, value in values.items():
        kinds = (str,) if key == "repository" else _OPTIONAL.get(key)
        if kinds is None:
            raise mistake(f"{label_text(key)} is not known there")
        if not isinstance(value, kinds) or isinstance(value, bool) or not _sensible(value):
            raise mistake(f"{key} is not what it should be")
    kind = values.get("kind", "chat")
    if kind not in get_args(ModelKind):
        raise mistake(f"kind is one of {', '.join(get_args(ModelKind))}")
    return CatalogueEntry(
        name,
        repository,
        cast("ModelKind", kind),
        float(values.get("billions", 0)),
        values.get("context", 0),
        values.get("licence", ""),
    )


def _sensible(value: object) -> bool:
    """Whether a number can be a size; texts are."""
    return not isinstance(value, int | float) or 0 <= value < 1e9
