"""Gradients of a GGUF model, through transformers in a process of its own: an optional extra."""

from llterm.backends.gradients.process import GradientProcess, check_installed

__all__ = ["GradientProcess", "check_installed"]
