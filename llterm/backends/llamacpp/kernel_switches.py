"""Which of llama.cpp's kernels a model is evaluated with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KernelSwitches:
    """llama.cpp's switches, and what llterm does so that figures are the same in any company."""

    exact: bool = True
    """Rows are evaluated in such a way that what is beside them does not matter."""
    repack: bool = False
    """Weights are laid out anew for this processor. They are evaluated by other kernels for other
    batch sizes, so that a probability depends on what it was asked together with; on AMX machines
    they crash outright."""
    flash: bool = False
    """Flash attention, whose sums depend on the shape of a batch on a CPU."""

    @property
    def words(self) -> str:
        """What is not as exact kernels have it."""
        names = {"repacked weights": self.repack, "flash attention": self.flash}
        return " and ".join(name for name, on in names.items() if on) or "no doubled rows"


EXACT = KernelSwitches()
