"""Names of the hub's models as a person types them, and the model that each means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

from llterm.backends.catalogue import get_entry
from llterm.backends.hub import RemoteModel, remote_models, search_hub
from llterm.backends.llamacpp.quantize import BITS
from llterm.core.display_text import label_text
from llterm.errors import LltermError, ModelError, UsageError

PREFERRED = ("Q4_K_M", "Q5_K_M", "Q4_K_S", "Q6_K", "Q8_0", "F16", "BF16")
"""What is taken where no quantisation is named: small with little loss first."""
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_BITS = re.compile(r"\d+(\.\d+)?")
_NAMED = 5
"""Most repositories that are named in place of one without GGUF files."""
LEAST, MOST = 1.0, 32.0
"""What can be asked for: below and above there is no type of weights."""
_BY_TYPE = {name.lower(): bits for name, bits in BITS.items()} | {
    "f32": 32.0, "mxfp4": 4.3, "iq1_s": 1.6, "iq1_m": 1.8, "tq1_0": 1.7, "tq2_0": 2.1,
    "iq2_xxs": 2.1, "iq2_xs": 2.3, "iq2_s": 2.5, "iq2_m": 2.7, "iq3_xxs": 3.1, "iq3_xs": 3.3,
    "iq3_s": 3.4, "iq3_m": 3.7, "iq4_xs": 4.3, "iq4_nl": 4.5, "q2_k_s": 3.0, "q2_k_l": 3.5,
    "q3_k_xl": 4.6, "q4_k_l": 5.1, "q5_k_l": 5.8, "q6_k_l": 6.8,
}  # fmt: skip
"""Bits a weight, about, as llama.cpp's quantiser tells them of its types."""


@dataclass(frozen=True, slots=True)
class HubReference:
    """What was typed: `owner/repository`, and which of its models."""

    repository: str
    wanted: str
    """A quantisation or a file's name; empty where none was typed."""


def read_reference(text: str) -> HubReference:
    """A popular model's short name, `owner/repository`, either with `:quantisation` or `:bits`,
    `owner/repository/file.gguf`, or the hub's address of one.

    Raises UsageError, and ConfigError for the person's own list of models.
    """
    short = re.sub(r"^(https?://)?(www\.)?(huggingface\.co|hf\.co)/", "", text.strip())
    repository, _, wanted = short.partition(":")
    if "/" not in short:
        return HubReference(get_entry(repository).repository, wanted)
    parts = repository.strip("/").split("/")
    if len(parts) > 2 and not wanted:
        rest = parts[4:] if parts[2:3] in (["blob"], ["resolve"], ["tree"]) else parts[2:]
        wanted = "/".join(rest).partition("?")[0]
    repository = "/".join(parts[:2])
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(
            f"{text} is no model on the hub",
            "A model is written owner/repository:quantisation.",
            "For example: llterm models pull owner/repository-GGUF:Q4_K_M",
        )
    return HubReference(repository, wanted)


def find_remote(reference: HubReference) -> RemoteModel:
    """Ask the hub for the model that is meant. Raises LltermError."""
    models = remote_models(reference.repository)
    others = () if models else _gguf_of(reference.repository)
    return choose_model(reference, models, others)


def choose_model(
    reference: HubReference, models: Sequence[RemoteModel], others: Sequence[str] = ()
) -> RemoteModel:
    """The one that is meant. Raises ModelError naming what there is, UsageError for senseless bits.

    `others` are repositories with GGUF files of the model, where this one has none.
    """
    if not models:
        raise _no_gguf(reference, others)
    wanted = reference.wanted.lower()
    if _BITS.fullmatch(wanted):
        return nearest_in_bits(models, float(wanted))
    if wanted:
        meant = [model for model in models if _means(wanted, model)]
    else:
        meant = list(models) if len(models) == 1 else _preferred(models)
    if len(meant) == 1:
        return meant[0]
    if len(meant) > 1:
        names = ", ".join(model.files[0].name for model in meant)
        raise ModelError(
            f"{reference.wanted or reference.repository} means {len(meant)} models",
            f"They are {names}.",
            f"Name one: {reference.repository}:{meant[0].files[0].name}",
        )
    choice = ", ".join(dict.fromkeys(model.quantisation or model.files[0].name for model in models))
    if not wanted:
        raise ModelError(
            f"{reference.repository} has several models",
            f"They are {choice}.",
            "Name one after a :",
        )
    raise ModelError(
        f"{reference.repository} has no {reference.wanted}",
        f"It has {choice}.",
        "Name one of them.",
    )


def bits_per_weight(model: RemoteModel) -> float | None:
    """The file's bits over the parameters that the hub counts, else its type's; None: not known."""
    if model.parameters:
        measured = 8 * model.size / model.parameters
        # The hub counts one file of a repository; another model's beside it would come out absurd.
        if LEAST <= measured <= MOST + 1:
            return measured
    return _BY_TYPE.get(model.quantisation.lower().removeprefix("ud-"))


def nearest_in_bits(models: Sequence[RemoteModel], wanted: float) -> RemoteModel:
    """The model with the nearest bits a weight, the smaller of equally near ones.

    Raises UsageError for a number that no type has, ModelError where no model's bits are known.
    """
    if not LEAST <= wanted <= MOST:
        raise UsageError(
            f"No model has {wanted:g} bits a weight",
            f"A number after the colon means bits a weight, from {LEAST:g} to {MOST:g}.",
            "Write 4.0 for four bits, or a quantisation such as Q4_K_M.",
        )
    measured = [(bits, model) for model in models if (bits := bits_per_weight(model)) is not None]
    if not measured:
        names = ", ".join(model.quantisation or model.files[0].name for model in models)
        raise ModelError(
            f"The bits a weight of {models[0].repository} are not known",
            "Neither the hub nor the files' names tell them.",
            f"Name one after the colon: {names}.",
        )
    return min(measured, key=lambda pair: (round(abs(pair[0] - wanted), 2), pair[1].size))[1]


def _gguf_of(repository: str) -> list[str]:
    """Repositories with GGUF files of this one's model, most downloaded first; none where the hub
    does not tell.

    By what they say that they are made of; where none says that, by the model's name.
    """
    with suppress(LltermError):
        repositories = search_hub("", _NAMED, base=repository)
        repositories = repositories or search_hub(repository.partition("/")[2], _NAMED)
        return [name for name, _ in repositories]
    return []


def _no_gguf(reference: HubReference, others: Sequence[str]) -> ModelError:
    wanted = f":{reference.wanted}" if reference.wanted else ""
    if others:
        cause = f"The same model is in {', '.join(others)}."
        hint = f"For example: llterm models pull {others[0]}{wanted}"
    else:
        cause = "It may hold the model in another format."
        hint = "`llterm models list --hub WORDS` looks for others."
    return ModelError(
        f"{reference.repository} has no GGUF files", label_text(cause), label_text(hint)
    )


def _means(wanted: str, model: RemoteModel) -> bool:
    """Whether a typed quantisation or file name means this model."""
    first = model.files[0].name.lower()
    quantisation = model.quantisation.lower()
    return wanted in (
        first, PurePosixPath(first).name, model.name.lower(), quantisation,
        quantisation.removeprefix("ud-"),
    )  # fmt: skip


def _preferred(models: Sequence[RemoteModel]) -> list[RemoteModel]:
    for name in PREFERRED:
        if meant := [model for model in models if model.quantisation.upper() == name]:
            return meant
    return []
