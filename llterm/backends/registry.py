"""Model names: what is known by name, and how each is opened."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llterm.backends.caches import LocalModel, find_files, model_name, quantisation_of
from llterm.backends.catalogue import CatalogueEntry, find_entry
from llterm.config import Config, ModelConfig
from llterm.config.model_settings import FOR_A_RUN
from llterm.config.server_settings import ServerSettings, is_address
from llterm.core.query import Backend
from llterm.core.server_news import HearNews
from llterm.errors import ModelError, UsageError
from llterm.regular_file import present

if TYPE_CHECKING:
    from llterm.backends.llamacpp import LlamaSettings

MODELS = Path(__file__).parent.parent / "models"
"""The bundled models, inside the package."""
BUNDLED: Mapping[str, str] = {"fable": "fable-f16.gguf", "fable-q8_0": "fable-q8_0.gguf"}
"""The first is the default: its probabilities are the same in any company to 0.4 %, where 8-bit
activations may round otherwise by some percent of p."""
SCRIPTED = "scripted"
LOOKUP = "lookup"
"""As a draft: no model, but the text itself."""
NO_DRAFT = "none"
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that can be opened."""

    name: str
    kind: Literal["bundled", "configured", "found", "file", "scripted", "server"]
    path: Path | None
    """The GGUF file; the scripted model and those on servers have none."""
    settings: ModelConfig
    origin: str = ""
    """Where one was found on disk: llterm's own folder, or a program's that keeps models."""

    @property
    def typed(self) -> str:
        """What names it in any folder: its name, or its file's whole path."""
        if self.kind == "file" and self.path is not None:
            return str(self.path.absolute())
        return self.name


def known_models(config: Config, addresses: Sequence[str] = ()) -> list[KnownModel]:
    """Every model with a name: bundled, configured, scripted, and found on disk.

    So are the models of servers at these addresses, and the one that is opened without -m where
    that is an address.
    """
    names = [*BUNDLED, *(name for name in config.models if name not in BUNDLED), SCRIPTED]
    names += filter(is_address, dict.fromkeys((config.model, *addresses)))
    known = [find_model(name, config) for name in names]
    listed = {model.path.resolve() for model in known if model.path is not None}
    return known + [
        _of(name, file)
        for name, file in named(find_files(), names).items()
        if file.path.resolve() not in listed
    ]


def taken_names(config: Config) -> list[str]:
    """Names that mean a model whatever lies on disk."""
    return list(dict.fromkeys((*BUNDLED, *config.models, SCRIPTED)))


def named(files: Sequence[LocalModel], taken: Collection[str]) -> dict[str, LocalModel]:
    """A name for each file: the shortest of its spellings that means no other one.

    `taken` are names of other models.
    """
    spellings = [_spellings(file) for file in files]
    counts = Counter(text for texts in spellings for text in set(texts))
    return {
        next(
            (text for text in texts if counts[text] == 1 and text not in taken), str(file.path)
        ): file
        for file, texts in zip(files, spellings, strict=True)
    }


def find_model(name: str, config: Config) -> KnownModel:
    """The model with this name, or at this path. Raises ModelError naming the nearest known one.

    Disks are searched only for a name that is neither bundled, configured, nor a path.
    """
    own = config.models.get(name)
    if own is not None and own.server is not None:
        own = replace(own, server=_limited(own.server, config))
    if name in BUNDLED:
        settings = own or ModelConfig()
        return KnownModel(name, "bundled", settings.path or MODELS / BUNDLED[name], settings)
    if own is not None:
        return KnownModel(name, "server" if own.server else "configured", own.path, own)
    if name == SCRIPTED:
        return KnownModel(name, "scripted", None, ModelConfig())
    if is_address(name):
        address, _, model = name.partition("#")
        server = _limited(ServerSettings((address,), model=model or None), config)
        return KnownModel(name, "server", None, ModelConfig(server=server))
    path = Path(name).expanduser()
    if present(path):
        return KnownModel(model_name(path), "file", path, ModelConfig())
    files = find_files()
    meant = [file for file in files if name in (*_spellings(file), file.reference)]
    entry = None if meant or len(path.parts) > 1 else find_entry(name.partition(":")[0])
    if entry is not None:
        meant = _of_entry(entry, name.partition(":")[2], files)
    if meant:
        return _only(name, meant, files, taken_names(config))
    if entry is not None or (":" in name and len(path.parts) == 2):
        raise ModelError(
            f"{name} is not on this machine",
            "It is a popular model, not fetched yet."
            if entry
            else "It is neither a file nor a model that was found.",
            f"`llterm models pull {name}` fetches it from the Hugging Face hub.",
        )
    if path.suffix.lower() == ".gguf" or len(path.parts) > 1:
        return KnownModel(path.stem, "file", path, ModelConfig())
    raise _unknown(name, taken_names(config), files)


def find_draft(name: str | None, config: Config) -> KnownModel | None:
    """The model that this name means as one that writes ahead; None where it means no model.
    Raises UsageError for one that cannot, ModelError as `find_model`."""
    if name is None or name in (LOOKUP, NO_DRAFT):
        return None
    known = find_model(name, config)
    if known.path is None:
        raise UsageError(
            f"{name} cannot write ahead",
            "A draft is a model of a file, which is opened beside the one that it writes for.",
            f'Name a smaller model of the same family, or "{LOOKUP}".',
        )
    return known


def _limited(server: ServerSettings, config: Config) -> ServerSettings:
    """With as many requests at once as is set for all servers: typed, or in the environment, that
    counts more than what a file says of this one.

    A recording is asked as it was made.
    """
    origin = config.origins.get("parallel")
    typed = origin is not None and origin.kind in ("flag", "environment")
    if server.replay is not None or not (typed or server.parallel is None):
        return server
    return replace(server, parallel=config.parallel)


def _of_entry(entry: CatalogueEntry, wanted: str, files: Sequence[LocalModel]) -> list[LocalModel]:
    """A popular model's files on this machine; `wanted` is a quantisation or empty."""
    return [
        file
        for file in files
        if file.owner.lower() == entry.repository.lower()
        and wanted.lower() in ("", quantisation_of(file.name).lower())
    ]


def _only(
    name: str, meant: Sequence[LocalModel], files: Sequence[LocalModel], taken: Collection[str]
) -> KnownModel:
    """The one file on disk that this name means. Raises ModelError where it means several."""
    if len(meant) > 1:
        ways = [way for way, file in named(files, taken).items() if file in meant]
        raise ModelError(
            f"{name} means {len(meant)} models",
            "; ".join(f"{file.path} ({file.origin})" for file in meant) + ".",
            f"Say which: {', '.join(ways)}.",
        )
    return _of(name, meant[0])


def _of(name: str, file: LocalModel) -> KnownModel:
    return KnownModel(name, "found", file.path, ModelConfig(), file.origin)


def _spellings(file: LocalModel) -> tuple[str, ...]:
    """Names of a file, shortest first."""
    long = f"{file.owner}/{file.name}" if file.owner else file.name
    origin = file.origin.lower().replace(" ", "-").replace(".", "-")
    return tuple(dict.fromkeys((file.name, long, f"{origin}:{long}")))


def _unknown(name: str, names: Sequence[str], files: Sequence[LocalModel]) -> ModelError:
    near = get_close_matches(name, [*names, *named(files, names)], 1, 0.5)
    more = f", and {len(files)} files that were found on this machine" if files else ""
    return ModelError(
        f"There is no model {name}",
        f"Known are {', '.join(names)}{more}, paths of .gguf files, and addresses of servers.",
        f"Did you mean {near[0]}?" if near else "`llterm models list` shows them.",
    )


async def open_model(
    name: str,
    config: Config,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    hear: HearNews | None = None,
) -> Backend:
    """Open a model. `overrides` are typed settings of a model by name (`FOR_A_RUN`), and of a
    server's parallel.

    `progress` is told the share that is loaded, from any thread; `hear` is given the news of the
    model's server, where it is on one. Raises ModelError.
    """
    known, given = find_model(name, config), dict(overrides or {})
    parallel = given.pop("parallel", None)
    from llterm.backends.chat_formats import chosen_format

    if known.settings.server is not None:
        from llterm.backends.remote.server_connection import open_remote

        server, context = known.settings.server, known.settings.context
        if parallel is not None and server.replay is None:
            server = replace(server, parallel=parallel)
        chosen = await asyncio.to_thread(chosen_format, server, config)
        backend = await open_remote(known.name, server, context, hear=hear, chosen=chosen)
        if "kernels" in given:
            backend.news.own_kernels = True
        return backend
    if known.path is None:
        from llterm.backends.scripted import ScriptedBackend

        return ScriptedBackend()
    from llterm.backends.llamacpp import open_llama
    from llterm.backends.llamacpp.model_trial import try_file

    await try_file(known.path)
    chosen = await asyncio.to_thread(chosen_format, known.settings, config)
    settings = replace(file_settings(known, given), chat_template=chosen)
    if given.get("kernels", known.settings.kernels) == "fast":
        from llterm.backends.llamacpp.kernel_trial import with_fast_kernels

        settings = await with_fast_kernels(known.path, settings)
    return await open_llama(known.path, settings, progress, known.name)


def file_settings(known: KnownModel, overrides: Mapping[str, Any] | None = None) -> LlamaSettings:
    """What a model of a file is opened with, but for its chat format and with exact kernels."""
    from llterm.backends.llamacpp import LlamaSettings

    # Kernels and chat formats are found out, and come later.
    names = ("batch", *(name for name in FOR_A_RUN if name != "kernels"))
    values = {name: getattr(known.settings, name) for name in names}
    typed = {name: value for name, value in (overrides or {}).items() if name in names}
    return LlamaSettings(**{**values, **typed})
