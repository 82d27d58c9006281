"""Templates: what the model is given about a text, with the labels and a question in it."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llterm.core.classification.labels import Label
from llterm.errors import UsageError

PLAIN = "{text}"
WITH_QUESTION = "{text}\n\n{question}"
OF_SEVERAL = '{text}\n\nQuestion: Does "{label}" describe this text? Answer yes or no.\nAnswer:'
OF_SEVERAL_WITH_QUESTION = (
    '{text}\n\nQuestion: {question} Is "{label}" right? Answer yes or no.\nAnswer:'
)
"""What is asked about each of several labels."""
_PLACE = re.compile(r"\{(text|question|labels|label)\}")
_LIKE_A_PLACE = re.compile(r"\{(\w+)\}")
BLANKS = " \t"


@dataclass(frozen=True, slots=True)
class QuestionTemplate:
    """A text with places: `{text}`, `{question}`, `{labels}` and, of several labels, `{label}`.
    Other braces are text."""

    source: str

    @property
    def places(self) -> frozenset[str]:
        """Names of the places that it has."""
        return frozenset(_PLACE.findall(self.source))

    def check(self, *, questions: bool, several: bool, shuffled: bool) -> None:
        """Raise UsageError where what is asked cannot be said with it."""
        places = self.places
        if "text" not in places:
            like = _LIKE_A_PLACE.findall(self.source)
            raise UsageError(
                "The template has no {text}",
                f"It has {', '.join(f'{{{name}}}' for name in like[:5])}." if like else "",
                "Write {text} where the text is to stand.",
            )
        for wanted, place, why in (
            (questions, "question", "A question is given"),
            (several, "label", "Several labels are asked about one by one"),
            (shuffled, "labels", "The order of the labels is to change"),
        ):
            if wanted and place not in places:
                raise UsageError(
                    f"The template has no {{{place}}}",
                    f"{why}.",
                    f"Write {{{place}}} where that is to stand.",
                )

    def filled(self, values: Mapping[str, str]) -> str:
        """With these in its places, in one pass: what is put in is not looked at again."""
        return _PLACE.sub(lambda place: values.get(place[1], ""), self.source)


def listed_labels(labels: Sequence[Label]) -> str:
    """What stands at `{labels}`: a line each, with its description."""
    return "\n".join(f"- {label.told}" for label in labels)


def label_orders(count: int, number: int, seed: int) -> list[tuple[int, ...]]:
    """The first order, and others drawn from a seed, `number` in all or as many as there are. A
    label stands at each place about as often as at any other: each drawn order is turned round."""
    orders: dict[tuple[int, ...], None] = {}
    drawn = random.Random(seed)
    order = list(range(count))
    tries = 0
    while len(orders) < number and tries < 8 * number:
        for turn in range(count):
            orders[(*order[turn:], *order[:turn])] = None
        drawn.shuffle(order)
        tries += 1
    return list(orders)[:number]


def stem(prompt: str) -> str:
    """The prompt up to where a label's tokens begin: blanks at its end belong to the label, which
    is how its tokens are cut."""
    return prompt.rstrip(BLANKS)


def spelled_after(prompt: str, spelling: str) -> str:
    """What is to be spelled after a prompt's stem. A label gets a blank before it unless it starts
    with one or the prompt ends in one, or nothing stands before it."""
    blank = "" if not prompt or prompt[-1].isspace() or spelling[:1].isspace() else " "
    return prompt[len(stem(prompt)) :] + blank + spelling
