"""What was suggested, in a form that two ways of asking can be compared in."""

from __future__ import annotations

from collections.abc import Mapping

from llterm.core.tokens import text_bytes
from llterm.jobs.suggest import SuggestResult


def texts(result: SuggestResult) -> Mapping[bytes, float]:
    """Joint natural logprob by text, rounded."""
    return {
        text_bytes(result.vocabulary, each.tail): round(each.logprob, 4)
        for each in result.view.suggestions
    }
