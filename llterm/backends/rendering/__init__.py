"""Chat templates from outside, rendered in a process of their own: the only place that does."""

from llterm.backends.rendering.process import render_template

__all__ = ["render_template"]
