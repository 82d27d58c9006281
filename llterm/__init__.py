"""llterm: weave a story from a language model's own next-token probabilities."""
