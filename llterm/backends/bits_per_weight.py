"""Bits that a model's file spends on a weight, and the file that is nearest to a number of them."""

from __future__ import annotations

from collections.abc import Sequence

from llterm.backends.hub import RemoteModel
from llterm.backends.llamacpp.quantize import BITS
from llterm.errors import ModelError, UsageError

LEAST, MOST = 1.0, 32.0
"""What can be asked for: below and above there is no type of weights."""
_BY_TYPE = {name.lower(): bits for name, bits in BITS.items()} | {
    "f32": 32.0, "mxfp4": 4.3, "iq1_s": 1.6, "iq1_m": 1.8, "tq1_0": 1.7, "tq2_0": 2.1,
    "iq2_xxs": 2.1, "iq2_xs": 2.3, "iq2_s": 2.5, "iq2_m": 2.7, "iq3_xxs": 3.1, "iq3_xs": 3.3,
    "iq3_s": 3.4, "iq3_m": 3.7, "iq4_xs": 4.3, "iq4_nl": 4.5, "q2_k_s": 3.0, "q2_k_l": 3.5,
    "q3_k_xl": 4.6, "q4_k_l": 5.1, "q5_k_l": 5.8, "q6_k_l": 6.8,
}  # fmt: skip
"""Bits a weight, about, as llama.cpp's quantiser tells them of its types."""


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
