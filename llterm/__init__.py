"""llterm: weave a story from a language model's own next-token probabilities."""

__version__ = "0.1.0"
