"""How a session's tokens are drawn: kept with the loom, a step of its history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llterm.config.sampling_values import all_changed
from llterm.core.sampling.sampler_chain import Chain, Chains
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.core.tokens import Vocabulary
from llterm.session.document import Document
from llterm.store.stored_settings import read_sampling, sampling_text


class SamplerChoice:
    """The loom's own sampling, or the configured one where it has none; and the presets."""

    def __init__(
        self,
        document: Document,
        default: Sampling | None = None,
        presets: Mapping[str, SamplerSettings] | None = None,
    ) -> None:
        self._document = document
        self._default = default or Sampling()
        self.presets: dict[str, SamplerSettings] = {**PRESETS, **(presets or {})}
        """By name: llterm's own and the person's."""
        self._chains: Chains | None = None
        self._read: tuple[str, Sampling] = "{}", self._default

    @property
    def sampling(self) -> Sampling:
        """What is in force now; an undo or redo changes it too."""
        text = self._document.sampling
        if text != self._read[0]:
            self._read = text, read_sampling(text) or self._default
        return self._read[1]

    async def chain(self, vocabulary: Vocabulary) -> Chain:
        """What is in force, made ready for a model. Raises LltermError where that does not tell the
        tokens of a text in it."""
        if self._chains is None or self._chains.vocabulary is not vocabulary:
            self._chains = Chains(vocabulary)
        return await self._chains.told(self.sampling)

    def changed(self, values: Mapping[str, Any]) -> Sampling:
        """What is in force with these settings changed, by name. Raises ValueError."""
        return all_changed(self.sampling, values, self.presets)

    def set(self, sampling: Sampling) -> None:
        """A step that can be undone; changes of one knob in a row are one."""
        if sampling != self.sampling:
            self._document.set_sampling(sampling_text(sampling))
