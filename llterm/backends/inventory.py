"""Every model there is, with what a person chooses by: size, quantisation, origin, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llterm.backends.caches import quantisation_of, size_of
from llterm.backends.llamacpp.gguf_header import UNKNOWN, ModelInfo, inspect_gguf
from llterm.backends.llamacpp.memory_estimate import Fit, available, fit, needed
from llterm.backends.registry import KnownModel, file_settings, find_model, known_models
from llterm.config import Config
from llterm.config.server_settings import address_mistake
from llterm.core.display_text import label_text
from llterm.core.kernels import Kernels
from llterm.errors import LltermError, UsageError, reason
from llterm.event_loop import run_coroutine


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of the list."""

    known: KnownModel
    size: int = 0
    """Bytes of all its files."""
    quantisation: str = ""
    architecture: str = ""
    context: int = 0
    """Tokens it was trained with."""
    needs: int = 0
    """Bytes of memory at its default context, about."""
    fit: Fit = "unknown"
    offers: str = ""
    """Of a model on a server: what the server has, or why that is not known."""
    problem: str = ""
    """Why it cannot be opened; empty where nothing speaks against it."""

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return self.known.origin or self.known.kind


def list_models(config: Config, addresses: Sequence[str] = ()) -> list[ModelEntry]:
    """All models with a name, and those at these addresses. A file that cannot be read is listed
    with the reason.

    Models of servers are listed by name alone: `with_offers` asks them.
    """
    free = available()
    return [_entry_of(known, free) for known in known_models(config, addresses)]


async def with_offers(entries: Sequence[ModelEntry]) -> list[ModelEntry]:
    """The list with what servers say of their models; takes some seconds at most."""
    from llterm.backends.remote.server_connection import server_models

    known = [entry.known for entry in entries]
    offers = await server_models(
        {model.name: model.settings.server for model in known if model.settings.server is not None}
    )
    return [replace(entry, offers=offers.get(entry.known.name, "")) for entry in entries]


def take_inventory(config: Config, addresses: Sequence[str] = ()) -> list[ModelEntry]:
    """Every model, and what servers say of theirs. Raises UsageError for what is no address."""
    for address in addresses:
        if wrong := address_mistake(address):
            raise UsageError("That is no server's address", f"{label_text(wrong)}.",
                             'Write it as "http://127.0.0.1:8080".')  # fmt: skip
    return run_coroutine(with_offers(list_models(config, addresses)))


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What is known of one model without opening it."""

    known: KnownModel
    info: ModelInfo | None = None
    """What its file's header says; None where it has no file."""
    size: int = 0
    """Bytes of all its parts."""
    needs: int = 0
    """Bytes of memory with its context, about."""
    fast: Kernels | None = None
    """What fast kernels are for it on this machine; None where they were not tried."""


def describe_model(name: str, config: Config, kernels: str | None = None) -> ModelDescription:
    """What is known of a model. For `kernels` "fast" these are tried, where they were not yet.

    Raises ModelError where there is no such model, or its file is broken.
    """
    known = find_model(name, config)
    if known.path is None:
        return ModelDescription(known)
    info, size = inspect_gguf(known.path), size_of(known.path)
    fast = run_coroutine(tried_kernels(known)) if kernels == "fast" else fast_kernels(known)
    return ModelDescription(known, info, size, needed(info, size, file_settings(known)), fast)


def fast_kernels(known: KnownModel) -> Kernels | None:
    """What fast kernels are for a model on this machine; None where it has no file, or they were
    not tried."""
    from llterm.backends.llamacpp.kernel_trial import remembered_kernels

    return remembered_kernels(known.path, file_settings(known)) if known.path else None


async def tried_kernels(known: KnownModel) -> Kernels:
    """The same, tried where they were not. Raises ModelError where its file cannot be opened."""
    from llterm.backends.llamacpp.kernel_trial import with_fast_kernels
    from llterm.backends.llamacpp.model_trial import try_file

    assert known.path is not None
    await try_file(known.path)
    return (await with_fast_kernels(known.path, file_settings(known))).kernels


def fast_text(fast: Kernels | None) -> str:
    """That for a person."""
    return "not tried here yet: --kernels fast does that" if fast is None else fast.words


def _entry_of(known: KnownModel, free: int) -> ModelEntry:
    if known.path is None:
        return ModelEntry(known)
    try:
        info = inspect_gguf(known.path, brief=True)
        size = size_of(known.path)
        bytes_needed = needed(info, size, file_settings(known))
    except LltermError as error:
        return ModelEntry(known, problem=error.title)
    except OSError as error:
        return ModelEntry(known, problem=f"It could not be read: {reason(error)}")
    named = quantisation_of(known.name) or quantisation_of(known.path.stem)
    return ModelEntry(
        known,
        size,
        info.quantisation if info.quantisation != UNKNOWN else named or UNKNOWN,
        info.architecture,
        info.context,
        bytes_needed,
        fit(bytes_needed, free),
        "" if info.text else "It does not predict text",
    )


def size_text(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def fit_text(estimate: Fit) -> str:
    """A warning for a person; empty where nothing is to be said."""
    return {"tight": "memory is tight", "too large": "too large for memory"}.get(estimate, "")
